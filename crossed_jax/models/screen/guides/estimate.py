r"""A point estimate of the model with guides, from which chains start and their nodes are placed.

To guides as units of their own the model is the screen model of genes
(:mod:`crossed_jax.models.screen.estimate`): what lines and noise are follows from it, and of the
guides' effects and interactions, which part is their gene's:

.. math::
    \operatorname{var}(a_g + o_u) = \sigma_a^2 + \sigma_o^2, \qquad
    \operatorname{cov}(r_{uc}, r_{u'c}) = s V, \qquad
    \frac{\operatorname{var} r_{uc} - V (1 - \rho)/n}{V} = \rho = s + (1 - s) \pi .

The share of each gene is looked at on a grid: its rows' likelihood given a share, everything else
integrated out, says what the typical share is and how genes differ in it (an EM algorithm).
"""

import math
from typing import NamedTuple

import numpy as np

from crossed_jax.models.screen.guides.shares import GRID
from crossed_jax.models.screen.guides.table import sums_by_group

LEAST_SHARE = 0.02
SWEEPS = 200
TOLERANCE = 1e-4
LEAST_SD, LARGEST_SD = 0.1, 3.0


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
