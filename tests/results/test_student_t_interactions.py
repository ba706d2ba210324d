"""Interactions with heavier tails, against integrals on a grid."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from screen_tables import SCREEN, few_draws
from unit_screen import TABLE

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.models.screen.responses import Drawn
from crossed_jax.results import student_t_interactions as summarized
from crossed_jax.results.interactions import require_interactions
from crossed_jax.results.screen_predictions import cells_at, draws_by_name
from crossed_jax.tables.crossed_data import CrossedData

GRID = np.sinh(np.linspace(-9.0, 9.0, 1201)) / np.sinh(9.0) * 40.0


def draws_and_cells(tree: xr.DataTree, data: CrossedData) -> tuple[list[Drawn], np.ndarray]:
    """Draws, and the codes of the cells that have rows, in order of their labels."""
    parts = require_interactions(tree, "test")
    posterior = tree["posterior"].to_dataset()
    drawn = {str(name): values.to_numpy() for name, values in posterior.items()}
    codes = np.unique(np.stack([factor.codes for factor in data.factors], 1), axis=0)
    labels = [
        factor.labels[of_factor] for factor, of_factor in zip(data.factors, codes.T, strict=True)
    ]
    codes = codes[np.lexsort(labels[::-1])]
    return list(draws_by_name(drawn, parts, data.factor_names)), codes


@pytest.mark.parametrize("data", [SCREEN, TABLE], ids=["genes", "guides"])
@pytest.mark.parametrize("nu", [1.5, 3.0])
def test_summaries_are_those_of_student_t_priors(
    data: CrossedData, nu: float, screen_fit: xr.DataTree, unit_fit: xr.DataTree
) -> None:
    tree = unit_fit if data is TABLE else few_draws(screen_fit)
    draws, codes = draws_and_cells(tree, data)
    found = cj.interactions(tree, nu=nu).sort(*data.factor_names)
    normal = cj.interactions(tree).sort(*data.factor_names)
    assert found.columns == normal.columns
    assert found.select("n", "raw_residual").equals(normal.select("n", "raw_residual"))

    cells = cells_at(tree, require_interactions(tree, "test"), *codes.T)
    place = np.argsort(np.lexsort(codes.T[::-1]))  # of each cell in the order of the codes
    given = [
        summarized.Measured(*(one.given, *(values[place] for values in one[1:])))
        for one in (summarized.measured(drawn, cells) for drawn in draws)
    ]

    def posteriors(factor: float) -> np.ndarray:
        """Prior times likelihood of each draw and cell, on the grid in SDs of the rows' errors."""
        gamma = _grid(given, factor)
        return np.stack(
            [
                stats.t.pdf(gamma, nu, scale=np.sqrt(factor * one.prior))
                * stats.norm.pdf(gamma, one.value, one.precision**-0.5)
                for one in given
            ]
        )

    def log_likelihood(factor: float) -> float:
        gamma = _grid(given, factor)
        return float(np.log(np.trapezoid(posteriors(factor), gamma[None], axis=1)).sum())

    of_prior = summarized.best_tails(nu, given)
    factor = float(summarized.tails(nu, 1.0).precision[0] / of_prior.precision[0])
    if summarized.LEAST_FACTOR * 1.1 < factor < 1.9:
        best = log_likelihood(factor)
        assert best > log_likelihood(factor * 0.8)
        assert best > log_likelihood(factor * 1.25)

    gamma, density = _grid(given, factor), posteriors(factor)
    density = (density / np.trapezoid(density, gamma[None], axis=1)[:, None]).mean(0)
    mean = np.trapezoid(density * gamma, gamma, axis=0)
    sd = np.sqrt(np.trapezoid(density * (gamma - mean) ** 2, gamma, axis=0))
    steps = 0.5 * (density[1:] + density[:-1]) * np.diff(gamma, axis=0)
    below = np.concatenate([np.zeros((1, len(mean))), np.cumsum(steps, 0)])
    np.testing.assert_allclose(found["mean"], mean, atol=2e-3 * sd.max())
    np.testing.assert_allclose(found["sd"], sd, rtol=5e-3)
    for name, probability in (("lower", 0.025), ("upper", 0.975)):
        ends = found[name].to_numpy()
        reached = [np.interp(end, x, y) for end, x, y in zip(ends, gamma.T, below.T, strict=True)]
        np.testing.assert_allclose(reached, probability, atol=1e-3)
    negative = np.array([np.interp(0.0, x, y) for x, y in zip(gamma.T, below.T, strict=True)])
    np.testing.assert_allclose(found["lfsr"], np.minimum(negative, 1.0 - negative), atol=1e-3)


def _grid(given: list, factor: float) -> np.ndarray:
    """Of interactions, shape (grid, cells), finest where prior or rows are."""
    middle = np.mean([one.value for one in given], 0)
    width = np.mean([one.precision for one in given], 0) ** -0.5
    return np.sort(
        np.concatenate([middle + width * GRID[:, None], 0.0 * middle + width * GRID[:, None]]), 0
    )


@pytest.mark.parametrize("nu", [0.5, 200, "many"])
def test_other_degrees_of_freedom_are_refused(screen_fit: xr.DataTree, nu: object) -> None:
    with pytest.raises(InputError, match="nu"):
        cj.interactions(screen_fit, nu=nu)
