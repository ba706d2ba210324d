"""Predictions take hardly more memory than they are."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr
from example_tables import table
from heavy_noise import with_heavy_noise
from synthetic_tree import synthetic_tree

from crossed_jax.results.posterior_predictive import posterior_predictive
from crossed_jax.results.prior_predictive import prior_predictive

NUM_ROWS = 20_000
NUM_DRAWS = 200


@pytest.fixture(scope="module")
def data():
    rows = np.arange(NUM_ROWS)
    return table(np.zeros(NUM_ROWS), rows % 3, rows % 10, names=("gene", "cell_line"))


@pytest.mark.parametrize("noise", ["normal", "student_t"])
@pytest.mark.parametrize("of", ["posterior", "prior"])
def test_predictions_take_little_memory_besides(data, of, noise):
    levels = {factor.name: list(factor.levels) for factor in data.factors}
    tree, _ = synthetic_tree(chains=1, draws=NUM_DRAWS, labels=levels)
    if noise == "student_t":
        tree = with_heavy_noise(tree, 5.0)
    tracemalloc.start()
    try:
        if of == "posterior":
            predicted = posterior_predictive(tree, data)
        else:
            predicted = prior_predictive(xr.DataTree(), data, noise=noise, num_draws=NUM_DRAWS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = predicted[f"{of}_predictive"].to_dataset()["y"].nbytes
    assert size == 8 * NUM_DRAWS * NUM_ROWS
    assert peak < 1.4 * size
