r"""Quantiles of effects without their draws: of mixtures of Normals, one for each draw of the SDs.

An effect is Normal given the SDs, so its posterior is an equal mixture over the draws of the SDs:
skewed, or heavy in the tails, where those are uncertain. Its quantile q at probability p solves

.. math:: \frac1S \sum_s \Phi\big((q - m_s)/\tau_s\big) = p ,

by Newton's method in a bracket. Of a factor of many levels evenly spaced draws are mixed in place
of all, and the mixture is moved and scaled to the exact mean and SD. What error is left is in its
shape alone, and many levels leave their SD little freedom to shape it.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

LOWER = (5e-7, 5e-5, 5e-4, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
PROBABILITIES = np.array([*LOWER, 0.5, *(1.0 - p for p in reversed(LOWER))])
NUMBERS_AT_ONCE = 2**20
FEWEST_DRAWS = 32
TOLERANCE = 1e-5  # in SDs


class GivenSDs(Protocol):
    """The effects' posterior given draws of the SDs."""

    @property
    def num_draws(self) -> int:
        """Of the SDs."""

    def conditionals(
        self, factor: int, draws: np.ndarray, sd: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Give means and SDs of a factor's effects, whose posterior SDs are `sd`, at some draws."""


def effect_quantiles(
    given: GivenSDs, moments: Sequence[tuple[np.ndarray, np.ndarray]]
) -> list[np.ndarray]:
    """Quantiles of each factor's effects at `PROBABILITIES`, shape (levels, probabilities).

    Parameters
    ----------
    given
        The effects' posterior given draws of the SDs.
    moments
        The effects' posterior means and SDs.
    """
    found = []
    for factor, (mean, sd) in enumerate(moments):
        number = min(given.num_draws, max(FEWEST_DRAWS, NUMBERS_AT_ONCE // len(mean)))
        draws = np.linspace(0, given.num_draws - 1, number).astype(int)
        means, sds = given.conditionals(factor, draws, sd)
        quantiles = mixture_quantiles(means, sds, PROBABILITIES)
        spread = np.sqrt((sds**2).mean(0) + means.var(0))
        scale = np.divide(sd, spread, out=np.ones_like(sd), where=spread > 0.0)
        quantiles -= means.mean(0)[:, None]
        found.append(mean[:, None] + scale[:, None] * quantiles)
    return found


def mixture_quantiles(means: np.ndarray, sds: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Quantiles of equal mixtures of Normals.

    Parameters
    ----------
    means, sds
        Of the components, shape (components, mixtures).
    probabilities
        Of the quantiles, between 0 and 1.

    Returns
    -------
    ndarray
        Shape (mixtures, probabilities).
    """
    from scipy.special import ndtri

    sds = np.maximum(sds, np.finfo(float).tiny)
    spread = np.sqrt((sds**2).mean(0) + means.var(0))
    found = np.empty((means.shape[1], len(probabilities)))
    for column, score in enumerate(ndtri(probabilities)):
        ends = means + score * sds
        low, high = ends.min(0), ends.max(0)
        point = np.clip(means.mean(0) + score * spread, low, high)
        change = high - low
        while np.any(change > TOLERANCE * spread):
            newton, low, high = _newton(means, sds, score, point, low, high)
            # as safe as bisection: each step is at most half as long as the one before
            good = (low <= newton) & (newton <= high) & (np.abs(newton - point) < 0.5 * change)
            moved = np.where(good, newton, 0.5 * (low + high))
            change = np.where(good, np.abs(newton - point), 0.5 * (high - low))
            point = moved
        found[:, column] = point
    return found


def _newton(
    means: np.ndarray,
    sds: np.ndarray,
    score: float,
    point: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step towards the quantile of a score, and narrow the bracket about it.

    The step is Newton's on the scale of scores, on which a Normal's distribution is a line.
    """
    from scipy.special import ndtr, ndtri

    standardized = (point - means) / sds
    reached = ndtri(ndtr(standardized).mean(0))
    density = (np.exp(-0.5 * standardized**2) / sds).mean(0)
    with np.errstate(all="ignore"):
        newton = point - (reached - score) * np.exp(-0.5 * reached**2) / density
    return newton, np.where(reached < score, point, low), np.where(reached > score, point, high)
