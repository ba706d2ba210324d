"""A small table from the screen model and its settings: who uses both shares compiled programs."""

import dataclasses
from functools import partial

import jax
import numpy as np
import xarray as xr
from example_tables import table

from crossed_jax.sampling.chunks import Run
from crossed_jax.sampling.nuts import STATISTICS_KINDS, Statistics
from crossed_jax.tables.crossed_data import CrossedData

SETTINGS = {"num_chains": 2, "num_warmup": 150, "num_draws": 150}


def simulated(
    seed: int, num_genes: int, num_lines: int, replicates: int, missing: float = 0.1
) -> CrossedData:
    """A table with all parts, some of its rows missing at random."""
    rng = np.random.default_rng(seed)
    gene, line, _ = np.indices((num_genes, num_lines, replicates)).reshape(3, -1)
    a, e = rng.normal(0.0, 0.6, num_genes), rng.normal(0.0, 0.35, num_genes)
    b, d, log_k = rng.normal(0.0, [[0.5], [0.4], [0.4]], (3, num_lines))
    shared = rng.normal(size=(num_genes, num_lines))[gene, line]
    deviation = np.sqrt(0.4) * shared + np.sqrt(0.6) * rng.normal(size=len(gene))
    response = 0.2 + b[line] + np.exp(log_k)[line] * a[gene]
    response += 0.4 * np.exp(d[line] + e[gene]) * deviation
    kept = rng.random(len(gene)) >= missing
    return table(response[kept], gene[kept], line[kept], names=("gene", "line"))


SCREEN = simulated(1, 30, 6, 2)


def in_other_order(data: CrossedData) -> CrossedData:
    return dataclasses.replace(data, factors=data.factors[::-1])


def few_draws(tree: xr.DataTree) -> xr.DataTree:
    """The fit with the first draws of each chain alone."""
    few = tree.copy()
    few["posterior"] = xr.DataTree(tree["posterior"].to_dataset().isel(draw=slice(5)))
    return few


def posterior_of(tree: xr.DataTree) -> xr.Dataset:
    return tree["posterior"].to_dataset()


@partial(jax.jit, static_argnums=0)
def _quantities_at_starts(parameterization, keys, model_data):
    starts = jax.vmap(parameterization.start, (0, None))(keys, model_data)
    return jax.vmap(parameterization.quantities, (0, None))(starts, model_data)


def starts_as_draws(key, parameterization, model_data, *, num_chains, num_draws, **_) -> Run:
    """Stand in for `sample`, with where chains would start as draws: NUTS is not compiled."""
    shape = (num_chains, num_draws)
    keys = jax.random.split(key, num_chains * num_draws)
    draws = _quantities_at_starts(parameterization, keys, model_data)
    draws = jax.tree.map(lambda x: np.asarray(x).reshape(*shape, *x.shape[1:]), draws)
    statistics = Statistics(*(np.zeros(shape, kind) for kind in STATISTICS_KINDS))
    return Run(draws, statistics, {}, 0)
