r"""The thread's first advice: a flat regression on an intercept and indicators, with no pooling.

.. math::
    y \sim \mathrm{Normal}\Big(b_0 + \sum_k b^k_{l_k},\ \sigma\Big), \qquad b^k_1 = 0, \qquad
    b_0 \sim \mathrm{Normal}\Big(\textstyle\sum_k m_k, \sqrt{\sum_k s_k^2}\Big), \qquad
    b^k_l \sim \mathrm{Normal}(0, s_k).

It has no ridge, and no variance components either: levels are not drawn from a population, so
nothing is shrunk and nothing is learned about the next level. It is another model, kept for
comparison.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp

from crossed_jax.models.distributions import Normal
from crossed_jax.models.parameterization import (
    ModelData,
)
from crossed_jax.models.parts import Terms
from crossed_jax.types import Array


class Position(NamedTuple):
    """Unconstrained coordinates; `coefficients` of all levels but the first, (levels - 1,) each."""

    intercept: Array
    coefficients: tuple[Array, ...]


def log_priors(position: Position, data: ModelData) -> Iterator[Array]:
    """Log prior densities of the module's coordinates."""
    yield data.priors.sum_of_means.log_prob(position.intercept)
    for mean, coefficients in zip(data.priors.factor_means, position.coefficients, strict=True):
        yield Normal(jnp.asarray(0.0), mean.scale).log_prob(coefficients).sum()


def expectation(position: Position, data: ModelData) -> tuple[Array, tuple[Array, ...]]:
    """Intercept and coefficients, the first level's being zero."""
    del data
    indicators = tuple(jnp.concatenate([jnp.zeros(1), b]) for b in position.coefficients)
    return position.intercept, indicators


def quantities(position: Position, data: ModelData) -> dict[str, Any]:
    """Grand mean and centred effects of a position."""
    intercept, levels = expectation(position, data)
    return {
        "intercept": intercept + sum(b.mean() for b in levels),
        "{factor}_effect": tuple(b - b.mean() for b in levels),
    }


def center(data: ModelData) -> Position:
    """Give the estimate's position."""
    point = data.estimate
    first = [jnp.asarray(effects)[0] for effects in point.effects]
    return Position(
        intercept=point.intercept + sum(first),
        coefficients=tuple(
            effects[1:] - base for effects, base in zip(point.effects, first, strict=True)
        ),
    )


def scale(data: ModelData) -> Position:
    """Rough posterior SDs of the coordinates, each given the others."""
    return Position(
        intercept=jnp.sqrt(sum(sds[0] ** 2 for sds in data.conditional_sds)),
        coefficients=tuple(sds[1:] for sds in data.conditional_sds),
    )


TERMS = Terms("design_matrix", log_priors, expectation, center, scale, quantities)
