r"""Coordinates of a vector with a value for each line, without its ridge.

Lines' locations, log slopes and log noise are a mean and a zero-sum part each. With the genes
integrated out the posterior precision of such a vector is, but for small terms, diagonal less a
matrix of rank one: a shift of all lines along one direction h is taken up by the genes, whatever
their number, and everything across it is known as well as G genes tell. So a vector is moved as

.. math:: v = R^{-1/2} H z,

with R the diagonal and H the Householder reflection that exchanges the first axis with
:math:`R^{1/2} h`: its coordinates z are close to independent, with SD one but for the first, which
is as wide as the ridge. R and h are fixed numbers from an estimate; the map is linear, and its
Jacobian constant.

The zero-sum part is centred (:mod:`crossed_jax.models.centering`); or multiplied by the SD that its
entries have a posteriori given their prior's, over what it is at the estimate,

.. math:: s(\mathrm{sd}) / s(\hat{\mathrm{sd}}), \qquad
    s(\mathrm{sd}) = (P + \mathrm{sd}^{-2})^{-1/2},

with P the precision that a typical line is measured with: uncentred at a small SD, which the data
do not rule out, and centred at a large one, which two or three lines do not rule out either.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.types import Array

TINY = 1e-300


class Rotation(NamedTuple):
    """A vector's coordinates.

    Attributes
    ----------
    root
        Roots of the diagonal R, shape (lines,).
    mirror
        Unit vector that H reflects along, shape (lines,).
    width
        Rough SD of the first coordinate.
    log_sd
        Logarithm of the estimated SD of the zero-sum part.
    log_known
        Logarithm of the precision P of that part.
    weight
        One to centre it, zero not to.
    """

    root: Array
    mirror: Array
    width: Array
    log_sd: Array
    log_known: Array
    weight: Array


def rotation(
    precision: np.ndarray, ridge: np.ndarray, along: float, sd: float, weight: float
) -> Rotation:
    """Make coordinates of a vector.

    Parameters
    ----------
    precision
        Posterior precisions of the lines with the genes known, shape (lines,).
    ridge
        The direction h in which genes take up a shift of the lines, shape (lines,).
    along
        Posterior precision of the shift, in units of h.
    sd, weight
        Estimated SD of the zero-sum part, and whether to centre it.
    """
    root = np.sqrt(precision)
    axis = root * ridge
    length = np.linalg.norm(axis)
    axis = axis / length
    mirror = axis + np.copysign(1.0, axis[0]) * np.eye(len(axis))[0]
    return Rotation(
        root,
        mirror / np.linalg.norm(mirror),
        np.asarray(length / math.sqrt(along)),
        np.asarray(math.log(sd)),
        np.log(np.maximum(np.median(precision) - sd**-2, TINY)),
        np.asarray(weight),
    )


def _reflect(z: Array, rotation: Rotation) -> Array:
    return z - 2.0 * (rotation.mirror @ z) * rotation.mirror


def vector(z: Array, rotation: Rotation, log_sd: Array | None) -> tuple[Array, Array]:
    """Mean and zero-sum part that a position stands for; of a single entry, without an SD."""
    v = jnp.asarray(_reflect(z, rotation) / rotation.root)
    mean = v.mean()
    if log_sd is None:
        return mean, v - mean
    return mean, (v - mean) * jnp.exp(log_factor(rotation, log_sd))


def log_factor(rotation: Rotation, log_sd: Array) -> Array:
    """Logarithm of what the zero-sum part is multiplied by."""
    before, now = (
        jax.nn.softplus(rotation.log_known + 2.0 * log) for log in (rotation.log_sd, log_sd)
    )
    return (1.0 - rotation.weight) * (log_sd - rotation.log_sd + 0.5 * (before - now))


def position(vector: np.ndarray, rotation: Rotation) -> Array:
    """Invert :func:`vector` at the estimated SD."""
    return _reflect(rotation.root * vector, rotation)


def log_prior(zero_sum: Array, rotation: Rotation, log_sd: Array) -> Array:
    """Log prior density of the coordinates across the mean, Normal(0, sd) each."""
    freedom = zero_sum.shape[0] - 1.0
    squares = jnp.sum((zero_sum * jnp.exp(-log_sd)) ** 2)
    constant = freedom * (log_sd + 0.5 * math.log(2.0 * math.pi))
    return log_jacobian(zero_sum, rotation, log_sd) - constant - 0.5 * squares


def log_jacobian(zero_sum: Array, rotation: Rotation, log_sd: Array) -> Array:
    """Log-determinant of what an SD does to the coordinates across the mean."""
    return (zero_sum.shape[0] - 1.0) * log_factor(rotation, log_sd)


def widths(rotation: Rotation) -> np.ndarray:
    """Rough posterior SDs of the coordinates."""
    ones = np.ones_like(rotation.root)
    ones[0] = rotation.width
    return ones
