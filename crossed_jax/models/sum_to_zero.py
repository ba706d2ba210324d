r"""The posted model without its ridge: an intercept and zero-sum effects.

With :math:`\alpha^k = \bar\alpha^k \mathbf 1 + Q u^k` for each crossed factor `k` (see
:mod:`crossed_jax.models.zero_sum`) the likelihood sees only :math:`m = \sum_k \bar\alpha^k` and the
zero-sum effects :math:`Q u^k`. Under the posted priors, given the SDs and all independent,

.. math::
    m \sim \mathrm{Normal}\Big(\sum_k m_k, \sqrt{\textstyle\sum_k s_k^2 + \sigma_k^2/L_k}\Big),
    \qquad u^k \sim \mathrm{Normal}(0, \sigma_k) \text{ in } \mathbb{R}^{L_k - 1}.

This is the same posterior for :math:`(m, Q u^k, \sigma_k, \sigma)`, for any likelihood of the sum,
with the flat direction integrated out. What it leaves out, the factors' own means, follows exactly
afterwards: :func:`crossed_jax.results.original_coordinates`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp

from crossed_jax.models import sd_coordinate
from crossed_jax.models.centering import centered_prior, uncentered_factor
from crossed_jax.models.parameterization import (
    ModelData,
    log_sd_scales,
)
from crossed_jax.models.parts import Terms
from crossed_jax.models.zero_sum import contrasts, zero_sum
from crossed_jax.types import Array


class Position(NamedTuple):
    """Unconstrained coordinates; `contrasts` are partially centred, shape (levels - 1,) each.

    Those of the factors' SDs are described in :mod:`crossed_jax.models.sd_coordinate`.
    """

    intercept: Array
    contrasts: tuple[Array, ...]
    factor_sds: Array


def log_priors(position: Position, data: ModelData) -> Iterator[Array]:
    """Log prior densities of the module's coordinates."""
    log_sds, log_jacobian = sd_coordinate.log_sds(position.factor_sds, data.anchors)
    yield from data.priors.log_factor_sds(log_sds)
    yield data.priors.intercept(jnp.exp(log_sds), data.num_levels).log_prob(position.intercept)
    for z, log_sd, weight in zip(position.contrasts, log_sds, data.centering, strict=True):
        yield centered_prior(log_sd, weight).log_prob(z).sum()
    yield log_jacobian


def expectation(position: Position, data: ModelData) -> tuple[Array, tuple[Array, ...]]:
    """Intercept and zero-sum effects of a position."""
    log_sds, _ = sd_coordinate.log_sds(position.factor_sds, data.anchors)
    effects = tuple(
        zero_sum(z * uncentered_factor(log_sd, weight))
        for z, log_sd, weight in zip(position.contrasts, log_sds, data.centering, strict=True)
    )
    return position.intercept, effects


def quantities(position: Position, data: ModelData) -> dict[str, Any]:
    """Intercept, zero-sum effects and SDs of a position."""
    log_sds, _ = sd_coordinate.log_sds(position.factor_sds, data.anchors)
    intercept, effects = expectation(position, data)
    return {
        "intercept": intercept,
        "{factor}_effect": effects,
        "{factor}_sd": tuple(jnp.exp(log_sds)),
    }


def center(data: ModelData) -> Position:
    """Give the estimate's position."""
    point = data.estimate
    log_sds = jnp.log(point.factor_sds)
    return Position(
        intercept=jnp.asarray(point.intercept),
        contrasts=tuple(
            contrasts(effects) / uncentered_factor(log_sd, weight)
            for effects, log_sd, weight in zip(point.effects, log_sds, data.centering, strict=True)
        ),
        factor_sds=sd_coordinate.coordinates(log_sds, data.anchors),
    )


def scale(data: ModelData) -> Position:
    """Rough posterior SDs: the effects' given the estimated SDs, and well-informed SDs'."""
    point = data.estimate
    return Position(
        intercept=point.sigma / jnp.sqrt(data.statistics.num_rows),
        contrasts=tuple(
            sds[:-1] / uncentered_factor(jnp.log(sd), weight)
            for sds, sd, weight in zip(
                data.conditional_sds, point.factor_sds, data.centering, strict=True
            )
        ),
        factor_sds=log_sd_scales(data.num_levels, data.statistics.num_rows)[0],
    )


TERMS = Terms("sum_to_zero", log_priors, expectation, center, scale, quantities)
