r"""What a model is put together from: terms say what is expected, noise how a response strays.

A part owns its coordinates: their log prior, where chains start and how widely, and the quantities
with names that they stand for. Parts know nothing of each other. With coordinates :math:`\theta` of
the terms and :math:`\phi` of the noise, a model's log posterior density is, but for a constant,

.. math::
    \log p(\theta) + \log p(\phi) + \sum_i \log p\big(y_i \mid \mu_i(\theta), \phi\big),

where the likelihood reads of the table what its noise needs, its *statistics*: cross-products for
Gaussian noise, rows for Student-t.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, reduce
from itertools import chain
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from crossed_jax.models.centering import centering_weights
from crossed_jax.models.parameterization import ModelData, Parameterization, scatter
from crossed_jax.models.sd_coordinate import anchor_positions
from crossed_jax.types import Array, ParameterizationName

if TYPE_CHECKING:
    from crossed_jax.models.priors import Priors
    from crossed_jax.statistics.cells import Cells
    from crossed_jax.statistics.point_estimate import Estimate
    from crossed_jax.tables.crossed_data import CrossedData


class Quantity(NamedTuple):
    """A number with a name that a part draws.

    Attributes
    ----------
    name
        In the results.
    title
        In figures.
    in_unit
        Whether it is an SD or scale in the response's unit.
    prior
        By default; None for what :class:`~crossed_jax.models.priors.Priors` has a field for.
    """

    name: str
    title: str
    in_unit: bool
    prior: Any = None


class Terms[Position](NamedTuple):
    """An intercept and effects in one of their parameterizations.

    Attributes
    ----------
    name
        Of the parameterization.
    log_priors
        (position, data) -> log prior densities of the coordinates, each given those before it,
        Jacobians included: their sum counts.
    expectation
        (position, data) -> the intercept and each factor's effects; the expectation of a row is
        the sum of those of its levels.
    center, scale
        (data) -> a position at the estimate, and the rough posterior SD of each coordinate.
    quantities
        (position, data) -> the quantities with names, as in `Parameterization`.
    """

    name: str
    log_priors: Callable[[Position, ModelData], Iterator[Array]]
    expectation: Callable[[Position, ModelData], tuple[Array, tuple[Array, ...]]]
    center: Callable[[ModelData], Position]
    scale: Callable[[ModelData], Position]
    quantities: Callable[[Position, ModelData], dict[str, Any]]


class Noise[Position](NamedTuple):
    """How the responses are distributed about their expectation.

    Attributes
    ----------
    name
        As in ``noise=``.
    parameterizations
        Those that it can be had with, the one that `auto` takes first.
    quantities
        What it draws.
    statistics
        (table, cells, estimate) -> what its likelihood needs of a table: any pytree of arrays with
        an attribute `num_rows`.
    estimate
        (table, cells, priors, rough estimate) -> an estimate of everything, and the SDs of each
        factor's effects given its SDs.
    log_priors
        As of the terms.
    log_likelihood
        (position, data, intercept, effects) -> log-density of all responses.
    center, scale
        As of the terms.
    values
        (position) -> the quantities by name.
    variance
        (quantities by name) -> the variance of a response about its expectation.
    simulate
        (generator, quantities by name, shape) -> noise; the quantities broadcast against the shape.
    log_density
        (residuals, quantities by name) -> log-density of each row, by what it is above its
        expectation; the quantities broadcast against the residuals.
    """

    name: str
    parameterizations: tuple[ParameterizationName, ...]
    quantities: tuple[Quantity, ...]
    statistics: Callable[["CrossedData", "Cells", "Estimate"], Any]
    estimate: Callable[
        ["CrossedData", "Cells", "Priors", "Estimate"], tuple["Estimate", tuple[np.ndarray, ...]]
    ]
    log_priors: Callable[[Position, ModelData], Iterator[Array]]
    log_likelihood: Callable[[Position, ModelData, Array, tuple[Array, ...]], Array]
    center: Callable[[ModelData], Position]
    scale: Callable[[ModelData], Position]
    values: Callable[[Position], dict[str, Array]]
    variance: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    simulate: Callable[[np.random.Generator, Mapping[str, np.ndarray], tuple[int, ...]], np.ndarray]
    log_density: Callable[[np.ndarray, Mapping[str, np.ndarray]], np.ndarray]

    @property
    def names(self) -> list[str]:
        """Of its quantities."""
        return [quantity.name for quantity in self.quantities]

    @property
    def priors(self) -> dict[str, Any]:
        """Its own priors by name."""
        return {q.name: q.prior for q in self.quantities if q.prior is not None}


class Position(NamedTuple):
    """Coordinates of a model, by the part that owns them."""

    terms: Any
    noise: Any


def model_data_of(
    table: "CrossedData",
    cells: "Cells",
    priors: "Priors",
    rough: "Estimate",
    noise: Noise,
    centering: Sequence[bool | None],
) -> ModelData:
    """Gather what a model's log-density is given.

    Parameters
    ----------
    table, cells
        The table, and its cells.
    priors
        The priors.
    rough
        A first estimate, which the noise improves.
    noise
        Says what else is needed of the table.
    centering
        For each factor whether to centre it, or None to let the data choose.
    """
    point, conditional_sds = noise.estimate(table, cells, priors, rough)
    return ModelData(
        statistics=noise.statistics(table, cells, point),
        priors=priors,
        estimate=point,
        conditional_sds=conditional_sds,
        anchors=anchor_positions(np.array(cells.num_levels), cells.counts.sum(), point),
        centering=centering_weights(centering, cells, point),
    )


@cache
def parameterization_of(terms: Terms, noise: Noise) -> Parameterization[Position, ModelData]:
    """Put a model together; the same parts give the same object, which is compiled once."""

    def log_density(position: Position, data: ModelData) -> Array:
        log_prior = reduce(
            add,
            chain(noise.log_priors(position.noise, data), terms.log_priors(position.terms, data)),
        )
        intercept, effects = terms.expectation(position.terms, data)
        return log_prior + noise.log_likelihood(position.noise, data, intercept, effects)

    def start(key: jax.Array, data: ModelData) -> Position:
        return scatter(key, Position(terms.center(data), noise.center(data)), scale(data))

    def scale(data: ModelData) -> Position:
        return Position(terms.scale(data), noise.scale(data))

    def quantities(position: Position, data: ModelData) -> dict[str, Any]:
        return terms.quantities(position.terms, data) | noise.values(position.noise)

    return Parameterization(terms.name, log_density, start, scale, quantities)
