r"""The model as posted: two group means, no intercept, and a likelihood flat along a line.

.. math::
    y \sim \mathrm{Normal}\Big(\sum_k \alpha^k_{l_k},\ \sigma\Big), \qquad
    \alpha^k_l \sim \mathrm{Normal}(\mu_k, \sigma_k), \qquad \mu_k \sim \mathrm{Normal}(m_k, s_k).

Adding :math:`\delta` to one factor's levels and taking it from another's leaves the likelihood
unchanged, so the posterior is as long as the prior in that direction and as thin as the noise
across it. The form is here to show that, and to check the others against.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp

from crossed_jax.models.centering import centered_prior, uncentered_factor
from crossed_jax.models.parameterization import (
    ModelData,
    log_sd_scales,
)
from crossed_jax.models.parts import Terms
from crossed_jax.types import Array


class Position(NamedTuple):
    """Unconstrained coordinates; `deviations` are partially centred about the factor means."""

    factor_means: Array
    deviations: tuple[Array, ...]
    log_factor_sds: Array


def log_priors(position: Position, data: ModelData) -> Iterator[Array]:
    """Log prior densities of the module's coordinates."""
    yield from data.priors.log_factor_sds(position.log_factor_sds)
    for prior, mean in zip(data.priors.factor_means, position.factor_means, strict=True):
        yield prior.log_prob(mean)
    for z, mean, log_sd, weight in _by_factor(position, data):
        yield centered_prior(log_sd, weight).log_prob(z - weight * mean).sum()


def _by_factor(position: Position, data: ModelData) -> zip:
    return zip(
        position.deviations,
        position.factor_means,
        position.log_factor_sds,
        data.centering,
        strict=True,
    )


def expectation(position: Position, data: ModelData) -> tuple[Array, tuple[Array, ...]]:
    """No intercept, and the levels' intercepts: z itself where centred, mean + sd z where not."""
    return jnp.asarray(0.0), tuple(
        mean + (z - weight * mean) * uncentered_factor(log_sd, weight)
        for z, mean, log_sd, weight in _by_factor(position, data)
    )


def quantities(position: Position, data: ModelData) -> dict[str, Any]:
    """All quantities of a position, the group means and levels' intercepts among them."""
    _, intercepts = expectation(position, data)
    return {
        "intercept": jnp.stack([a.mean() for a in intercepts]).sum(),
        "{factor}_effect": tuple(a - a.mean() for a in intercepts),
        "{factor}_sd": tuple(jnp.exp(position.log_factor_sds)),
        "{factor}_mean": tuple(position.factor_means),
        "{factor}_intercept": intercepts,
    }


def center(data: ModelData) -> Position:
    """Give the estimate's position, its intercept shared out equally among the factors."""
    point = data.estimate
    log_sds = jnp.log(point.factor_sds)
    share = point.intercept / len(point.effects)
    return Position(
        factor_means=jnp.full(len(point.effects), share),
        deviations=tuple(
            weight * share + effects / uncentered_factor(log_sd, weight)
            for effects, log_sd, weight in zip(point.effects, log_sds, data.centering, strict=True)
        ),
        log_factor_sds=log_sds,
    )


def scale(data: ModelData) -> Position:
    """Rough posterior SDs of the coordinates given the others; the ridge is left to warm-up."""
    point = data.estimate
    return Position(
        factor_means=jnp.asarray(point.factor_sds) / jnp.sqrt(jnp.asarray(data.num_levels)),
        deviations=tuple(
            sds / uncentered_factor(jnp.log(sd), weight)
            for sds, sd, weight in zip(
                data.conditional_sds, point.factor_sds, data.centering, strict=True
            )
        ),
        log_factor_sds=log_sd_scales(data.num_levels, data.statistics.num_rows)[0],
    )


TERMS = Terms("original", log_priors, expectation, center, scale, quantities)
