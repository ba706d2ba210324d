r"""Quadrature over what genes differ in beside their noise: the logits of their shares.

A gene's logit is :math:`h \sim \mathrm{Normal}(t, s)`, and what its rows say of it is skew: flat to
the left, where there is no interaction, and cut at the right. Its posterior at an estimate,
:math:`p_g`, has a Gauss quadrature rule of its own,

.. math::
    \int f(h)\,dh = \int \frac{f(h)}{p_g(h)}\,p_g(h)\,dh
        \approx \sum_i \frac{w_i}{p_g(h_i)} f(h_i) ,

which is exact where f is :math:`p_g` times a polynomial of degree 2 n - 1. The nodes are the
eigenvalues of the Jacobi matrix (Golub and Welsch, 1969, *Mathematics of Computation* 23:221).
Where many genes say what t and s are, f is never far from :math:`p_g`, and a handful of nodes does.
Few genes leave t and s open; then the trapezoid rule in SDs of the prior follows them.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import logsumexp

from crossed_jax.models.distributions import Normal
from crossed_jax.types import Array

GRID = np.linspace(-10.0, 6.0, 65)  # of the logit of a gene's share
FINER = np.linspace(-30.0, 14.0, 705)
AWAY = 3.0  # posterior SDs within which a rule is to hold
TOLERABLE = 1e-2  # error of the log-likelihood, between any two of these places
NODES = (9, 11, 13, 15)
IN_SDS = (21, 31, 41)
WIDEST = 5.0  # SDs
MOST_OPEN = np.array([0.7, 0.5])  # SDs of t and of the logarithm of s that are looked at
KNOWN = 0.3  # up to this SD of the logarithm s is not near zero
STEPS = (-0.05, 0.0, 0.05)  # of differences that stand for derivatives
TINY = 1e-300


class OwnNodes(NamedTuple):
    """A rule of each gene's own.

    Attributes
    ----------
    logit
        Nodes, shape (nodes, genes).
    log_weights
        Logarithms of what densities of the logit count there; likewise.
    """

    logit: Array
    log_weights: Array

    def about(self, logit: Array, log_sd: Array) -> tuple[Array, Array]:
        """Nodes where the logits are Normal, and logarithms of what the likelihood counts there."""
        log_prior = Normal(logit, jnp.exp(log_sd)).log_prob(self.logit)
        return self.logit, self.log_weights + log_prior


class NodesInSDs(NamedTuple):
    """A rule that follows the genes' prior.

    Attributes
    ----------
    z
        Nodes in SDs from its mean, shape (nodes, genes).
    log_weights
        Logarithms of what densities of z count there; likewise.
    """

    z: Array
    log_weights: Array

    def about(self, logit: Array, log_sd: Array) -> tuple[Array, Array]:
        """Nodes where the logits are Normal, and logarithms of what the likelihood counts there."""
        log_prior = Normal(0.0, 1.0).log_prob(self.z)
        return logit + jnp.exp(log_sd) * self.z, self.log_weights + log_prior


ShareRule = OwnNodes | NodesInSDs


def in_sds(number: int, num_genes: int) -> NodesInSDs:
    """The trapezoid rule, of so many nodes."""
    z = np.linspace(-WIDEST, WIDEST, number)
    nodes = np.broadcast_to(z[:, None], (number, num_genes))
    return NodesInSDs(nodes, np.full(nodes.shape, math.log(z[1] - z[0])))


class _Likelihood:
    """What the rows of each gene say of its logit: splines on a grid, and straight beyond it."""

    def __init__(self, log_likelihood: np.ndarray) -> None:
        self.spline = CubicSpline(GRID, log_likelihood)
        self.slopes = self.spline(GRID[[0, -1]], 1)
        inside = np.clip(FINER, GRID[0], GRID[-1])
        self.on_grid = self.spline(inside) + self._beyond((FINER - inside)[:, None])

    def _beyond(self, distance: np.ndarray) -> np.ndarray:
        """What is added so far beyond the ends of the grid."""
        left, right = self.slopes
        return np.minimum(distance, 0.0) * left + np.maximum(distance, 0.0) * right

    def joint(self, logit: float, log_sd: float) -> np.ndarray:
        """Log-likelihoods and log priors on the finer grid, shape (grid, genes)."""
        spacing = math.log(FINER[1] - FINER[0])
        return self.on_grid + (_log_prior(FINER, logit, log_sd) + spacing)[:, None]

    def marginal(self, logit: float, log_sd: float) -> float:
        return float(logsumexp(self.joint(logit, log_sd), 0).sum())

    def by_rule(self, rule: ShareRule, logit: float, log_sd: float) -> float:
        nodes, log_weights = rule.about(jnp.asarray(logit), jnp.asarray(log_sd))
        return float(logsumexp(self.at_nodes(np.asarray(nodes)) + log_weights, 0).sum())

    def at_nodes(self, nodes: np.ndarray) -> np.ndarray:
        """Log-likelihoods where each gene wants its own, shape (nodes, genes)."""
        x = np.clip(nodes, GRID[0], GRID[-1])
        piece = np.clip(np.searchsorted(GRID, x) - 1, 0, len(GRID) - 2)
        coefficients = self.spline.c[:, piece, np.arange(x.shape[1])]
        step = x - GRID[piece]
        value = coefficients[0]
        for coefficient in coefficients[1:]:
            value = value * step + coefficient
        return value + self._beyond(nodes - x)

    def own_nodes(self, logit: float, log_sd: float, number: int) -> OwnNodes:
        joint = self.joint(logit, log_sd)
        total = logsumexp(joint, 0)
        nodes, weights = gauss_rules(FINER, np.exp(joint - total), number)
        log_posterior = self.at_nodes(nodes) + _log_prior(nodes, logit, log_sd) - total
        return OwnNodes(nodes, np.log(np.maximum(weights, TINY)) - log_posterior)


def _log_prior(h: np.ndarray, logit: float, log_sd: float) -> np.ndarray:
    return np.asarray(Normal(logit, math.exp(log_sd)).log_prob(h))


class ShareRules(NamedTuple):
    """How to integrate over shares.

    Attributes
    ----------
    rule, finer
        One of few nodes, and one of more, to check it by.
    widths
        Rough posterior SDs of t and of the logarithm of s.
    """

    rule: ShareRule
    finer: ShareRule
    widths: np.ndarray


def rules_of_shares(
    log_likelihood: np.ndarray, logit: float, sd: float, others: Sequence[np.ndarray] = ()
) -> ShareRules:
    """Make a rule of as few nodes as do wherever t and s may lie.

    Parameters
    ----------
    log_likelihood
        Of each gene on the grid of logits, shape (grid, genes).
    logit, sd
        Estimates of t and s.
    others
        Log-likelihoods as they may be elsewhere.
    """
    likelihood, log_sd = _Likelihood(log_likelihood), math.log(sd)
    num_genes = log_likelihood.shape[1]
    sds = _uncertainty(likelihood, logit, log_sd)
    corners = [(0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]
    near = [(logit + AWAY * i * sds[0], log_sd + AWAY * j * sds[1]) for i, j in corners]
    places = [(likelihood, at) for at in near]
    places += [(_Likelihood(other), (logit, log_sd)) for other in others]
    wanted = np.array([of_rows.marginal(*at) for of_rows, at in places])

    def suffices(rule: ShareRule) -> bool:
        found = np.array([of_rows.by_rule(rule, *at) for of_rows, at in places])
        return float(np.ptp(found - wanted)) < TOLERABLE

    # where s may be about zero, nodes that do not follow it are too far apart
    for number in NODES if sds[1] < KNOWN else ():
        own = likelihood.own_nodes(logit, log_sd, number)
        if suffices(own):
            return ShareRules(own, likelihood.own_nodes(logit, log_sd, 2 * number + 1), sds)
    number = next((n for n in IN_SDS if suffices(in_sds(n, num_genes))), IN_SDS[-1])
    return ShareRules(in_sds(number, num_genes), in_sds(2 * number - 1, num_genes), sds)


def _uncertainty(likelihood: _Likelihood, logit: float, log_sd: float) -> np.ndarray:
    """Rough posterior SDs of t and the logarithm of s, from the curvature at their estimate."""
    values = np.array([[likelihood.marginal(logit + i, log_sd + j) for j in STEPS] for i in STEPS])
    curvature = -np.diff(values, 2, 0)[0, 1], -np.diff(values, 2, 1)[1, 0]
    cross = -(values[0, 0] - values[0, 2] - values[2, 0] + values[2, 2]) / 4.0
    determinant = curvature[0] * curvature[1] - cross**2
    if min(*curvature, determinant) <= 0.0:
        return MOST_OPEN
    sds = STEPS[2] * np.sqrt(np.array([curvature[1], curvature[0]]) / determinant)
    return np.minimum(sds, MOST_OPEN)


def gauss_rules(
    grid: np.ndarray, probability: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gauss quadrature rules of distributions on a grid, by Stieltjes' procedure.

    Parameters
    ----------
    grid
        Shape (grid,).
    probability
        Of its points, shape (grid, distributions).
    number
        Of nodes.

    Returns
    -------
    nodes, weights
        Shape (nodes, distributions).
    """
    x = grid[:, None]
    before, polynomial = np.zeros_like(probability), np.ones_like(probability)
    length = np.ones(probability.shape[1])
    jacobi = np.zeros((probability.shape[1], number, number))
    for k in range(number):
        squares = probability * polynomial**2
        jacobi[:, k, k] = (x * squares).sum(0) / squares.sum(0)
        ratio = squares.sum(0) / length
        if k:
            jacobi[:, k, k - 1] = jacobi[:, k - 1, k] = np.sqrt(ratio)
        length = squares.sum(0)
        following = (x - jacobi[:, k, k]) * polynomial - (ratio if k else 0.0) * before
        before, polynomial = polynomial, following
    nodes, vectors = np.linalg.eigh(jacobi)
    return nodes.T, (vectors[:, 0] ** 2).T
