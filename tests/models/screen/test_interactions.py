"""Interactions summed up, against dense normals mixed over a fine grid of e and draws of lines."""

import dataclasses
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, ndtr, softmax
from screen_tables import simulated
from screens import screen_of

from crossed_jax.forms.screen import INTERACTION_NODES
from crossed_jax.models.screen.density import Lines
from crossed_jax.models.screen.interactions import Interactions, interactions
from crossed_jax.models.screen.parameterization import PARAMETERIZATION, ScreenData, start
from crossed_jax.models.screen.parts import Parts
from crossed_jax.models.screen.quadrature import gauss_hermite
from crossed_jax.models.screen.strata import in_order_of_cells, strata_of
from crossed_jax.statistics.cells import cells_of, squares_within

NUM_GENES, NUM_LINES, NUM_DRAWS = 8, 4, 6
DATA = simulated(27, NUM_GENES, NUM_LINES, 2)
CELLS = cells_of(DATA)
MANY_NODES = 41
OTHERS = [(True,) * 3, (False, True, True), (True, False, True), (True, True, False), (False,) * 3]


class _Mixture(NamedTuple):
    """Normals that the interactions' posteriors are mixed of, shape (draws, nodes of e, cells)."""

    weight: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    expected: np.ndarray

    def average(self, values: np.ndarray) -> np.ndarray:
        return (self.weight * values).sum((0, 1))

    def by_draw(self, values: np.ndarray) -> np.ndarray:
        return (self.weight * values).sum(1) * len(self.weight)

    def sds(self) -> np.ndarray:
        second = self.average(self.mean**2 + self.sd**2)
        return np.sqrt(second - self.average(self.mean) ** 2)

    def quantile(self, probability: float) -> np.ndarray:
        def of_cell(cell: int) -> float:
            weight, mean, sd = (each[..., cell] for each in self[:3])
            far = abs(mean).max() + 9.0 * sd.max()
            return brentq(
                lambda x: (weight * ndtr((x - mean) / sd)).sum() - probability, -far, far, xtol=1e-9
            )

        return np.array([of_cell(cell) for cell in range(self.mean.shape[-1])])


def _screen(parts: Parts, number: int) -> tuple[ScreenData, Lines]:
    """A table, and some positions about the estimate in place of draws."""
    screen = screen_of(DATA, parts)
    lines = [
        PARAMETERIZATION.quantities(start(jax.random.key(seed), screen), screen).lines
        for seed in range(number)
    ]
    return screen, jax.tree.map(lambda *each: jnp.stack(each), *lines)


@cache
def _summed_up(parts: Parts, number: int, nodes: int) -> Interactions:
    screen, lines = _screen(parts, number)
    strata = jax.tree.map(jnp.asarray, screen.statistics)
    found = jax.jit(interactions)(lines, strata, gauss_hermite(nodes))
    return Interactions(*(in_order_of_cells(np.asarray(x), strata, CELLS, 0) for x in found))


@cache
def _dense(parts: Parts, number: int) -> _Mixture:
    """Every gene's effect and interactions are jointly Normal with its rows, given e."""
    _, lines = _screen(parts, number)
    drawn = [jax.tree.map(lambda x, i=i: np.asarray(x)[i], lines) for i in range(number)]
    pieces = [_given_lines(one) for one in drawn]
    weight, *others = (np.stack(each) for each in zip(*pieces, strict=True))
    return _Mixture(weight / number, *others)


def _given_lines(lines: Lines) -> tuple[np.ndarray, ...]:
    gene, line = (factor.codes for factor in DATA.factors)
    k, v = (np.exp(np.broadcast_to(x, NUM_LINES)) for x in (lines.log_slope, 2.0 * lines.log_noise))
    share = expit(float(lines.logit_share))
    e, log_prior = np.zeros(1), np.zeros(1)
    if lines.log_gene_noise is not None:
        tau = np.exp(float(lines.log_gene_noise))
        e = np.linspace(-8.0 * tau, 8.0 * tau, 201)
        log_prior = -0.5 * (e / tau) ** 2
    found = []
    for g in range(NUM_GENES):
        cells = CELLS.codes[CELLS.codes[:, 0] == g, 1]
        of_rows = line[gene == g]
        residual = DATA.response[gene == g] - lines.location[of_rows]
        inflation = np.exp(2.0 * e)[:, None, None]
        same_cell = (cells[:, None] == of_rows).astype(float)
        with_rows = inflation * (share * v[cells][:, None] * same_cell)
        effect = np.outer(k[of_rows], k[of_rows])
        covariance = effect + inflation * (
            share * v[of_rows] * (of_rows[:, None] == of_rows) + np.diag((1.0 - share) * v[of_rows])
        )
        gain = np.linalg.solve(covariance, np.swapaxes(with_rows, 1, 2))
        mean = residual @ gain
        variance = inflation[..., 0] * share * v[cells] - (np.swapaxes(with_rows, 1, 2) * gain).sum(
            1
        )
        solved = np.linalg.solve(covariance, residual)
        fits = -0.5 * (residual @ solved.T + np.linalg.slogdet(covariance)[1])
        expected = lines.location[cells] + k[cells] * (solved @ k[of_rows])[:, None]
        weight = softmax(fits + log_prior)[:, None] + np.zeros(len(cells))
        found.append((weight, mean, np.sqrt(variance), expected))
    return tuple(np.concatenate(each, -1) for each in zip(*found, strict=True))


