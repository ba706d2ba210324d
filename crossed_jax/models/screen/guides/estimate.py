r"""A point estimate of the model with guides, from which chains start and their nodes are placed.

To guides as units of their own the model is the screen model of genes
(:mod:`crossed_jax.models.screen.estimate`): what lines and noise are follows from it, and of the
guides' effects and interactions, which part is their gene's:

.. math::
    \operatorname{var}(a_g + o_u) = \sigma_a^2 + \sigma_o^2, \qquad
    \operatorname{cov}(r_{uc}, r_{u'c}) = s V, \qquad
    \frac{\operatorname{var} r_{uc} - V (1 - \rho)/n}{V} = \rho = s + (1 - s) \pi .

The share of each gene is looked at on a grid: its rows' likelihood given a share, everything else
integrated out, says what the typical share is and how genes differ in it (an EM algorithm). The
posterior :math:`p_g` of each gene's there has a Gauss quadrature rule of its own,

.. math::
    \int f(h)\,dh = \int \frac{f(h)}{p_g(h)}\,p_g(h)\,dh
        \approx \sum_i \frac{w_i}{p_g(h_i)} f(h_i) ,

which is exact where f is :math:`p_g` times a polynomial of degree 2 n - 1. The nodes are the
eigenvalues of the Jacobi matrix (Golub and Welsch, 1969, *Mathematics of Computation* 23:221).
Other values of the lines change f little, so a handful of nodes does, however skew it is.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import logsumexp

from crossed_jax.models.screen.guides.table import sums_by_group

LEAST_SHARE = 0.02
SWEEPS = 200
TOLERANCE = 1e-4
LEAST_SD, LARGEST_SD = 0.1, 3.0
NODES, MANY_NODES = (9, 11, 15), 25
AWAY = 3.0
TOLERABLE = 1e-3  # error of the log-likelihood
FINER = 8
TINY = 1e-300
GRID = np.linspace(-10.0, 6.0, 65)  # of the logit of a gene's share


class GuideEstimate(NamedTuple):
    """What guides add to an estimate of the lines.

    Attributes
    ----------
    gene_sd, guide_sd
        SDs of gene effects and of guides' about them.
    share, nested_share
        Of interaction, and of guide by line effects in what that leaves.
    """

    gene_sd: float
    guide_sd: float
    share: float
    nested_share: float


class ShareEstimate(NamedTuple):
    """How genes differ in their shares of interaction.

    Attributes
    ----------
    logit, sd
        The typical gene's, and the SD of the others about it.
    rule, finer
        Nodes of the genes' deviations from it, and the logarithms of what values there count: a
        rule for each gene, shape (nodes, genes) each; and one of more nodes, to check it by.
    """

    logit: float
    sd: float
    rule: tuple[np.ndarray, np.ndarray]
    finer: tuple[np.ndarray, np.ndarray]


def of_guides(
    effect: np.ndarray,
    variance: np.ndarray,
    residual: np.ndarray,
    seen: np.ndarray,
    share: float,
    gene: np.ndarray,
) -> GuideEstimate:
    """Part what guides show into their genes' and their own.

    Parameters
    ----------
    effect, variance
        Means and variances of the guides' effects, shape (guides,).
    residual
        Of the guides' means in lines about these, in SDs of a row, shape (guides, lines).
    seen
        Where there is one.
    share
        Of the variance that rows of a guide in a line share.
    gene
        Of each guide, shape (guides,).
    """
    number = np.bincount(gene)
    total = float((effect**2 + variance).mean())
    mean = np.bincount(gene, effect) / number
    within = float(((effect - mean[gene]) ** 2).sum() / max((number - 1).sum(), 1))
    guide_variance = min(max(within - float(variance.mean()), 1e-4 * total), 0.9 * total)
    sums, squares, pairs = (
        sums_by_group(values, gene) for values in (residual, residual**2, seen.astype(float))
    )
    products = float((sums**2 - squares).sum() / max((pairs * (pairs - 1.0)).sum(), 1.0))
    of_gene = min(max(products, LEAST_SHARE), share - LEAST_SHARE / 2, 0.98)
    of_gene = max(of_gene, LEAST_SHARE / 2)
    nested = min(max((share - of_gene) / (1.0 - of_gene), LEAST_SHARE), 1.0 - LEAST_SHARE)
    return GuideEstimate(
        math.sqrt(total - guide_variance), math.sqrt(guide_variance), of_gene, nested
    )


def of_shares(log_likelihood: np.ndarray) -> ShareEstimate:
    """Estimate how genes differ, and make a rule for each, of as many nodes as they need.

    Parameters
    ----------
    log_likelihood
        Of each gene on the grid of logits, shape (grid, genes).
    """
    logit, sd = _logit_and_sd(np.exp(log_likelihood - log_likelihood.max(0)))
    spline = CubicSpline(GRID, log_likelihood)
    grid = np.linspace(GRID[0], GRID[-1], FINER * (len(GRID) - 1) + 1)
    on_grid = spline(grid)
    # where draws of the two may lie
    away = AWAY * sd / math.sqrt(log_likelihood.shape[1])
    near = [(logit, sd)]
    near += [(logit + x * away, max(sd + y * away, LEAST_SD)) for x in (-1, 1) for y in (-1, 1)]
    spacing = math.log(grid[1] - grid[0])
    wanted = [_log_integrals(on_grid + spacing, grid[:, None], *at).sum() for at in near]
    log_posterior = on_grid + _log_prior(grid[:, None], logit, sd)
    log_posterior -= logsumexp(log_posterior, 0)

    def rule_of(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nodes, logarithms of what values there count, and the log-likelihood there."""
        nodes, weights = gauss_rules(grid, np.exp(log_posterior), number)
        at_nodes = _at_each(spline, nodes)
        log_weights = np.log(np.maximum(weights, TINY)) - at_nodes
        log_weights += _log_integrals(on_grid + spacing, grid[:, None], logit, sd)
        return nodes, log_weights - _log_prior(nodes, logit, sd), at_nodes

    for number in NODES:
        nodes, log_weights, at_nodes = rule_of(number)
        found = [_log_integrals(at_nodes + log_weights, nodes, *at).sum() for at in near]
        if np.ptp(np.subtract(found, wanted)) < TOLERABLE:
            break
    more_nodes, more_log_weights, _ = rule_of(MANY_NODES)
    return ShareEstimate(
        logit, sd, (nodes - logit, log_weights), (more_nodes - logit, more_log_weights)
    )


