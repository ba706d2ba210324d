r"""The thread's first advice: a flat regression on an intercept and indicators, with no pooling.

.. math::
    y \sim \mathrm{Normal}\Big(b_0 + \sum_k b^k_{l_k},\ \sigma\Big), \qquad b^k_1 = 0, \qquad
    b_0 \sim \mathrm{Normal}\Big(\textstyle\sum_k m_k, \sqrt{\sum_k s_k^2}\Big), \qquad
    b^k_l \sim \mathrm{Normal}(0, s_k).

It has no ridge, and no variance components either: levels are not drawn from a population, so
nothing is shrunk and nothing is learned about the next level. It is another model, kept for
comparison.
"""

from typing import NamedTuple

import jax.numpy as jnp

from crossed_jax.models.parameterization import (
    ModelData,
    Parameterization,
    Quantities,
    log_sd_scales,
    scatter,
)
from crossed_jax.models.priors import Normal, log_density_of_log_sd
from crossed_jax.statistics.cross_products import gaussian_log_likelihood
from crossed_jax.types import Array


class Position(NamedTuple):
    """Unconstrained coordinates; `coefficients` of all levels but the first, (levels - 1,) each."""

    intercept: Array
    coefficients: tuple[Array, ...]
    log_sigma: Array


def log_density(position: Position, data: ModelData) -> Array:
    """Log posterior density of the module's model, up to a constant."""
    priors = data.priors
    log_prior = log_density_of_log_sd(priors.sigma, position.log_sigma)
    log_prior += priors.sum_of_means.log_prob(position.intercept)
    for mean, coefficients in zip(priors.factor_means, position.coefficients, strict=True):
        log_prior += Normal(jnp.asarray(0.0), mean.scale).log_prob(coefficients).sum()
    return log_prior + gaussian_log_likelihood(
        data.table, position.intercept, _indicators(position), jnp.exp(position.log_sigma)
    )


def _indicators(position: Position) -> tuple[Array, ...]:
    return tuple(jnp.concatenate([jnp.zeros(1), b]) for b in position.coefficients)


def quantities(position: Position, data: ModelData) -> Quantities:
    """Grand mean, centred effects and residual SD of a position."""
    levels = _indicators(position)
    return Quantities(
        intercept=position.intercept + sum(b.mean() for b in levels),
        effects=tuple(b - b.mean() for b in levels),
        sigma=jnp.exp(position.log_sigma),
    )


def start(key: Array, data: ModelData) -> Position:
    """Draw a position about the estimate."""
    point = data.estimate
    first = [jnp.asarray(effects)[0] for effects in point.effects]
    center = Position(
        intercept=point.intercept + sum(first),
        coefficients=tuple(
            effects[1:] - base for effects, base in zip(point.effects, first, strict=True)
        ),
        log_sigma=jnp.log(point.sigma),
    )
    return scatter(key, center, scale(data))


def scale(data: ModelData) -> Position:
    """Rough posterior SDs of the coordinates, each given the others."""
    return Position(
        intercept=jnp.sqrt(sum(sds[0] ** 2 for sds in data.effect_sds)),
        coefficients=tuple(sds[1:] for sds in data.effect_sds),
        log_sigma=log_sd_scales(data.num_levels, data.table.num_rows)[1],
    )


FORM = Parameterization("design_matrix", log_density, start, scale, quantities)
