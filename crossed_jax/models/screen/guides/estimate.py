r"""A point estimate of the model with guides, from which chains start and their nodes are placed.

To guides as units of their own the model is the screen model of genes
(:mod:`crossed_jax.models.screen.estimate`): what lines and noise are follows from it, and of the
guides' effects and interactions, which part is their gene's:

.. math::
    \operatorname{var}(a_g + o_u) = \sigma_a^2 + \sigma_o^2, \qquad
    \operatorname{cov}(r_{uc}, r_{u'c}) = s V, \qquad
    \frac{\operatorname{var} r_{uc} - V (1 - \rho)/n}{V} = \rho = s + (1 - s) \pi .

Where guides differ in their noise, :math:`e_g + f_u` follows from the squares of their rows about
their cells' means, and of these about the gene's mean in the line, which holds its interaction.

The share of each gene is looked at on a grid: its rows' likelihood given a share, everything else
integrated out, says what the typical share is and how genes differ in it (an EM algorithm).
"""

import math
from typing import NamedTuple

import numpy as np

from crossed_jax.models.screen.estimate import TINY, CellMatrices, LineEstimate, shrunk
from crossed_jax.models.screen.guides.noise import NoiseCoordinates, noise_coordinates
from crossed_jax.models.screen.guides.shares import GRID
from crossed_jax.models.screen.guides.table import sums_by_group

LEAST_SHARE = 0.02
SWEEPS = 200
TOLERANCE = 1e-4
LEAST_SD, LARGEST_SD = 0.1, 3.0
FEW_GUIDES = 2  # whose deviations from their mean are as large as each other
LEAST_PART = 0.1
LEAST_FREEDOM = 1e-3  # of guides of whose noise the squares here say nothing
MOST_LOG_NOISE = 2.0
FIRST_NOISE_SD, NOISE_SWEEPS = 0.3, 20


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


class NoiseEstimate(NamedTuple):
    """Of the guides' log noise, about that of their genes if these differ in it.

    Attributes
    ----------
    value, information
        Estimates, shrunk, and with which precision the rows know them, shape (guides,).
    sd
        Of what guides differ in.
    coordinates
        That suit them.
    """

    value: np.ndarray
    information: np.ndarray
    sd: float
    coordinates: NoiseCoordinates


def of_guide_noise(
    cells: CellMatrices,
    point: LineEstimate,
    guides: GuideEstimate,
    gene: np.ndarray,
    gene_noise_sd: float,
) -> NoiseEstimate:
    """Estimate by how much the noise of each guide is more than its gene's.

    Parameters
    ----------
    cells
        Of all guides.
    point, guides
        The estimate, with the share that genes' interactions have.
    gene
        Of each guide, shape (guides,).
    gene_noise_sd
        Of the genes' log noise; zero where these do not differ in it.
    """
    n, mean, within = cells
    seen, number = n > 0, np.maximum(n, 1.0)
    k, nested = np.exp(point.log_slope), guides.nested_share
    weight = seen * np.exp(-2.0 * point.log_noise) / point.sigma**2
    residual = seen * (mean - point.location)
    effect = (
        (weight * residual) @ k / (weight @ k**2 + 1.0 / (guides.gene_sd**2 + guides.guide_sd**2))
    )
    residual = seen * (residual - np.outer(effect, k))
    guides_seen = sums_by_group(seen.astype(float), gene)[gene]
    about_gene = residual - sums_by_group(residual, gene)[gene] / np.maximum(guides_seen, 1.0)
    told = (guides_seen > FEW_GUIDES) & seen
    of_means = told * about_gene**2 / (nested + (1.0 - nested) / number)
    of_means = (weight * of_means).sum(1) / np.maximum(told.sum(1), 1.0)
    of_means = unmixed(of_means, gene, told.any(1)) * told.sum(1)
    freedom = told.sum(1) + (seen * (number - 1.0)).sum(1)
    known = freedom > 0.0
    squares = of_means + (weight * within).sum(1) / (1.0 - nested)
    variance = squares / np.maximum(freedom, 1.0) / (1.0 - guides.share)
    # a deviation is a guide's own by 1 - 1/U
    freedom -= (told * (1.0 - (1.0 - 1.0 / np.maximum(guides_seen, 1.0)) ** 2)).sum(1)
    information = 2.0 * np.where(known, np.maximum(freedom - 1.0, 0.5), LEAST_FREEDOM)
    log_noise = 0.5 * np.log(np.maximum(variance, TINY))
    typical = float(np.median(log_noise[known])) if known.any() else 0.0
    log_noise = np.clip(log_noise - typical, -MOST_LOG_NOISE, MOST_LOG_NOISE)
    log_noise = np.where(known, log_noise, 0.0)
    # what guides of a gene have in common is the gene's noise, if genes differ in theirs
    group = gene if gene_noise_sd > 0.0 else np.zeros_like(gene)
    of_groups = np.bincount(group, information * log_noise) / np.bincount(group, information)
    value, sd = np.where(known, log_noise - of_groups[group], 0.0), FIRST_NOISE_SD
    found = value
    for _ in range(NOISE_SWEEPS):
        found, sd = shrunk(value, information, sd)
    sd *= math.sqrt(len(found) / (len(found) - len(np.unique(group))))
    coordinates = noise_coordinates(information, gene, gene_noise_sd)
    return NoiseEstimate(found, information, sd, coordinates)


def unmixed(squares: np.ndarray, gene: np.ndarray, told: np.ndarray) -> np.ndarray:
    r"""Estimate variances of guides from squares of their deviations from the mean of their gene's.

    Of U guides with variances v, :math:`\mathrm{E} d_u^2 = (1 - 2/U) v_u + \sum v / U^2`.

    Parameters
    ----------
    squares
        Means over the lines, shape (guides,).
    gene
        Of each guide, likewise.
    told
        Whether there are any, likewise.
    """
    number = np.maximum(np.bincount(gene, told.astype(float)), 1.0)
    shared = np.bincount(gene, squares) / np.maximum(number * (number - 1.0), 1.0)
    own = (squares - shared[gene]) / np.maximum(1.0 - 2.0 / number, 0.25)[gene]
    return np.maximum(own, LEAST_PART * squares)


def of_shares(log_likelihood: np.ndarray) -> tuple[float, float]:
    """Estimate the mean and SD of the logits of the genes' shares.

    Parameters
    ----------
    log_likelihood
        Of each gene on the grid of logits, shape (grid, genes).
    """
    likelihood = np.exp(log_likelihood - log_likelihood.max(0))
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
