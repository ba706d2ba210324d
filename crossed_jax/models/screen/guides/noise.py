r"""The guides' log noise: coordinates and prior.

.. math:: f_u \sim \mathrm{Normal}(0, \sigma_f), \qquad
    \bar f \sim \mathrm{Normal}(0, \sigma_f / \sqrt U)

for U guides. A shift of all is taken up by the noise of the lines, so the rows leave the mean to
its prior, and it is moved in units of its SD; the rest is a vector as those of the lines
(:mod:`crossed_jax.models.screen.line_vectors`), which the rows may know or not.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from crossed_jax.models.distributions import Normal
from crossed_jax.models.screen import line_vectors
from crossed_jax.models.screen.line_vectors import Rotation
from crossed_jax.types import Array


class GuideNoise(NamedTuple):
    """Log noise of the guides.

    Attributes
    ----------
    scaled_mean
        Its mean, in units in which its SD is what it is at the estimate.
    mean, zero_sum
        That, and what is left of each, shape (guides,).
    """

    scaled_mean: Array
    mean: Array
    zero_sum: Array


def rotation_of(information: np.ndarray, sd: float) -> Rotation:
    """Make coordinates of log noise that rows know with some information, shape (guides,)."""
    ones = np.ones_like(information)
    of_mean = len(information) / sd**2
    return line_vectors.rotation(information + sd**-2, ones, of_mean, sd, weight=0.0)


def guide_noise(z: Array, rotation: Rotation, log_sd: Array) -> GuideNoise:
    """Log noise that a position stands for."""
    scaled_mean, zero_sum = line_vectors.vector(z, rotation, log_sd)
    return GuideNoise(scaled_mean, scaled_mean * jnp.exp(log_sd - rotation.log_sd), zero_sum)


def log_prior_of_guide_noise(noise: GuideNoise, rotation: Rotation, log_sd: Array) -> Array:
    """Log prior density of the coordinates."""
    sd_of_mean = jnp.exp(rotation.log_sd) / math.sqrt(noise.zero_sum.shape[0])
    of_mean = Normal(0.0, sd_of_mean).log_prob(noise.scaled_mean)
    return of_mean + line_vectors.log_prior(noise.zero_sum, rotation, log_sd)
