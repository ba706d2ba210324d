r"""What the data say of the SD of a vector of the lines, and the coordinates that suit it.

The lines' values v are measured with precisions P, but for a common shift and one along h, of
variance :math:`s_h^2`, that the genes take up. For an SD :math:`\tau` of the vector's zero-sum part

.. math::
    v \sim \mathrm{Normal}\big(\mu 1 + \eta h,\ P^{-1} + \tau^2\big), \qquad
    \mu \text{ free}, \quad \eta \sim \mathrm{Normal}(0, s_h),

from which its posterior follows on a grid. Few lines leave an SD uncertain, and where it may be as
small as its lines' errors the centred parameterization has a funnel
(:mod:`crossed_jax.models.centering`): a vector is centred if its lines differ by clearly more than
their errors even at an SD as small as the data allow, and else only at large ones
(:mod:`crossed_jax.models.screen.line_vectors`).
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from crossed_jax.models import sd_coordinate
from crossed_jax.models.distributions import inside_support, log_density_of_log

GRID = np.linspace(math.log(1e-5), math.log(1e2), 600)  # of the SD, in root mean squares of v
SMALL = 0.001  # probability of a smaller SD
CLEAR_EXCESS = 5.0


class Spread(NamedTuple):
    """The SD of a vector, as the data tell.

    Attributes
    ----------
    precision
        Of the lines' values, shape (lines,).
    sd
        Posterior median.
    small
        A small quantile of it.
    width
        Posterior SD of its logarithm.
    """

    precision: np.ndarray
    sd: float
    small: float
    width: float

    @property
    def weight(self) -> float:
        """One to centre the vector, zero not to."""
        return float(self._excess >= CLEAR_EXCESS)

    @property
    def anchor(self) -> float:
        """Where the SD's coordinate has its wall, see `sd_coordinate`."""
        depth = 0.5 * (len(self.precision) - 1) * (self._excess - math.log1p(self._excess))
        steep = depth >= sd_coordinate.WALL_DEPTH
        return math.log(self.sd) + (0.0 if steep else sd_coordinate.FAR_LEFT)

    @property
    def coordinate(self) -> float:
        """The SD's coordinate."""
        return float(sd_coordinate.coordinates(np.log(self.sd), np.asarray(self.anchor)))

    @property
    def coordinate_width(self) -> float:
        """Posterior SD of that."""
        at = np.asarray(self.coordinate), np.asarray(self.anchor)
        return self.width * float(sd_coordinate.stretch(*at))

    @property
    def _excess(self) -> float:
        """By how much lines of a small SD differ, in variances of their errors."""
        return float(np.median(self.precision)) * self.small**2


def spread_of_genes(information: np.ndarray, sd: float, enlarged: float = 1.0) -> Spread:
    """Look at the SD of what many genes or guides differ in.

    Parameters
    ----------
    information
        With which each one's value is known, shape (genes,).
    sd
        The estimate.
    enlarged
        How many times as many genes there are.
    """
    known = information * sd**2 / (1.0 + information * sd**2)
    freedom = max(enlarged * float((known**2).sum()) - 1.0, 0.5)
    width = (2.0 * freedom) ** -0.5
    return Spread(information, sd, sd * math.exp(-2.0 * width), width)


def spread_of(
    prior: Any,
    values: np.ndarray,
    precision: np.ndarray,
    direction: np.ndarray | None = None,
    along: float = 0.0,
    *,
    about_zero: bool = False,
) -> Spread:
    """Look at the SD of a vector.

    Parameters
    ----------
    prior
        Of the SD.
    values, precision
        Of the lines, shape (lines,).
    direction, along
        Of the shift that the genes take up, if it is not common to all lines; and its SD.
    about_zero
        Whether the values have the mean zero, as contrasts have.
    """
    middle = 0.0 if about_zero else values.mean()
    scale = max(math.sqrt(np.mean((values - middle) ** 2)), 1e-9)
    columns = np.zeros((len(values), 0)) if about_zero else np.ones((len(values), 1))
    known = np.zeros((columns.shape[1],) * 2)
    if direction is not None:
        columns = np.stack([columns[:, 0], direction], 1)
        known = np.diag([0.0, along**-2])
    grid = GRID + math.log(scale)
    support = getattr(prior, "support", None)
    if support is not None:
        grid = grid[np.asarray(support(np.exp(grid)))]
    if not len(grid):  # the prior has no room for what the data say
        sd = inside_support(prior, scale)
        return Spread(precision, sd, sd, 0.1)
    log_posterior = np.array(log_density_of_log(prior, jnp.asarray(grid)))
    for i, sd in enumerate(np.exp(grid)):
        weights = 1.0 / (1.0 / precision + sd**2)
        matrix = columns.T @ (weights[:, None] * columns) + known
        product = columns.T @ (weights * values)
        squares = weights @ values**2 - product @ np.linalg.solve(matrix, product)
        log_dets = np.linalg.slogdet(matrix)[1] - np.log(weights).sum()
        log_posterior[i] -= 0.5 * (log_dets + squares)
    posterior = np.exp(log_posterior - log_posterior.max())
    posterior /= posterior.sum()
    mean = posterior @ grid
    below = np.cumsum(posterior) - 0.5 * posterior
    low, median = np.interp([SMALL, 0.5], below, grid)
    return Spread(
        precision, math.exp(median), math.exp(low), math.sqrt(posterior @ (grid - mean) ** 2)
    )
