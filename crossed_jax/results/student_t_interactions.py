r"""Interactions with heavier tails than the fit gave them, from its draws.

A Normal prior pulls the strongest interactions in as far as the rest. Given a draw of all else, a
cell's rows measure its interaction :math:`\gamma` as Normal(r, L^{-1/2}), and the fit's prior is
:math:`\mathrm{Normal}(0, \sqrt P)`. In its place stands Student's t, as a mixture of Normals,

.. math::
    \gamma \mid \lambda \sim \mathrm{Normal}\big(0, \sqrt{f P / \lambda}\big), \qquad
    \lambda \sim \mathrm{Gamma}(\nu/2, \nu/2),

with :math:`\log\lambda` integrated out by the trapezoid rule, and the factor f chosen by the
marginal likelihood of the cells. All else is as the fit with Normal interactions drew it: that, and
f as if known, is what these posteriors are not exact in.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.optimize import minimize_scalar
from scipy.special import gammaincinv, logsumexp, ndtr, ndtri

from crossed_jax.arguments import real_number
from crossed_jax.errors import InputError
from crossed_jax.models.screen.parts import Parts
from crossed_jax.models.screen.responses import CellRows, Drawn, Given, interactions_given
from crossed_jax.results.screen_predictions import cells_at, draws_by_name
from crossed_jax.results.tree import factor_names, thinned
from crossed_jax.tables.names import of_factor

TAIL, SPACING = 1e-7, 0.7  # of the rule: what is beyond its ends, and between its nodes
DRAWS = 100  # of each chain
CELLS_AT_ONCE = 2**16
DRAWS_FOR_FACTOR = 10
LEAST_FACTOR = 0.02
ENDS = ndtri([0.025, 0.975])
NEWTON_STEPS = 4
LEAST = 1e-12


class Tails(NamedTuple):
    """Nodes of the factor of the prior's precision, and logarithms of their weights."""

    precision: np.ndarray
    log_weight: np.ndarray


class Measured(NamedTuple):
    """Interactions given a draw of all else, by cell.

    Attributes
    ----------
    given
        As the fit has them.
    value, precision
        What the rows say, and with which precision.
    prior
        The variance of the prior.
    """

    given: Given
    value: np.ndarray
    precision: np.ndarray
    prior: np.ndarray


NORMAL = Tails(np.ones(1), np.zeros(1))


def tails(nu: float, factor: float) -> Tails:
    """Student's t with so many degrees of freedom, its squared scale so many times P."""
    low, high = np.log(gammaincinv(0.5 * nu, [TAIL, 1.0 - TAIL]) * 2.0 / nu)
    spacing = SPACING / max(1.0, 0.5 * nu) ** 0.5
    log_precision = np.linspace(low, high, 2 + int((high - low) / spacing))
    log_weight = 0.5 * nu * (log_precision - np.exp(log_precision))
    return Tails(np.exp(log_precision) / factor, log_weight - logsumexp(log_weight))


def measured(drawn: Drawn, cells: CellRows) -> Measured:
    """Part what the rows say of each cell's interaction from its prior."""
    given = interactions_given(drawn, cells)
    prior = given.share * given.variance
    precision = np.maximum(given.sd**-2 - 1.0 / prior, LEAST)
    return Measured(given, given.mean / (given.sd**2 * precision), precision, prior)


def log_weights(cells: Measured, of_prior: Tails) -> np.ndarray:
    """Of the nodes given a cell's rows, shape (nodes, cells): likelihoods are sums over nodes."""
    variance = cells.prior / of_prior.precision[:, None] + 1.0 / cells.precision
    log_density = -0.5 * (cells.value**2 / variance + np.log(2.0 * np.pi * variance))
    return of_prior.log_weight[:, None] + log_density


