"""What a log-density must answer to be sampled, and what those of the models are given."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from crossed_jax.models.priors import Priors
from crossed_jax.statistics.point_estimate import Estimate
from crossed_jax.types import Array

SHARDS = "shards"  # the axis of a mesh


class ModelData(NamedTuple):
    """A table and priors, as the compiled functions take them: arrays only, no labels.

    Attributes
    ----------
    statistics
        What the noise needs of the table.
    priors
        The priors.
    estimate
        A point estimate of everything, from which chains start.
    conditional_sds
        For each factor, the SDs of its effects given the estimate's SDs, shape (levels,): how
        widely chains start, and the first metric.
    anchors
        For the coordinates of the factors' SDs, shape (factors,); see `sd_coordinate`.
    centering
        For each factor, 1 for the centred and 0 for the non-centred parameterization,
        shape (factors,); see `centering`.
    """

    statistics: Any
    priors: Priors
    estimate: Estimate
    conditional_sds: tuple[Array, ...]
    anchors: Array
    centering: Array

    @property
    def num_levels(self) -> tuple[int, ...]:
        return tuple(effects.shape[0] for effects in self.estimate.effects)


class Parameterization[Position, Data](NamedTuple):
    """A log-density to sample. `Position` and `Data` are any pytrees of arrays.

    Attributes
    ----------
    name
        In the results.
    log_density
        (position, data) -> log posterior density in the position's coordinates, up to a
        constant.
    start
        (key, data) -> a random position as wide about the estimate as the posterior may be.
    scale
        (data) -> a position that holds the rough posterior SD of each coordinate.
    quantities
        (position, data) -> the quantities with names that a position stands for: arrays by name.
        In a model of factors a name with `{factor}` in it stands for a tuple, with what each factor
        has: a number, or an array of its levels. The collapsed form alone gives its `SDs`, from
        which what has names is drawn afterwards.
    shards
        (data) -> for each of its leaves whether devices may have a part of it each, cut along the
        first axis and filled up with zeros; :func:`sum_over_shards` then puts together what
        `log_density` makes of the parts. None if it needs all data.
    """

    name: str
    log_density: Callable[[Position, Data], Array]
    start: Callable[[jax.Array, Data], Position]
    scale: Callable[[Data], Position]
    quantities: Callable[[Position, Data], Any]
    shards: Callable[[Data], Any] | None = None


def sum_over_shards[Tree](parts: Tree) -> Tree:
    """Sum what devices have computed of their parts of the data; of all data it is the sum.

    It is not to be differentiated: give the derivatives of the parts, and sum those, too.
    """
    try:
        return jax.lax.psum(parts, SHARDS)
    except NameError:  # nothing is spread
        return parts


def log_sd_scales(num_levels: tuple[int, ...] | Array, num_rows: Array) -> tuple[Array, Array]:
    """Rough posterior SDs of the log SDs of factors and residual, (2 degrees of freedom)^-1/2."""
    levels = jnp.asarray(num_levels)
    freedom = jnp.maximum(num_rows - levels.sum(), 1.0)
    return jnp.sqrt(0.5 / (levels - 1.0)), jnp.sqrt(0.5 / freedom)


def scatter[Position](key: Array, center: Position, scale: Position) -> Position:
    """Draw a position about a centre, each coordinate Normal with its scale."""
    flat, unravel = ravel_pytree(center)
    return unravel(flat + ravel_pytree(scale)[0] * jax.random.normal(key, flat.shape, flat.dtype))
