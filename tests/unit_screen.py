"""A small screen with guides and samples, some cells and rows of which are missing."""

import dataclasses

import numpy as np
import xarray as xr

import crossed_jax as cj
from crossed_jax.tables.crossed_data import CrossedData, Factor, Nested

NUM_GUIDES = 2
SCREEN = cj.simulate_screen(
    num_genes=6,
    num_cell_lines=4,
    num_replicates=2,
    missing=0.2,
    num_guides=NUM_GUIDES,
    guide_sd=0.4,
    noise_sd_by_guide_sd=0.3,
    noise_sd=0.4,
    interaction_share=0.3,
    logit_share_sd=1.0,
    nested_share=0.3,
    slope_sd=0.3,
    sample_sd=0.5,
    seed=4,
).data
KEPT = np.random.default_rng(2).random(SCREEN.num_rows) < 0.8  # guides that were seen otherwise


def only(data: CrossedData, rows: np.ndarray) -> CrossedData:
    def of_rows(factor: Factor) -> Factor:
        return dataclasses.replace(factor, codes=factor.codes[rows])

    def of_units(nested: Nested) -> Nested:
        return dataclasses.replace(nested, units=of_rows(nested.units), given=of_rows(nested.given))

    return dataclasses.replace(
        data,
        response=data.response[rows],
        factors=tuple(map(of_rows, data.factors)),
        nested=of_units(data.nested),
        samples=of_units(data.samples),
    )


TABLE = only(SCREEN, KEPT)
EVERY_PART = cj.Model(
    slopes="cell_line",
    noise_by=("gene", "cell_line", "guide"),
    interaction=True,
    nested="guide",
    sample="replicate",
)


def moments(
    draw: xr.Dataset, guide: np.ndarray, line: np.ndarray, sample: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of rows of one gene, and after them of its interaction in each line."""
    gene = guide[0] // NUM_GUIDES
    assert (guide // NUM_GUIDES == gene).all()
    effect = draw["gene_effect"].values[gene] + draw["guide_effect"].values[guide]
    mean = float(draw["intercept"]) + draw["cell_line_effect"].values[line]
    mean = mean + draw["cell_line_slope"].values[line] * effect
    of_samples = draw["replicate_effect"].values
    new = sample >= len(of_samples)
    mean = mean + np.where(new, 0.0, of_samples[np.minimum(sample, len(of_samples) - 1)])
    log_noise = draw["cell_line_log_noise_sd"].values + draw["gene_log_noise_sd"].values[gene]
    sd = float(draw["sigma"]) * np.exp(log_noise)
    share = draw["gene_interaction_share"].values[gene]
    nested = float(draw["nested_share"])
    same_line, same_guide = line[:, None] == line, guide[:, None] == guide
    of_rows = (1.0 - share) * nested * (same_line & same_guide)
    of_rows += (1.0 - share) * (1.0 - nested) * np.eye(len(line))
    of_rows *= np.exp(2.0 * draw["guide_log_noise_sd"].values[guide])
    of_rows += share * same_line
    covariance = of_rows * np.outer(sd[line], sd[line])
    covariance += float(draw["replicate_sd"]) ** 2 * (new[:, None] & (sample[:, None] == sample))
    across = share * sd**2 * (line[:, None] == np.arange(4))
    whole = np.block([[covariance, across], [across.T, np.diag(share * sd**2)]])
    return np.concatenate([mean, np.zeros(4)]), whole