def normals(
    cells: Measured, of_prior: Tails
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Give each node's probability, and the interactions' mean and variance there."""
    log_weight = log_weights(cells, of_prior)
    for probability, precision in zip(
        np.exp(log_weight - logsumexp(log_weight, 0)), of_prior.precision, strict=True
    ):
        variance = 1.0 / (cells.precision + precision / cells.prior)
        yield probability, variance * cells.precision * cells.value, variance


def best_tails(nu: float, draws: Sequence[Measured]) -> Tails:
    """Choose the factor by the marginal likelihood of cells."""

    def loss(log_factor: float) -> float:
        of_prior = tails(nu, np.exp(log_factor))
        return -sum(float(logsumexp(log_weights(each, of_prior), 0).sum()) for each in draws)

    found = minimize_scalar(loss, bounds=np.log([LEAST_FACTOR, 2.0]), method="bounded")
    return tails(nu, float(np.exp(found.x)))


def student_t_interactions(tree: xr.DataTree, parts: Parts, nu: float) -> dict[str, np.ndarray]:
    """Summarize the interactions of a fit anew, cells in its order.

    Parameters
    ----------
    tree
        The fit.
    parts
        Of its model.
    nu
        Degrees of freedom.

    Returns
    -------
    dict
        mean, sd, lower, upper and lfsr, as `interactions` has them.
    """
    nu = real_number("number of degrees of freedom nu", nu)
    if not 1.0 <= nu <= 100.0:
        raise InputError(f"nu is {nu:g}: choose from 1 to 100; without, interactions are Normal.")
    names = factor_names(tree)
    group = tree["interactions"].to_dataset()
    gene, line = (
        group[of_factor(names[factor], "code")].to_numpy().astype(np.int64)
        for factor in (parts.genes, 1 - parts.genes)
    )
    posterior = thinned(tree["posterior"].to_dataset(), DRAWS)
    drawn = {str(name): values.to_numpy() for name, values in posterior.items()}
    draws = list(draws_by_name(drawn, parts, names))

    def some_cells(places: np.ndarray) -> CellRows:
        return cells_at(tree, parts, gene[places], line[places])

    number = min(len(gene), CELLS_AT_ONCE)
    some = some_cells(np.linspace(0, len(gene) - 1, number).astype(int))
    few = np.linspace(0, len(draws) - 1, min(DRAWS_FOR_FACTOR, len(draws))).astype(int)
    of_prior = best_tails(nu, [measured(draws[i], some) for i in few])
    found: dict[str, np.ndarray] = {}
    for start in range(0, len(gene), CELLS_AT_ONCE):
        places = np.arange(start, min(start + CELLS_AT_ONCE, len(gene)))
        of_block = _summed_up(partial(_mixture, draws, some_cells(places), of_prior))
        # cells come in the order of their codes
        place = np.empty_like(places)
        place[np.lexsort((line[places], gene[places]))] = np.arange(len(places))
        for name, values in of_block.items():
            found.setdefault(name, np.empty(len(gene)))[places] = values[place]
    return found


def _mixture(
    draws: Sequence[Drawn], cells: CellRows, of_prior: Tails
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Give the Normals of all draws and nodes, with their probabilities."""
    for drawn in draws:
        for probability, mean, variance in normals(measured(drawn, cells), of_prior):
            yield probability / len(draws), mean, variance


def _summed_up(
    mixture: Callable[[], Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]],
) -> dict[str, np.ndarray]:
    """Moments, ends of 95% intervals and local false sign rates of mixtures of Normals.

    The ends by Newton's method on the scale of scores, from those of a Normal.
    """
    mean = square = negative = np.zeros(())
    for probability, m, variance in mixture():
        mean = mean + probability * m
        square = square + probability * (m**2 + variance)
        negative = negative + probability * ndtr(-m / np.sqrt(variance))
    sd = np.sqrt(square - mean**2)
    ends = mean + ENDS[:, None] * sd
    for _ in range(NEWTON_STEPS):
        below, density = np.zeros((2, *ends.shape))
        for probability, m, variance in mixture():
            z = (ends - m) / np.sqrt(variance)
            below += probability * ndtr(z)
            density += probability * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi * variance)
        score = ndtri(below)
        slope = density * np.sqrt(2.0 * np.pi) * np.exp(0.5 * score**2)
        ends += np.clip((ENDS[:, None] - score) / slope, -sd, sd)
    return {
        "mean": mean,
        "sd": sd,
        "lower": ends[0],
        "upper": ends[1],
        "lfsr": np.minimum(negative, 1.0 - negative),
    }
