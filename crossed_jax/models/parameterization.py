r"""What every form of the model is given, and what it must answer.

A factor `k` may be centred (:math:`z = u`) or not (:math:`z = u / \sigma_k`). Both are one
expression, the partial centering of Papaspiliopoulos, Roberts and Sköld (2007, *Statistical
Science* 22:59) with weight :math:`w_k`, an argument of the compiled log-density:

.. math:: u = \sigma_k^{1 - w_k} z, \qquad z \sim \mathrm{Normal}(0, \sigma_k^{w_k}).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from crossed_jax.models.priors import Normal, Priors
from crossed_jax.models.sd_coordinate import anchor_positions
from crossed_jax.statistics.cells import Cells
from crossed_jax.statistics.cross_products import CrossProducts, cross_products
from crossed_jax.statistics.point_estimate import Estimate
from crossed_jax.types import Array

# With less, log-density falls too little towards an SD of zero for the draws to stay out of the
# funnel that the centred parameterization has there.
CENTERING_EVIDENCE = 5.0


class ModelData(NamedTuple):
    """A table and priors, as the compiled functions take them: arrays only, no labels.

    Attributes
    ----------
    table
        The table's cross-products about the point estimate.
    priors
        The priors.
    estimate
        A point estimate of everything, from which chains start.
    effect_sds
        For each factor, the SDs of its effects given the estimate's SDs, shape (levels,): how
        widely chains start, and the first metric.
    anchors
        For the coordinates of the factors' SDs, shape (factors,); see `sd_coordinate`.
    centering
        For each factor, 1 for the centred and 0 for the non-centred parameterization,
        shape (factors,).
    """

    table: CrossProducts
    priors: Priors
    estimate: Estimate
    effect_sds: tuple[Array, ...]
    anchors: Array
    centering: Array

    @property
    def num_levels(self) -> tuple[int, ...]:
        return tuple(counts.shape[0] for counts in self.table.level_counts)


class Quantities(NamedTuple):
    """What a position stands for, whatever the form; None where a form does not have it.

    Attributes
    ----------
    sigma
        Residual SD.
    intercept
        The grand mean: the sum over factors of the mean of their levels' intercepts.
    effects
        For each factor, its levels' deviations, which sum to zero, shape (levels,).
    factor_sds
        SDs of the factors' levels, shape (factors,).
    factor_means
        The factors' population means, mu, shape (factors,).
    factor_intercepts
        For each factor, its levels' intercepts, alpha, shape (levels,).
    """

    sigma: Array
    intercept: Array | None = None
    effects: tuple[Array, ...] = ()
    factor_sds: Array | None = None
    factor_means: Array | None = None
    factor_intercepts: tuple[Array, ...] | None = None


class Parameterization[Position, Data](NamedTuple):
    """One form of the model. `Position` and `Data`, the data, are any pytrees of arrays.

    Attributes
    ----------
    name
        As in ``--parameterization``.
    log_density
        (position, data) -> log posterior density in the position's coordinates, up to a
        constant.
    start
        (key, data) -> a random position as wide about the estimate as the posterior may be.
    scale
        (data) -> a position that holds the rough posterior SD of each coordinate.
    quantities
        (position, data) -> the quantities with names.
    """

    name: str
    log_density: Callable[[Position, Data], Array]
    start: Callable[[jax.Array, Data], Position]
    scale: Callable[[Data], Position]
    quantities: Callable[[Position, Data], Quantities]


def model_data_of(
    cells: Cells,
    priors: Priors,
    point: Estimate,
    effect_sds: tuple[Array, ...],
    centering: tuple[bool | None, ...] | None = None,
) -> ModelData:
    """Gather what the forms need from a table.

    Parameters
    ----------
    cells
        The table.
    priors
        The priors.
    point, effect_sds
        An estimate, from which chains start, and the SDs of the effects about it.
    centering
        For each factor, whether to centre it; None (as a whole, or for a factor) to let the data
        choose.
    """
    table = cross_products(cells, point.intercept, point.effects)
    chosen = centering or (None,) * len(cells.num_levels)
    informed = (reliability(table, point) > 0.5) & (point.evidence >= CENTERING_EVIDENCE)
    weights = [
        float(centred if wanted is None else wanted)
        for wanted, centred in zip(chosen, informed, strict=True)
    ]
    anchors = anchor_positions(np.array(cells.num_levels), cells.counts.sum(), point)
    return ModelData(table, priors, point, effect_sds, anchors, np.asarray(weights))


def reliability(table: CrossProducts, point: Estimate) -> np.ndarray:
    """How much a typical level's data says against its prior, per factor, from 0 to 1.

    It is n / (n + sigma^2 / sd^2) for the factor's mean n rows per level: the weight that the
    level's own data has in its conditional mean. Above one half the centred parameterization has
    the milder posterior, below it the non-centred one (Papaspiliopoulos, Roberts and Sköld, 2007),
    unless the SD may be zero.
    """
    rows = np.array([np.mean(counts) for counts in table.level_counts])
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