def _log_prior(logit: np.ndarray, mean: float, sd: float) -> np.ndarray:
    return -0.5 * ((logit - mean) / sd) ** 2 - math.log(sd) - 0.5 * math.log(2.0 * math.pi)


def _log_integrals(values: np.ndarray, logit: np.ndarray, mean: float, sd: float) -> np.ndarray:
    return logsumexp(values + _log_prior(logit, mean, sd), axis=0)


def _at_each(spline: CubicSpline, x: np.ndarray) -> np.ndarray:
    """Values of a spline of many functions where each wants its own, shape of x."""
    piece = np.clip(np.searchsorted(spline.x, x) - 1, 0, len(spline.x) - 2)
    coefficients = spline.c[:, piece, np.arange(x.shape[1])]
    step = x - spline.x[piece]
    value = coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * step + coefficient
    return value


def _logit_and_sd(likelihood: np.ndarray) -> tuple[float, float]:
    """Maximise the likelihood of the mean and SD of the genes' logits."""
    grid = GRID[:, None]
    logit, sd = 0.0, 1.0
    for _ in range(SWEEPS):
        posterior = likelihood * np.exp(-0.5 * ((grid - logit) / sd) ** 2)
        posterior /= posterior.sum(0)
        before = logit, sd
        logit = float((posterior * grid).sum(0).mean())
        sd = math.sqrt((posterior * (grid - logit) ** 2).sum(0).mean())
        sd = min(max(sd, LEAST_SD), LARGEST_SD)
        if abs(logit - before[0]) + abs(sd - before[1]) < TOLERANCE:
            break
    return logit, sd


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
