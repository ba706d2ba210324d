"""All tables of a fit together, which its files and its report are written from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crossed_jax.results.convergence import convergence
from crossed_jax.results.interactions import hits, interactions
from crossed_jax.results.summaries import effects, parameters
from crossed_jax.results.variance_components import variance_components
from crossed_jax.results.verdict import Diagnosis, diagnose

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr


class Tables(NamedTuple):
    """What is told of a fit.

    Attributes
    ----------
    diagnosis
        Both verdicts.
    effects, components, parameters
        As :func:`~crossed_jax.results.summaries.effects` and its like tabulate them.
    cells, hits
        All interactions and those that may be called; None where the model has none.
    """

    diagnosis: Diagnosis
    effects: pl.DataFrame
    components: pl.DataFrame
    parameters: pl.DataFrame
    cells: pl.DataFrame | None
    hits: pl.DataFrame | None


def tables_of(tree: xr.DataTree) -> Tables:
    """Make all tables of a fit, its convergence computed once."""
    statistics = convergence(tree)
    cells = interactions(tree) if "interactions" in tree.children else None
    return Tables(
        diagnose(tree, statistics),
        effects(tree, statistics=statistics),
        variance_components(tree),
        parameters(tree, statistics=statistics),
        cells,
        None if cells is None else hits(cells),
    )
