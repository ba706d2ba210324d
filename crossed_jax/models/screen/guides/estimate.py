r"""A point estimate of the model with guides, from which chains start and their nodes are placed.

To guides as units of their own the model is the screen model of genes
(:mod:`crossed_jax.models.screen.estimate`): what lines and noise are follows from it, and of the
guides' effects and interactions, which part is their gene's:

.. math::
    \operatorname{var}(a_g + o_u) = \sigma_a^2 + \sigma_o^2, \qquad
    \operatorname{cov}(r_{uc}, r_{u'c}) = s V, \qquad
    \frac{\operatorname{var} r_{uc} - V (1 - \rho)/n}{V} = \rho = s + (1 - s) \pi .

The share of each gene is looked at on a grid: its rows' likelihood given a share, everything else
integrated out, says what the typical share is, how genes differ in it (an EM algorithm), and where
each gene's posterior lies.
"""

import math
from typing import NamedTuple

import numpy as np

LEAST_SHARE = 0.02
SWEEPS = 200
TOLERANCE = 1e-4
LEAST_SD, LARGEST_SD = 0.1, 3.0
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
    center, width
        Posterior means and SDs of the genes' deviations from it, shape (genes,).
    """

    logit: float
    sd: float
    center: np.ndarray
    width: np.ndarray


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
        _by_gene(values, gene) for values in (residual, residual**2, seen.astype(float))
    )
    products = float((sums**2 - squares).sum() / max((pairs * (pairs - 1.0)).sum(), 1.0))
    of_gene = min(max(products, LEAST_SHARE), share - LEAST_SHARE / 2, 0.98)
    of_gene = max(of_gene, LEAST_SHARE / 2)
    nested = min(max((share - of_gene) / (1.0 - of_gene), LEAST_SHARE), 1.0 - LEAST_SHARE)
    return GuideEstimate(
        math.sqrt(total - guide_variance), math.sqrt(guide_variance), of_gene, nested
    )


def _by_gene(values: np.ndarray, gene: np.ndarray) -> np.ndarray:
    total = np.zeros((int(gene.max()) + 1, values.shape[1]))
    np.add.at(total, gene, values)
    return total


def of_shares(log_likelihood: np.ndarray) -> ShareEstimate:
    """Estimate how genes differ from each gene's log-likelihood on the grid of logits.

    Parameters
    ----------
    log_likelihood
        Shape (grid, genes).
    """
    likelihood = np.exp(log_likelihood - log_likelihood.max(0))
    grid = GRID[:, None]
    logit, sd = 0.0, 1.0
    mean = second = np.zeros(log_likelihood.shape[1])
    for _ in range(SWEEPS):
        posterior = likelihood * np.exp(-0.5 * ((grid - logit) / sd) ** 2)
        posterior /= posterior.sum(0)
        mean, second = (posterior * grid).sum(0), (posterior * grid**2).sum(0)
        before = logit, sd
        logit = float(mean.mean())
        sd = math.sqrt(max(float(second.mean()) - logit**2, 0.0))
        sd = min(max(sd, LEAST_SD), LARGEST_SD)
        if abs(logit - before[0]) + abs(sd - before[1]) < TOLERANCE:
            break
    return ShareEstimate(logit, sd, mean - logit, np.sqrt(np.maximum(second - mean**2, 1e-4)))
