r"""The posted model without its ridge: an intercept and zero-sum effects.

With :math:`\alpha^k = \bar\alpha^k \mathbf 1 + Q u^k` for each crossed factor `k` (see
:mod:`crossed_jax.models.zero_sum`) the likelihood sees only :math:`m = \sum_k \bar\alpha^k` and the
zero-sum effects :math:`Q u^k`. Under the posted priors, given the SDs and all independent,

.. math::
    m \sim \mathrm{Normal}\Big(\sum_k m_k, \sqrt{\textstyle\sum_k s_k^2 + \sigma_k^2/L_k}\Big),
    \qquad u^k \sim \mathrm{Normal}(0, \sigma_k) \text{ in } \mathbb{R}^{L_k - 1}.

This is the same posterior for :math:`(m, Q u^k, \sigma_k, \sigma)`, for any likelihood of the sum,
with the flat direction integrated out. What it leaves out, the factors' own means, follows exactly
afterwards: :func:`crossed_jax.results.tree.original_coordinates`.
"""

from typing import NamedTuple

import jax.numpy as jnp

from crossed_jax.models import sd_coordinate
from crossed_jax.models.parameterization import (
    ModelData,
    Parameterization,
    Quantities,
    centered_prior,
    log_sd_scales,
    scatter,
    uncentered_factor,
)
from crossed_jax.models.zero_sum import contrasts, zero_sum
from crossed_jax.statistics.cross_products import gaussian_log_likelihood
from crossed_jax.types import Array


class Position(NamedTuple):
    """Unconstrained coordinates; `contrasts` are partially centred, shape (levels - 1,) each.

    Those of the factors' SDs are described in :mod:`crossed_jax.models.sd_coordinate`.
    """

    intercept: Array
    contrasts: tuple[Array, ...]
    factor_sds: Array
    log_sigma: Array


def log_density(position: Position, data: ModelData) -> Array:
    """Log posterior density of the module's model, up to a constant."""
    log_sds, log_jacobian = sd_coordinate.log_sds(position.factor_sds, data.anchors)
    log_prior = data.priors.log_scales(log_sds, position.log_sigma)
    intercept = data.priors.intercept(jnp.exp(log_sds), data.num_levels)
    log_prior += intercept.log_prob(position.intercept)
    for z, log_sd, weight in zip(position.contrasts, log_sds, data.centering, strict=True):
        log_prior += centered_prior(log_sd, weight).log_prob(z).sum()
    drawn = quantities(position, data)
    log_likelihood = gaussian_log_likelihood(
        data.table, position.intercept, drawn.effects, drawn.sigma
    )
    return log_prior + log_likelihood + log_jacobian


def quantities(position: Position, data: ModelData) -> Quantities:
    """Intercept, zero-sum effects and SDs of a position."""
    log_sds, _ = sd_coordinate.log_sds(position.factor_sds, data.anchors)
    effects = tuple(
        zero_sum(z * uncentered_factor(log_sd, weight))
        for z, log_sd, weight in zip(position.contrasts, log_sds, data.centering, strict=True)
    )
    return Quantities(
        intercept=position.intercept,
        effects=effects,
        sigma=jnp.exp(position.log_sigma),
        factor_sds=jnp.exp(log_sds),
    )


def start(key: Array, data: ModelData) -> Position:
    """Draw a position about the estimate."""
    point = data.estimate
    log_sds = jnp.log(point.factor_sds)
    center = Position(
        intercept=point.intercept,
        contrasts=tuple(
            contrasts(effects) / uncentered_factor(log_sd, weight)
            for effects, log_sd, weight in zip(point.effects, log_sds, data.centering, strict=True)
        ),
        factor_sds=sd_coordinate.coordinates(log_sds, data.anchors),
        log_sigma=jnp.log(point.sigma),
    )
    return scatter(key, center, scale(data))


def scale(data: ModelData) -> Position:
    """Rough posterior SDs: the effects' given the estimated SDs, and well-informed SDs'."""
    point = data.estimate
    factor_sd_scale, log_sigma_scale = log_sd_scales(data.num_levels, data.table.num_rows)
    return Position(
        intercept=point.sigma / jnp.sqrt(data.table.num_rows),
        contrasts=tuple(
            sds[:-1] / uncentered_factor(jnp.log(sd), weight)
            for sds, sd, weight in zip(
                data.effect_sds, point.factor_sds, data.centering, strict=True
            )
        ),
        factor_sds=factor_sd_scale,
        log_sigma=log_sigma_scale,
    )


FORM = Parameterization("sum_to_zero", log_density, start, scale, quantities)
