"""Screen models of small tables."""

import numpy as np
from example_tables import table

from crossed_jax.models.distributions import Exponential, LogitNormal, Normal
from crossed_jax.models.screen.model_data import screen_data
from crossed_jax.models.screen.parameterization import OfSDs, ScreenData, ScreenPriors
from crossed_jax.models.screen.parts import Parts
from crossed_jax.statistics.cells import cells_of
from crossed_jax.tables.crossed_data import CrossedData

NO_PARTS = Parts(0, *(False,) * 4)


def priors_of(parts: Parts) -> ScreenPriors:
    has = (parts.slopes, parts.line_noise, parts.gene_noise)
    sds = (
        Exponential(rate) if part else None for rate, part in zip((1.1, 0.9, 1.2), has, strict=True)
    )
    share = LogitNormal(0.1, 1.5) if parts.interaction else None
    return ScreenPriors(
        Normal(0.3, 5.0), Exponential(0.8), Exponential(1.5), OfSDs(Exponential(1.0), *sds), share
    )


def screen_of(data: CrossedData, parts: Parts) -> ScreenData:
    return screen_data(data, cells_of(data), parts, priors_of(parts))[1]


def simulated(seed: int, num_genes: int, num_lines: int, replicates: int) -> CrossedData:
    """A table from the model, a tenth of its rows missing."""
    rng = np.random.default_rng(seed)
    gene, line, _ = np.indices((num_genes, num_lines, replicates)).reshape(3, -1)
    a, e = rng.normal(0.0, 0.6, num_genes), rng.normal(0.0, 0.35, num_genes)
    b, d = rng.normal(0.0, 0.5, num_lines), rng.normal(0.0, 0.4, num_lines)
    k = np.exp(rng.normal(0.0, 0.4, num_lines))
    shared = rng.normal(size=(num_genes, num_lines))[gene, line]
    noise = np.sqrt(0.4) * shared + np.sqrt(0.6) * rng.normal(size=len(gene))
    y = 0.2 + b[line] + k[line] * a[gene] + 0.4 * np.exp(d[line] + e[gene]) * noise
    kept = rng.random(len(gene)) < 0.9
    return table(y[kept], gene[kept], line[kept], names=("gene", "line"))
