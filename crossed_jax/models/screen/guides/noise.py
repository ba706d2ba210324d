r"""The guides' log noise: coordinates and prior.

.. math:: f_u \sim \mathrm{Normal}(0, \sigma_f) .

Its gene's noise takes up what the U guides of a gene have in common, their mean; rows know their
deviations from it. With P the information that they have of a guide's, and :math:`\tau` the SD of
the genes' log noise, these have the posterior SDs

.. math::
    s_d = (P + \sigma_f^{-2})^{-1/2}, \qquad
    s_m = \Big(\frac{U}{\sigma_f^2} + \frac{1}{\tau^2 + 1/(U P)}\Big)^{-1/2} ,

and in units of these they are moved: centred where rows know them, and not where they do not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.models.distributions import Normal
from crossed_jax.types import Array


class NoiseCoordinates(NamedTuple):
    """What the coordinates are made of.

    Attributes
    ----------
    gene
        Of each guide, shape (guides,).
    number, information
        Guides of each gene, and P, shape (genes,).
    of_mean
        Information about the mean of a gene's guides, were their SD large; likewise.
    """

    gene: Array
    number: Array
    information: Array
    of_mean: Array


def noise_coordinates(
    information: np.ndarray, gene: np.ndarray, gene_noise_sd: float
) -> NoiseCoordinates:
    """Make coordinates of log noise.

    Parameters
    ----------
    information
        That rows have of it, shape (guides,).
    gene
        Of each guide, likewise.
    gene_noise_sd
        An estimate of :math:`\\tau`, zero where genes do not differ in noise.
    """
    number = np.bincount(gene).astype(float)
    of_gene = np.bincount(gene, information) / number
    of_mean = 1.0 / (gene_noise_sd**2 + 1.0 / (number * of_gene))
    return NoiseCoordinates(gene, number, of_gene, of_mean)


def guide_noise(z: Array, at: NoiseCoordinates, log_sd: Array) -> Array:
    """Log noise that a position stands for, shape (guides,)."""
    of_deviation, of_mean = _scales(at, log_sd)
    mean = jax.ops.segment_sum(jnp.asarray(z), at.gene, at.number.shape[0]) / at.number
    shift = (of_mean * jnp.sqrt(at.number) - of_deviation) * mean
    return of_deviation[at.gene] * z + shift[at.gene]


def position(log_noise: np.ndarray, at: NoiseCoordinates, log_sd: float) -> np.ndarray:
    """Invert :func:`guide_noise`."""
    of_deviation, of_mean = map(np.asarray, _scales(at, jnp.asarray(log_sd)))
    mean = np.bincount(at.gene, log_noise) / at.number
    shift = mean / (of_mean * np.sqrt(at.number)) - mean / of_deviation
    return log_noise / of_deviation[at.gene] + shift[at.gene]


def log_prior_of_guide_noise(log_noise: Array, at: NoiseCoordinates, log_sd: Array) -> Array:
    """Log prior density of the coordinates, up to a constant."""
    of_deviation, of_mean = _scales(at, log_sd)
    log_jacobian = (at.number - 1.0) * jnp.log(of_deviation) + jnp.log(of_mean)
    return Normal(0.0, jnp.exp(log_sd)).log_prob(log_noise).sum() + log_jacobian.sum()


def _scales(at: NoiseCoordinates, log_sd: Array) -> tuple[Array, Array]:
    """SDs of guides' deviations from the mean of their gene's, and of that, shape (genes,)."""
    prior = jnp.exp(-2.0 * log_sd)
    return (at.information + prior) ** -0.5, (at.number * prior + at.of_mean) ** -0.5
