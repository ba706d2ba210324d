"""A small screen with guides and samples, some cells and rows of which are missing."""

import dataclasses

import numpy as np

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
