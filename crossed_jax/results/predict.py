"""Predictions for rows of any levels, also of combinations and levels that were never measured.

A row of levels that were fitted has their effects. Of a cell that has rows, the screen model knows
its interaction as well as these tell; of any other it has the interaction's population, as a level
that was not fitted has that of the levels (:mod:`crossed_jax.results.new_levels`). Rows of the same
new level share what is drawn for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import xarray as xr

from crossed_jax.arguments import seed_number
from crossed_jax.errors import InputError, shown
from crossed_jax.models.model import Parts, parts_of
from crossed_jax.models.noise import noise_of
from crossed_jax.results.new_levels import with_new_levels
from crossed_jax.results.posterior_predictive import additive_responses
from crossed_jax.results.screen_predictions import (
    RowCodes,
    cells_of_rows,
    require_parents,
    responses,
    seen_in,
    units_as_fitted,
)
from crossed_jax.results.summaries import moments_of_draws
from crossed_jax.results.tree import (
    factor_names,
    require_effect_draws,
    require_fit,
    thinned,
    with_groups,
)
from crossed_jax.sampling.memory import most_draws_in_memory
from crossed_jax.tables.checks import reading, reason
from crossed_jax.tables.columns import read_factor
from crossed_jax.tables.crossed_data import Factor
from crossed_jax.tables.frames import read_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

WHERE = "the table of rows"


def predict(
    tree: xr.DataTree,
    rows: Any,
    *,
    noise: bool = True,
    summary: bool = False,
    interval: float = 0.95,
    num_draws: int | None = None,
    seed: int = 0,
) -> xr.DataArray | pl.DataFrame:
    """Predict the response of rows of any levels, fitted or new, measured together or not.

    Parameters
    ----------
    tree
        A fit in any form, with draws of the effects.
    rows
        A data frame of any kind that `read_table` takes, or a mapping of columns such as
        ``{"gene": ["TP53", "MYC"], "cell_line": ["A549", "a new one"]}``: a column for each
        factor. What the fit has nested, and its samples, may have a column, too; without it rows of
        a level are of one unit or sample that was not fitted.
    noise
        Whether draws are of a measurement. Without noise they are of what measurements of the row
        have in common: its expectation, of the screen model with its interaction.
    summary
        Whether to give moments and not draws.
    interval
        Probability inside the equal-tailed interval of the summary.
    num_draws
        Posterior draws to use of each chain, evenly spaced; all by default.
    seed
        Of what is drawn.

    Returns
    -------
    xarray.DataArray or polars.DataFrame
        Draws, dimensions (chain, draw, row), with the levels as coordinates of the rows, and
        `fitted`, whether all levels of a row were; or one row for each of `rows`: its levels,
        fitted, mean, sd, lower and upper. In the response's unit.

    Raises
    ------
    InputError
        If the rows lack a column or have a level missing, have a guide or sample under another
        level than in the fit, or a new level where the form (`design_matrix`) has no population of
        levels; and if the draws would not fit into memory.
    """
    require_fit(tree, "predict")
    seed = seed_number(seed)
    require_effect_draws(tree)
    posterior = thinned(tree["posterior"].to_dataset(), num_draws)
    names = factor_names(tree)
    parts = parts_of(tree.attrs, names)
    asked = _numbered(_read(rows, names, parts), tree, posterior, names, parts)
    if parts is None and asked.fitted.all():  # effects may be in a file and larger than memory
        posterior, asked = _asked_alone(posterior, asked)
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    _check_memory(len(asked.codes[names[0]]), shape[0] * shape[1])
    _require_population(tree, asked, names)

    rng = np.random.default_rng(seed)
    number = {name: len(new) for name, new in asked.new.items()}
    drawn = with_new_levels(rng, with_groups(tree, posterior=posterior), names, parts, number)
    if parts is None:
        by_factor = {name: asked.codes[name] for name in names}
        found = additive_responses(rng, drawn, by_factor, noise_of(tree.attrs) if noise else None)
    else:
        gene, line = (asked.codes[names[k]] for k in (parts.genes, 1 - parts.genes))
        units = (
            None if name is None else asked.codes[name] for name in (parts.nested, parts.sample)
        )
        cells = cells_of_rows(RowCodes(gene, line, *units), parts, seen_in(tree, parts), names)
        found = responses(rng, drawn, cells, parts, names, noise)
    if summary:
        told = {"fitted": asked.fitted} | moments_of_draws(found, interval)
        if clash := asked.labels.keys() & told.keys():
            raise InputError(
                f"the summary has a column {min(clash)!r} of its own, as the fit has a factor: ask "
                "for draws, or rename the column and fit again."
            )
        return pl.DataFrame(asked.labels | told)
    return xr.DataArray(
        found,
        {name: posterior.coords[name] for name in ("chain", "draw")}
        | {"fitted": ("row", asked.fitted)}
        | {name: ("row", np.array(labels, object)) for name, labels in asked.labels.items()},
        ("chain", "draw", "row"),
        tree.attrs["response"],
    )


class _Rows(NamedTuple):
    """Rows by factor, and by what is nested in one.

    Attributes
    ----------
    labels
        As given.
    codes
        Positions among the fit's levels, those that are new after them.
    new
        Labels of these.
    fitted
        Whether all levels of a row were, shape (rows,).
    """

    labels: dict[str, list[str]]
    codes: dict[str, np.ndarray]
    new: dict[str, list[str]]
    fitted: np.ndarray


def _read(rows: Any, names: Sequence[str], parts: Parts | None) -> dict[str, Factor]:
    """Read the columns of the factors, and those of units and samples that there are."""
    if isinstance(rows, Mapping):
        with reading(WHERE, "columns"):
            try:
                rows = pl.DataFrame(dict(rows))
            except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
                raise InputError(
                    f"{WHERE} cannot be read as columns ({reason(error)}): give, for example, "
                    '{"gene": ["TP53"], "cell_line": ["A549"]}.'
                ) from None
    units = () if parts is None else tuple(filter(None, (parts.nested, parts.sample)))
    frame, columns = read_frame(rows, names, WHERE)
    wanted = [*names, *(name for name in units if name in columns)]
    if len(wanted) > len(names):
        frame, _ = read_frame(rows, wanted, WHERE)
    if frame.select(pl.len()).collect().item() == 0:
        raise InputError(f"{WHERE} has none: give at least one.")
    return {name: read_factor(frame, name, WHERE) for name in wanted}


def _numbered(
    read: Mapping[str, Factor],
    tree: xr.DataTree,
    posterior: xr.Dataset,
    names: Sequence[str],
    parts: Parts | None,
) -> _Rows:
    """Number the rows' levels as the fit has them, and new ones after these."""
    labels = {name: one.labels[one.codes].tolist() for name, one in read.items()}
    codes, new, factors = {}, {}, {}
    for name in names:
        fitted = posterior.indexes[name]
        place = fitted.get_indexer(list(read[name].levels))
        unknown = np.flatnonzero(place < 0)
        place[unknown] = len(fitted) + np.arange(len(unknown))
        new[name] = [read[name].levels[k] for k in unknown]
        codes[name] = place[read[name].codes]
        factors[name] = Factor(name, (*fitted, *new[name]), codes[name])
    if parts is not None:
        for unit, k in ((parts.nested, parts.genes), (parts.sample, 1 - parts.genes)):
            if unit is None:
                continue
            fitted, outer = list(posterior.indexes[unit]), factors[names[k]]
            if unit in read:
                codes[unit], new[unit] = units_as_fitted(read[unit], outer, fitted)
                require_parents(seen_in(tree, parts), outer, unit, codes[unit], fitted, WHERE)
            else:
                levels, place = np.unique(outer.codes, return_inverse=True)
                codes[unit], new[unit] = len(fitted) + place, [""] * len(levels)
    known = [codes[name] < posterior.sizes[name] for name in read]
    return _Rows(labels, codes, new, np.all(known, axis=0))


def _asked_alone(posterior: xr.Dataset, asked: _Rows) -> tuple[xr.Dataset, _Rows]:
    """Leave out the levels that no row has."""
    codes = {}
    for name, of_rows in asked.codes.items():
        wanted, codes[name] = np.unique(of_rows, return_inverse=True)
        posterior = posterior.isel({name: wanted})
    return posterior, asked._replace(codes=codes)


def _require_population(tree: xr.DataTree, asked: _Rows, names: Sequence[str]) -> None:
    if tree.attrs["parameterization"] != "design_matrix":
        return
    for name in names:
        if asked.new[name]:
            raise InputError(
                f"level {shown(asked.new[name][0])} of {name} was not fitted, and the "
                "design_matrix form has no population to draw it from: fit in another form."
            )


def _check_memory(num_rows: int, num_draws: int) -> None:
    most = most_draws_in_memory(num_rows)
    if most is not None and num_draws > most:
        raise InputError(
            f"{num_draws:,} draws of {num_rows:,} rows do not fit into memory: ask for fewer rows, "
            "or for fewer draws with num_draws=."
        )
