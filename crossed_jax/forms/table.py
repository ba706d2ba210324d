"""What every form begins with and ends with: a table made ready, and what sampling gives."""

from typing import Any, NamedTuple

import numpy as np

from crossed_jax.models.distributions import inside_support
from crossed_jax.models.offset import subtract_offset
from crossed_jax.models.priors import Priors
from crossed_jax.sampling.chunks import Run
from crossed_jax.statistics.adequacy import adequacy, plain
from crossed_jax.statistics.cells import Cells, PairCounts, blocks, cells_of, pair_counts
from crossed_jax.statistics.design import describe_design, require_noise
from crossed_jax.statistics.least_squares import Decomposition, decompose
from crossed_jax.statistics.point_estimate import Estimate, estimate
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.tables.names import of_factor


class Table(NamedTuple):
    """A table made ready: measured from an offset, with its cells and priors.

    Attributes
    ----------
    data, offset
        The table, its response less the offset; and that.
    cells, pairs, decomposition
        Of it: its cells, counts of pairs of levels, and sums of squares.
    priors
        Measured from the offset, too.
    """

    data: CrossedData
    offset: float
    cells: Cells
    pairs: PairCounts
    decomposition: Decomposition
    priors: Priors


class Sampled(NamedTuple):
    """What sampling gives by name, and what there is to record about it."""

    run: Run
    draws: dict[str, Any]
    seconds: dict[str, float]
    attributes: dict[str, Any]
    moments: list[tuple[np.ndarray, np.ndarray]] | None = None
    quantiles: list[np.ndarray] | None = None
    interactions: dict[str, np.ndarray] | None = None
    seen: dict[str, np.ndarray] | None = None


def prepared(data: CrossedData, priors: Priors, offset: float) -> tuple[Table, tuple[str, ...]]:
    """Reduce a table to cells and sums of squares, and note what a reader should know."""
    measured, priors = subtract_offset(data, priors, offset)
    cells = cells_of(measured)
    unconnected = blocks(cells)
    pairs = pair_counts(cells)
    decomposition = decompose(cells, pairs, len(unconnected))
    require_noise(decomposition)
    notes = describe_design(unconnected, decomposition, data.factor_names)
    return Table(measured, offset, cells, pairs, decomposition, priors), notes


def adequacy_of(table: Table) -> dict[str, Any] | None:
    """Hold the table against the additive model, in plain values that fit into JSON."""
    found = adequacy(
        table.data,
        table.cells,
        table.decomposition.effects,
        table.decomposition.residual.freedom,
    )
    return None if found is None else plain(found)


def seen_by_units(table: Table) -> dict[str, np.ndarray]:
    """Count rows and average them by the levels of both factors, or what is nested in them."""
    data = table.data
    nested = {each.parent: each.units for each in data.units}
    first, second = (nested.get(k, factor) for k, factor in enumerate(data.factors))
    flat = first.codes.astype(np.int64) * len(second.levels) + second.codes
    _, row, place = np.unique(flat, return_index=True, return_inverse=True)
    number = np.bincount(place)
    mean = np.bincount(place, data.response) / number
    codes = {of_factor(each.name, "code"): each.codes[row] for each in data.factors_and_units}
    return codes | {"n": number, "raw_mean": mean + table.offset}


def estimated(table: Table) -> Estimate:
    """Estimate where chains of the additive model start.

    SDs are moved from where the priors say they cannot be, as chains start about them.
    """
    point, priors = estimate(table.cells, table.pairs, table.decomposition), table.priors
    sds = [inside_support(p, sd) for p, sd in zip(priors.factor_sds, point.factor_sds, strict=True)]
    sigma = inside_support(priors.sigma, float(point.sigma))
    return point._replace(factor_sds=np.array(sds), sigma=np.asarray(sigma))
