"""Tables that leave Student-t noise no scale: all rows but outliers are their effects' alone."""

import numpy as np
import pytest
from example_tables import table

import crossed_jax as cj
from crossed_jax.errors import InputError

BRIEFLY = {"noise": "student_t", "num_chains": 2, "num_warmup": 20, "num_draws": 20}
ADDITIVE = np.add.outer(np.sin(np.arange(6.0)), np.cos(np.arange(5.0)))
EQUAL = np.full((6, 5), 2.0)
STEPS = np.add.outer(np.zeros(6), np.array([0.0, 0.0, 0.0, 1.0, 1.0]))


def measured(means, noise, outliers):
    """Put three rows in each cell, and an outlier in the first of some."""
    response = np.repeat(means.ravel(), 3)
    response += noise * np.random.default_rng(0).standard_normal(len(response))
    response[6 : 6 + 9 * len(outliers) : 9] += outliers
    return table(response, *(codes.repeat(3) for codes in np.indices(means.shape).reshape(2, -1)))


@pytest.mark.parametrize("means", [ADDITIVE, EQUAL, STEPS], ids=["additive", "equal", "steps"])
@pytest.mark.parametrize("outliers", [[1.0], [1e4], [0.3, -2.0]], ids=str)
def test_outliers_on_an_exactly_additive_table_leave_no_noise(means, outliers):
    with pytest.raises(
        InputError, match="reproduces the response but for outliers to within 1e-06"
    ):
        cj.fit(measured(means, 0.0, outliers), **BRIEFLY)


@pytest.mark.parametrize(("noise", "outlier"), [(1e-4, 1.0), (0.05, 1e9)])
def test_little_noise_beside_large_outliers_is_noise(noise, outlier):
    data = measured(ADDITIVE, noise, [outlier])
    sigma = float(cj.fit(data, priors="scaled", **BRIEFLY)["posterior"]["sigma"].median())
    assert 0.2 * noise < sigma < 2.0 * noise
