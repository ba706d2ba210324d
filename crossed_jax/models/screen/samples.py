r"""Effects of samples, the replicates of a line: prior, coordinates, and what they leave unknown.

Of the :math:`n_c` samples of line c, with effects :math:`s_{cr} \sim \mathrm{Normal}(0,
\sigma_s)`, the data tell sums :math:`m + b_c + s_{cr}`. Their mean

.. math::
    \beta_c = m + b_c + \bar s_c \sim \mathrm{Normal}(m, \sqrt{v_c}), \qquad
    v_c = \sigma_b^2 + \sigma_s^2 / n_c ,

and their orthonormal contrasts, Normal(0, :math:`\sigma_s`) each, are independent and known about
as well as without samples, so these are the coordinates. The line's own :math:`m + b_c` follows
from them,

.. math::
    m + b_c \mid m, \beta_c \sim \mathrm{Normal}\Big(m + \frac{\sigma_b^2}{v_c} (\beta_c - m),\
    \sqrt{\frac{\sigma_b^2 \sigma_s^2}{n_c v_c}}\Big),

which no number of genes makes more certain.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.models.distributions import Normal
from crossed_jax.models.screen.line_vectors import Rotation, log_factor
from crossed_jax.types import Array


class Basis(NamedTuple):
    """Orthonormal contrasts of the samples of each line, their entries that are not zero.

    Attributes
    ----------
    sample, contrast, value
        Of the entries, shape (entries,).
    line
        Of the contrasts, shape (contrasts,).
    """

    sample: Array
    contrast: Array
    value: Array
    line: Array


class Contrasts(NamedTuple):
    """Coordinates of samples' effects about the means of their lines.

    Attributes
    ----------
    basis
        Of the contrasts.
    rotation
        Their scale, and whether they are centred; nothing is rotated.
    share_of_each
        One over the number of samples, shape (lines,).
    """

    basis: Basis
    rotation: Rotation
    share_of_each: Array


def basis_of(line: np.ndarray) -> Basis:
    """Contrast each sample of a line with the mean of those before it (Helmert's contrasts)."""
    sample, value, lines = [], [], []
    for c in range(int(line.max()) + 1):
        samples = np.flatnonzero(line == c)
        for number in range(1, len(samples)):
            sample.append(samples[: number + 1])
            column = np.append(np.ones(number), -number)
            value.append(column / math.sqrt(number * (number + 1.0)))
            lines.append(c)
    contrast = np.repeat(np.arange(len(sample)), [len(each) for each in sample])
    return Basis(np.concatenate(sample), contrast, np.concatenate(value), np.array(lines))


def contrasts_of(effects: np.ndarray, basis: Basis) -> np.ndarray:
    """Values of the contrasts of samples' effects, shape (contrasts,)."""
    return np.bincount(basis.contrast, basis.value * effects[basis.sample])


def deviations(z: Array, contrasts: Contrasts, log_sd: Array) -> Array:
    """Effects of samples about the means of their lines that coordinates stand for."""
    basis, rotation = contrasts.basis, contrasts.rotation
    values = z / rotation.root * jnp.exp(log_factor(rotation, log_sd))
    number = basis.line.shape[0] + contrasts.share_of_each.shape[0]  # of samples
    return jax.ops.segment_sum(basis.value * values[basis.contrast], basis.sample, number)


def log_prior(deviations: Array, contrasts: Contrasts, log_sd: Array) -> Array:
    """Log prior density of the coordinates."""
    number = contrasts.basis.line.shape[0]
    factor = log_factor(contrasts.rotation, log_sd)
    squares = jnp.sum((deviations * jnp.exp(-log_sd)) ** 2)
    return number * (factor - log_sd - 0.5 * math.log(2.0 * math.pi)) - 0.5 * squares


def variances(
    log_line_sd: Array, log_sample_sd: Array | None, share_of_each: Array | None, number: int
) -> Array:
    """Of so many lines' locations about their mean, shape (lines,)."""
    of_lines = jnp.exp(2.0 * log_line_sd)
    if log_sample_sd is None or share_of_each is None:
        return jnp.broadcast_to(of_lines, (number,))
    return of_lines + jnp.exp(2.0 * log_sample_sd) * share_of_each


def log_prior_of_locations(mean: Array, zero_sum: Array, variance: Array, prior: Normal) -> Array:
    """Log prior density of lines' locations, as mean and zero-sum part, m integrated out.

    Parameters
    ----------
    mean, zero_sum
        Of the locations, a scalar and shape (lines,).
    variance
        About m, shape (lines,).
    prior
        Of m.
    """
    number = zero_sum.shape[0]
    precision = 1.0 / variance
    known = precision.sum()
    shift = (precision @ zero_sum) / known
    squares = precision @ (zero_sum - shift) ** 2
    log_dets = jnp.log(variance).sum() + jnp.log(known) - math.log(number)
    constant = (number - 1.0) * math.log(2.0 * math.pi)
    of_mean = Normal(prior.loc, jnp.sqrt(prior.scale**2 + 1.0 / known))
    return of_mean.log_prob(mean + shift) - 0.5 * (constant + log_dets + squares)


class Locations(NamedTuple):
    """Of the lines without their samples, given those with them, shape (lines,).

    Attributes
    ----------
    draw, mean
        A draw, and their means.
    variance, of_mean
        Variances of their deviations from their mean, and of that, a scalar.
    """

    draw: Array
    mean: Array
    variance: Array
    of_mean: Array


def locations_of_lines(
    key: jax.Array, location: Array, line_sd: Array, sample_sd: Array, prior: Normal, share: Array
) -> Locations:
    """Draw lines' locations without their samples, and give their moments.

    Parameters
    ----------
    key
        Of what is drawn.
    location
        With their samples, shape (lines,).
    line_sd, sample_sd
        Draws of the SDs.
    prior
        Of the mean m.
    share
        One over the number of samples, shape (lines,).
    """
    number = location.shape[0]
    of_line, of_samples = line_sd**2, sample_sd**2 * share
    precision = 1.0 / (of_line + of_samples)
    known = prior.scale**-2 + precision.sum()
    mean = (prior.loc * prior.scale**-2 + (precision * location).sum()) / known
    left = of_line * of_samples * precision
    of_prior = of_samples * precision
    of_m, of_lines = jax.random.split(key)
    m = mean + jax.random.normal(of_m) / jnp.sqrt(known)
    drawn = location + of_prior * (m - location)
    drawn += jnp.sqrt(left) * jax.random.normal(of_lines, (number,))
    of_mean = left.sum() / number**2
    return Locations(
        drawn,
        location + of_prior * (mean - location),
        left * (1.0 - 2.0 / number) + of_mean + (of_prior - of_prior.mean()) ** 2 / known,
        jnp.asarray(of_mean + of_prior.mean() ** 2 / known),
    )
