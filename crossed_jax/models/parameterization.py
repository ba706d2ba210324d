r"""What a log-density must answer to be sampled, and what the models' are given.

A factor `k` may be centred (:math:`z = u`) or not (:math:`z = u / \sigma_k`). Both are one
expression, the partial centering of Papaspiliopoulos, Roberts and Sköld (2007, *Statistical
Science* 22:59) with weight :math:`w_k`, an argument of the compiled log-density:

.. math:: u = \sigma_k^{1 - w_k} z, \qquad z \sim \mathrm{Normal}(0, \sigma_k^{w_k}).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from crossed_jax.models.priors import Normal, Priors
from crossed_jax.models.sd_coordinate import anchor_positions
from crossed_jax.statistics.cells import Cells
from crossed_jax.statistics.point_estimate import Estimate
from crossed_jax.types import Array

# With less, log-density falls too little towards an SD of zero for the draws to stay out of the
# funnel that the centred parameterization has there.
CENTERING_EVIDENCE = 5.0


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
        shape (factors,).
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


class Quantities(NamedTuple):
    sigma: Array
    intercept: Array | None = None
    effects: tuple[Array, ...] = ()
    factor_sds: Array | None = None


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
        A name with `{factor}` in it stands for a tuple, with what each factor has: a number, or an
        array of its levels.
    """

    name: str
    log_density: Callable[[Position, Data], Array]
    start: Callable[[jax.Array, Data], Position]
    scale: Callable[[Data], Position]
    quantities: Callable[[Position, Data], Mapping[str, Any]]


def model_data_of(
    cells: Cells,
    statistics: Any,
    priors: Priors,
    point: Estimate,
    conditional_sds: tuple[Array, ...],
    centering: tuple[bool | None, ...] | None = None,
) -> ModelData:
    """Gather what the log-densities of :mod:`crossed_jax.models.parts` need.

    Parameters
    ----------
    cells, statistics
        The table, and what the noise needs of it.
    priors
        The priors.
    point, conditional_sds
        An estimate, from which chains start, and the SDs of the effects about it.
    centering
        For each factor, whether to centre it; None (as a whole, or for a factor) to let the data
        choose.
    """
    chosen = centering or (None,) * len(cells.num_levels)
    informed = (reliability(cells, point) > 0.5) & (point.evidence >= CENTERING_EVIDENCE)
    weights = [
        float(centred if wanted is None else wanted)
        for wanted, centred in zip(chosen, informed, strict=True)
    ]
    anchors = anchor_positions(np.array(cells.num_levels), cells.counts.sum(), point)
    return ModelData(statistics, priors, point, conditional_sds, anchors, np.asarray(weights))


def reliability(cells: Cells, point: Estimate) -> np.ndarray:
    """How much a typical level's data says against its prior, per factor, from 0 to 1.

    It is n / (n + sigma^2 / sd^2) for the factor's mean n rows per level: the weight that the
    level's own data has in its conditional mean. Above one half the centred parameterization has
    the milder posterior, below it the non-centred one (Papaspiliopoulos, Roberts and Sköld, 2007),
    unless the SD may be zero.
    """
    rows = np.array([np.mean(cells.level_sums(k, cells.counts)) for k in range(len(point.effects))])
    return rows / (rows + (point.sigma / point.factor_sds) ** 2)


def log_sd_scales(num_levels: tuple[int, ...] | Array, num_rows: Array) -> tuple[Array, Array]:
    """Rough posterior SDs of the log SDs of factors and residual, (2 degrees of freedom)^-1/2."""
    levels = jnp.asarray(num_levels)
    freedom = jnp.maximum(num_rows - levels.sum(), 1.0)
    return jnp.sqrt(0.5 / (levels - 1.0)), jnp.sqrt(0.5 / freedom)


def scatter[Position](key: Array, center: Position, scale: Position) -> Position:
    """Draw a position about a centre, each coordinate Normal with its scale."""
    flat, unravel = ravel_pytree(center)
    return unravel(flat + ravel_pytree(scale)[0] * jax.random.normal(key, flat.shape, flat.dtype))


def uncentered_factor(log_sd: Array, weight: Array) -> Array:
    """The factor sd^(1 - weight) that takes a partially centred coordinate to an effect."""
    return jnp.exp((1.0 - weight) * log_sd)


def centered_prior(log_sd: Array, weight: Array) -> Normal:
    """The prior Normal(0, sd^weight) of a partially centred coordinate."""
    return Normal(jnp.asarray(0.0), jnp.exp(weight * log_sd))
