r"""Gaussian noise: :math:`y_i \sim \mathrm{Normal}(\mu_i, \sigma)`, independent given the effects.

The likelihood reads of the table its cross-products alone
(:mod:`crossed_jax.statistics.cross_products`), and a rough estimate is improved to the exact
conditional means and SDs of the effects.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from crossed_jax.models.collapsed.collapse import effects_at
from crossed_jax.models.distributions import log_density_of_log
from crossed_jax.models.parameterization import ModelData, log_sd_scales
from crossed_jax.models.parts import Noise, Quantity
from crossed_jax.models.priors import Priors
from crossed_jax.statistics.cells import Cells
from crossed_jax.statistics.cross_products import (
    CrossProducts,
    cross_products,
    gaussian_log_likelihood,
)
from crossed_jax.statistics.point_estimate import Estimate
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.types import Array


class Position(NamedTuple):
    """The unconstrained coordinate."""

    log_sigma: Array


def statistics(table: CrossedData, cells: Cells, point: Estimate) -> CrossProducts:
    """Cross-products about the estimate."""
    del table
    return cross_products(cells, point.intercept, point.effects)


def estimate(
    table: CrossedData, cells: Cells, priors: Priors, rough: Estimate
) -> tuple[Estimate, tuple[np.ndarray, ...]]:
    """Give the effects' exact conditional means and SDs at the rough estimate's SDs."""
    del table
    return effects_at(cells, priors, rough)


def log_priors(position: Position, data: ModelData) -> Iterator[Array]:
    """Log-density of the logarithm of sigma."""
    yield log_density_of_log(data.priors.sigma, position.log_sigma)


def log_likelihood(
    position: Position, data: ModelData, intercept: Array, effects: tuple[Array, ...]
) -> Array:
    """Log-density of all responses."""
    return gaussian_log_likelihood(data.statistics, intercept, effects, jnp.exp(position.log_sigma))


def center(data: ModelData) -> Position:
    """Give the estimate's position."""
    return Position(jnp.log(data.estimate.sigma))


def scale(data: ModelData) -> Position:
    """Rough posterior SD of the coordinate."""
    return Position(log_sd_scales(data.num_levels, data.statistics.num_rows)[1])


def values(position: Position) -> dict[str, Array]:
    """Sigma by name."""
    return {"sigma": jnp.exp(position.log_sigma)}


def variance(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Variance of a response about its expectation."""
    return values["sigma"] ** 2


def simulate(
    generator: np.random.Generator, values: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> np.ndarray:
    """Draw noise."""
    noise = generator.standard_normal(shape)
    noise *= values["sigma"]
    return noise


def log_density(residuals: np.ndarray, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Log-density of each row."""
    sigma = values["sigma"]
    return -0.5 * (residuals / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2.0 * np.pi)


NOISE = Noise(
    name="normal",
    parameterizations=("collapsed", "sum_to_zero", "design_matrix", "original"),
    quantities=(Quantity("sigma", "residual SD", in_unit=True),),
    statistics=statistics,
    estimate=estimate,
    log_priors=log_priors,
    log_likelihood=log_likelihood,
    center=center,
    scale=scale,
    values=values,
    variance=variance,
    simulate=simulate,
    log_density=log_density,
)
