r"""The coordinate in which NUTS moves the SD of a factor's levels.

With few, well-separated levels the posterior of :math:`\log\sigma_k` has a wall on its left, where
the likelihood falls as :math:`\exp(-c\,e^{-2\log\sigma_k})`, and a plain slope on its right. One
step size does not suit both: NUTS steps too far into the wall (a divergence) or too little
elsewhere. So measure :math:`t = \log\sigma_k - \log\hat\sigma_k` from an estimate and move

.. math:: t = -\log\log(1 + e^{-z}), \qquad
    \frac{dt}{dz} = \frac{1}{(1 + e^{z}) \log(1 + e^{-z})} .

To the right :math:`t \approx z`, the logarithm as ever; to the left :math:`e^{-t} \approx -z`, so
that the wall becomes the gentle slope of a Gaussian.

Where the data do not rule out an SD of zero there is no wall, and the logarithm itself is the right
coordinate: there the estimate in the formula is replaced by one so small that z = t everywhere.
With `L` levels of `r` rows, :math:`\hat\lambda = 1 + r\hat\sigma_k^2/\hat\sigma^2`, the balanced
likelihood at an SD of zero lies :math:`\tfrac{L-1}{2}(\hat\lambda - 1 - \log\hat\lambda)` below its
maximum (:mod:`crossed_jax.models.collapsed.balanced`): if that is 50 or more, a wall would be
steep. It is there only if zero is ruled out whatever the other SDs are, by the estimate's evidence
against it: another factor may share the levels, or the residual may have few degrees of freedom.
"""

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.statistics.point_estimate import Estimate
from crossed_jax.types import Array

WALL_DEPTH = 50.0
WALL_EVIDENCE = 10.0
FAR_LEFT = -40.0


def anchor_positions(num_levels: Array, num_rows: Array, point: Estimate) -> np.ndarray:
    """Place the wall of each factor: at its estimated log SD, or far left of it if there is none.

    Parameters
    ----------
    num_levels
        Of each factor, shape (factors,).
    num_rows
        Rows of the table.
    point
        An estimate of the SDs.
    """
    excess = num_rows / np.asarray(num_levels) * (point.factor_sds / point.sigma) ** 2
    depth = 0.5 * (np.asarray(num_levels) - 1.0) * (excess - np.log1p(excess))
    wall = (depth >= WALL_DEPTH) & (np.asarray(point.evidence) >= WALL_EVIDENCE)
    return np.log(point.factor_sds) + np.where(wall, 0.0, FAR_LEFT)


def log_sds(coordinates: Array, anchors: Array) -> tuple[Array, Array]:
    """Turn coordinates into log SDs, and give the log of the Jacobian's determinant.

    Parameters
    ----------
    coordinates, anchors
        Shape (factors,). A coordinate is the z of the module's formula plus the wall's position,
        so that on its right it is the log SD.
    """
    z = coordinates - anchors
    t = -jnp.log(jax.nn.softplus(-z))
    return anchors + t, jnp.sum(jax.nn.log_sigmoid(-z) + t)


def stretch(coordinates: Array, anchors: Array) -> np.ndarray:
    """How far a coordinate moves where its log SD moves by one."""
    z = np.asarray(coordinates) - anchors
    return (1.0 + np.exp(z)) * np.log1p(np.exp(-z))


def coordinates(log_sds: Array, anchors: Array) -> Array:
    """Invert :func:`log_sds`."""
    inverse = jnp.exp(anchors - log_sds)
    return anchors - inverse - jnp.log(-jnp.expm1(-inverse))
