"""Predictions of the screen model: Normal, given what was seen of a cell."""

import json

import numpy as np
import pytest
import xarray as xr
from screen_tables import SCREEN, in_other_order, posterior_of

import crossed_jax as cj
from crossed_jax.statistics.cells import cells_of
from crossed_jax.tables.crossed_data import CrossedData, Factor

CELLS = cells_of(SCREEN)
GENE, LINE = (factor.codes for factor in SCREEN.factors)
NUMBER = 4000


def fixed(tree, number, **values):
    """Take a draw again and again, with some of its values others."""
    posterior = posterior_of(tree).isel(chain=[0], draw=np.full(number, 7))
    posterior = posterior.assign_coords(draw=np.arange(number))
    posterior = posterior.assign({n: posterior[n] * 0 + value for n, value in values.items()})
    repeated = tree.copy()
    repeated["posterior"] = xr.DataTree(posterior)
    return repeated


def rows(*pairs):
    """A table of the fit's levels, in cells given by codes."""
    gene, line = np.array(pairs, np.int32).T
    factors = tuple(
        Factor(factor.name, factor.levels, codes)
        for factor, codes in zip(SCREEN.factors, (gene, line), strict=True)
    )
    return CrossedData(np.arange(float(len(pairs))), "y", factors, num_missing=0, notes=())


def unseen():
    seen = set(map(tuple, CELLS.codes.tolist()))
    return next((g, c) for g in range(30) for c in range(6) if (g, c) not in seen)


def moments_of(tree, cells):
    """Mean and covariance of new responses, two in each cell, given the one draw that there is."""
    one = posterior_of(tree).isel(chain=0, draw=0)
    share, sigma = float(one["interaction_share"]), float(one["sigma"])
    means, blocks = [], []
    for g, c in cells:
        mean = float(one["intercept"] + one["line_effect"][c])
        mean += float(one["line_slope"][c] * one["gene_effect"][g])
        log_noise = float(one["line_log_noise_sd"][c] + one["gene_log_noise_sd"][g])
        variance = (sigma * np.exp(log_noise)) ** 2
        values = SCREEN.response[(g == GENE) & (c == LINE)]
        n = len(values)
        # of the new two and the old n together, a Normal: condition on the old
        covariance = variance * (share + (1.0 - share) * np.eye(2 + n))
        gain = np.linalg.solve(covariance[2:, 2:], covariance[2:, :2]) if n else np.zeros((0, 2))
        means += list(mean + (values - mean) @ gain)
        blocks.append(covariance[:2, :2] - covariance[:2, 2:] @ gain)
    covariance = np.zeros((2 * len(cells),) * 2)
    for i, block in enumerate(blocks):
        covariance[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block
    return np.array(means), covariance


@pytest.mark.parametrize("order", ["as fitted", "the other"])
def test_predictions_are_normal_given_what_was_seen_of_their_cells(screen_fit, order):
    """Two new rows in each of a cell not seen, one seen once and one seen twice."""
    once, twice = (tuple(CELLS.codes[np.argmax(CELLS.counts == n)].tolist()) for n in (1, 2))
    cells = [unseen(), once, twice]
    # rows of a cell need not stand together
    data = rows(*cells, *cells)
    repeated = fixed(screen_fit, NUMBER)
    if order == "the other":
        data = in_other_order(data)
    predicted = cj.posterior_predictive(repeated, data, seed=3)["posterior_predictive"]["y"]
    values = predicted.values[0][:, [0, 3, 1, 4, 2, 5]]
    mean, covariance = moments_of(repeated, cells)
    error = np.sqrt(np.diag(covariance) / NUMBER)
    np.testing.assert_array_less(abs(values.mean(0) - mean), 4.5 * error)
    spread = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2)
    found = np.cov(values.T)
    np.testing.assert_array_less(abs(found - covariance), 5.0 * spread / np.sqrt(NUMBER))
    assert (found[[0, 2, 4], [1, 3, 5]] > 0).all()


def test_either_order_of_a_table_predicts_the_same(screen_fit):
    one, two = (
        cj.posterior_predictive(screen_fit, data, num_draws=5)["posterior_predictive"]["y"].values
        for data in (SCREEN, in_other_order(SCREEN))
    )
    np.testing.assert_array_equal(one, two)


def test_without_interaction_predictions_are_independent(screen_fit):
    parts = json.loads(screen_fit.attrs["parts"]) | {"interaction": False}
    without = fixed(screen_fit, NUMBER)
    without.attrs["parts"] = json.dumps(parts)
    del without["interactions"]
    posterior = posterior_of(without).drop_vars("interaction_share")
    without["posterior"] = xr.DataTree(posterior)
    data = rows((3, 2), (3, 2))
    values = cj.posterior_predictive(without, data)["posterior_predictive"]["y"].values[0]
    assert abs(np.corrcoef(values.T)[0, 1]) < 4.5 / np.sqrt(NUMBER)