def test_cells_are_missing_and_have_one_row_or_more() -> None:
    assert set(CELLS.counts) == {1.0, 2.0}
    assert len(CELLS.counts) < NUM_GENES * NUM_LINES


@pytest.mark.parametrize("others", OTHERS)
def test_moments_and_rates_are_those_of_the_mixture(others: tuple[bool, ...]) -> None:
    """Rates are computed in single precision."""
    parts = Parts(0, *others, True)
    found, dense = _summed_up(parts, NUM_DRAWS, MANY_NODES), _dense(parts, NUM_DRAWS)
    np.testing.assert_allclose(found.mean, dense.average(dense.mean), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.sd, dense.sds(), rtol=1e-6)
    residual = CELLS.means - dense.average(dense.expected)
    np.testing.assert_allclose(found.residual, residual, rtol=1e-6, atol=1e-8)
    below = dense.average(ndtr(-dense.mean / dense.sd))
    np.testing.assert_allclose(found.lfsr, np.minimum(below, 1.0 - below), atol=3e-7)


@pytest.mark.parametrize("others", OTHERS)
def test_ends_of_intervals_are_quantiles_of_the_mixture(others: tuple[bool, ...]) -> None:
    """One step of Newton's method: in SDs 7e-3 at most was seen, and 3e-4 in the median."""
    parts = Parts(0, *others, True)
    found, dense = _summed_up(parts, NUM_DRAWS, MANY_NODES), _dense(parts, NUM_DRAWS)
    for ends, probability in ((found.lower, 0.025), (found.upper, 0.975)):
        error = (ends - dense.quantile(probability)) / dense.sds()
        assert np.abs(error).max() < 1e-2
        assert np.median(np.abs(error)) < 1e-3


def test_errors_are_those_of_averages_over_independent_draws() -> None:
    found, dense = _summed_up(Parts(), NUM_DRAWS, MANY_NODES), _dense(Parts(), NUM_DRAWS)
    for error, values in (
        (found.mean_error, dense.mean),
        (found.lfsr_error, ndtr(-dense.mean / dense.sd)),
    ):
        wanted = dense.by_draw(values).std(0) / np.sqrt(NUM_DRAWS)
        np.testing.assert_allclose(error, wanted, rtol=1e-4, atol=1e-6)


def test_few_nodes_of_the_genes_noise_suffice() -> None:
    """As many as a fit takes, of what two rows in each of four cells leave most uncertain."""
    found, dense = _summed_up(Parts(), NUM_DRAWS, INTERACTION_NODES), _dense(Parts(), NUM_DRAWS)
    sd, below = dense.sds(), dense.average(ndtr(-dense.mean / dense.sd))
    assert np.abs((found.mean - dense.average(dense.mean)) / sd).max() < 5e-3
    assert np.abs(found.sd / sd - 1.0).max() < 1e-2
    assert np.abs(found.lfsr - np.minimum(below, 1.0 - below)).max() < 1e-3
    for ends, probability in ((found.lower, 0.025), (found.upper, 0.975)):
        assert np.abs((ends - dense.quantile(probability)) / sd).max() < 2e-2


def test_rates_do_not_depend_on_the_sign() -> None:
    """Interactions so sure that their rates lie far below single precision's step from one."""
    response = DATA.response.copy()
    gene, line = (factor.codes for factor in DATA.factors)
    response[(gene == line)] += 8.0
    screen, lines = _screen(Parts(gene_noise=False), 1)
    rates = []
    for sign in (1.0, -1.0):
        data = dataclasses.replace(DATA, response=sign * response)
        cells = cells_of(data)
        within = squares_within(cells, data)
        strata = strata_of(cells, within, 0, sign * screen.statistics.location)
        of_sign = lines._replace(location=sign * lines.location)
        found = jax.jit(interactions)(
            of_sign, jax.tree.map(jnp.asarray, strata), gauss_hermite(INTERACTION_NODES)
        )
        rates.append(in_order_of_cells(np.asarray(found.lfsr), strata, CELLS, 0))
    np.testing.assert_allclose(*rates, rtol=1e-4)
