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
import numpyro.distributions as dist

from crossed_jax.cells import Cells
from crossed_jax.cross_products import CrossProducts, cross_products
from crossed_jax.moments import Estimate, estimate
from crossed_jax.priors import Priors


class Problem(NamedTuple):
    """A table and priors, as the compiled functions take them: arrays only, no labels.

    Attributes
    ----------
    table
        The table's cross-products about the point estimate.
    priors
        The priors.
    estimate
        A point estimate of everything, from which chains start.
    centering
        For each factor, 1 for the centred and 0 for the non-centred parameterization,
        shape (factors,).
    """

    table: CrossProducts
    priors: Priors
    estimate: Estimate
    centering: jax.Array

    @property
    def num_levels(self) -> tuple[int, ...]:
        return tuple(counts.shape[0] for counts in self.table.level_counts)


class Quantities(NamedTuple):
    """What a position stands for, whatever the form; None where a form does not have it.

    Attributes
    ----------
    intercept
        The grand mean: the sum over factors of the mean of their levels' intercepts.
    effects
        For each factor, its levels' deviations, which sum to zero, shape (levels,).
    sigma
        Residual SD.
    factor_sds
        SDs of the factors' levels, shape (factors,).
    factor_means
        The factors' population means, mu, shape (factors,).
    factor_intercepts
        For each factor, its levels' intercepts, alpha, shape (levels,).
    """

    intercept: jax.Array
    effects: tuple[jax.Array, ...]
    sigma: jax.Array
    factor_sds: jax.Array | None = None
    factor_means: jax.Array | None = None
    factor_intercepts: tuple[jax.Array, ...] | None = None


class Form[Position](NamedTuple):
    """One form of the model. `Position` is any pytree of arrays.

    Attributes
    ----------
    name
        As in ``--parameterization``.
    log_density
        (position, problem) -> log posterior density in the position's coordinates, up to a
        constant.
    start
        (key, problem) -> a random position as wide about the estimate as the posterior may be.
    scale
        (problem) -> a position that holds the rough posterior SD of each coordinate.
    quantities
        (position, problem) -> the quantities with names.
    """

    name: str
    log_density: Callable[[Position, Problem], jax.Array]
    start: Callable[[jax.Array, Problem], Position]
    scale: Callable[[Problem], Position]
    quantities: Callable[[Position, Problem], Quantities]


def problem_of(
    cells: Cells, priors: Priors, centering: tuple[bool | None, ...] | None = None
) -> Problem:
    """Gather what the forms need from a table.

    Parameters
    ----------
    cells
        The table.
    priors
        The priors.
    centering
        For each factor, whether to centre it; None (as a whole, or for a factor) to let the data
        choose.
    """
    point = estimate(cells)
    table = cross_products(cells, point.intercept, point.effects)
    chosen = centering or (None,) * len(cells.num_levels)
    weights = [
        float(informed if wanted is None else wanted)
        for wanted, informed in zip(chosen, reliability(table, point) > 0.5, strict=True)
    ]
    return Problem(table, priors, point, np.asarray(weights))


def reliability(table: CrossProducts, point: Estimate) -> np.ndarray:
    """How much a typical level's data says against its prior, per factor, from 0 to 1.

    It is n / (n + sigma^2 / sd^2) for the factor's mean n rows per level: the weight that the
    level's own data has in its conditional mean. Above one half the centred parameterization has
    the milder posterior, below it the non-centred one (Papaspiliopoulos, Roberts and Sköld, 2007).
    """
    rows = np.array([np.mean(counts) for counts in table.level_counts])
    return rows / (rows + (point.sigma / point.factor_sds) ** 2)


def level_variances(problem: Problem) -> tuple[jax.Array, ...]:
    """Conditional variance of each level's effect at the estimate, given all else."""
    point = problem.estimate
    return tuple(
        1.0 / (counts / point.sigma**2 + 1.0 / sd**2)
        for counts, sd in zip(problem.table.level_counts, point.factor_sds, strict=True)
    )


def log_sd_scales(problem: Problem) -> tuple[jax.Array, jax.Array]:
    """Rough posterior SDs of the log SDs of factors and residual, (2 degrees of freedom)^-1/2."""
    num_levels = jnp.asarray(problem.num_levels)
    freedom = jnp.maximum(problem.table.count - num_levels.sum(), 1.0)
    return jnp.sqrt(0.5 / (num_levels - 1.0)), jnp.sqrt(0.5 / freedom)


def scatter[Position](key: jax.Array, center: Position, scale: Position) -> Position:
    """Draw a position about a centre, each coordinate Normal with its scale."""
    centers, treedef = jax.tree.flatten(center)
    keys = jax.random.split(key, len(centers))
    return treedef.unflatten(
        c + s * jax.random.normal(k, jnp.shape(c), jnp.result_type(float))
        for k, c, s in zip(keys, centers, jax.tree.leaves(scale), strict=True)
    )


def uncentered_factor(log_sd: jax.Array, weight: jax.Array) -> jax.Array:
    """The factor sd^(1 - weight) that takes a partially centred coordinate to an effect."""
    return jnp.exp((1.0 - weight) * log_sd)


def centered_prior(log_sd: jax.Array, weight: jax.Array) -> dist.Normal:
    """The prior Normal(0, sd^weight) of a partially centred coordinate."""
    return dist.Normal(0.0, jnp.exp(weight * log_sd))
