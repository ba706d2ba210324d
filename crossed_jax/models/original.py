r"""The model as posted: two group means, no intercept, and a likelihood flat along a line.

.. math::
    y \sim \mathrm{Normal}\Big(\sum_k \alpha^k_{l_k},\ \sigma\Big), \qquad
    \alpha^k_l \sim \mathrm{Normal}(\mu_k, \sigma_k), \qquad \mu_k \sim \mathrm{Normal}(m_k, s_k).

Adding :math:`\delta` to one factor's levels and taking it from another's leaves the likelihood
unchanged, so the posterior is as long as the prior in that direction and as thin as the noise
across it. The form is here to show that, and to check the others against.
"""

from typing import NamedTuple

import jax.numpy as jnp

from crossed_jax.models.parameterization import (
    ModelData,
    Parameterization,
    Quantities,
    centered_prior,
    log_sd_scales,
    scatter,
    uncentered_factor,
)
from crossed_jax.statistics.cross_products import gaussian_log_likelihood
from crossed_jax.types import Array


class Position(NamedTuple):
    """Unconstrained coordinates; `deviations` are partially centred about the factor means."""

    factor_means: Array
    deviations: tuple[Array, ...]
    log_factor_sds: Array
    log_sigma: Array


def log_density(position: Position, data: ModelData) -> Array:
    """Log posterior density of the module's model, up to a constant."""
    priors = data.priors
    log_prior = priors.log_scales(position.log_factor_sds, position.log_sigma)
    for prior, mean in zip(priors.factor_means, position.factor_means, strict=True):
        log_prior += prior.log_prob(mean)
    for z, mean, log_sd, weight in _by_factor(position, data):
        log_prior += centered_prior(log_sd, weight).log_prob(z - weight * mean).sum()
    return log_prior + gaussian_log_likelihood(
        data.table, jnp.asarray(0.0), _intercepts(position, data), jnp.exp(position.log_sigma)
    )


def _by_factor(position: Position, data: ModelData) -> zip:
    return zip(
        position.deviations,
        position.factor_means,
        position.log_factor_sds,
        data.centering,
        strict=True,
    )


def _intercepts(position: Position, data: ModelData) -> tuple[Array, ...]:
    """The levels' intercepts: z itself where centred, mean + sd z where not."""
    return tuple(
        mean + (z - weight * mean) * uncentered_factor(log_sd, weight)
        for z, mean, log_sd, weight in _by_factor(position, data)
    )


def quantities(position: Position, data: ModelData) -> Quantities:
    """All quantities of a position, the group means and levels' intercepts among them."""
    intercepts = _intercepts(position, data)
    return Quantities(
        intercept=jnp.stack([a.mean() for a in intercepts]).sum(),
        effects=tuple(a - a.mean() for a in intercepts),
        sigma=jnp.exp(position.log_sigma),
        factor_sds=jnp.exp(position.log_factor_sds),
        factor_means=position.factor_means,
        factor_intercepts=intercepts,
    )


def start(key: Array, data: ModelData) -> Position:
    """Draw a position about the estimate, its intercept shared out equally among the factors."""
    point = data.estimate
    log_sds = jnp.log(point.factor_sds)
    share = point.intercept / len(point.effects)
    center = Position(
        factor_means=jnp.full(len(point.effects), share),
        deviations=tuple(
            weight * share + effects / uncentered_factor(log_sd, weight)
            for effects, log_sd, weight in zip(point.effects, log_sds, data.centering, strict=True)
        ),
        log_factor_sds=log_sds,
        log_sigma=jnp.log(point.sigma),
    )
    return scatter(key, center, scale(data))


def scale(data: ModelData) -> Position:
    """Rough posterior SDs of the coordinates given the others; the ridge is left to warm-up."""
    point = data.estimate
    log_factor_sd_scale, log_sigma_scale = log_sd_scales(data.num_levels, data.table.num_rows)
    return Position(
        factor_means=jnp.asarray(point.factor_sds) / jnp.sqrt(jnp.asarray(data.num_levels)),
        deviations=tuple(
            sds / uncentered_factor(jnp.log(sd), weight)
            for sds, sd, weight in zip(
                data.effect_sds, point.factor_sds, data.centering, strict=True
            )
        ),
        log_factor_sds=log_factor_sd_scale,
        log_sigma=log_sigma_scale,
    )


FORM = Parameterization("original", log_density, start, scale, quantities)
