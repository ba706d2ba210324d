r"""Log-densities of rows or cells given each draw, ArviZ's group for leave-one-out.

Of additive models a row is independent of the others given a draw, and a cell has the sum of its
rows. Of the screen model interactions are integrated out, see
:mod:`crossed_jax.models.screen.left_out`. They are computed for whole cells at a time, and for all
draws: as many numbers as a block may have, so that a table of any size can be gone through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
import xarray as xr

from crossed_jax.errors import InputError, told
from crossed_jax.models.model import Parts, parts_of
from crossed_jax.models.noise import noise_of
from crossed_jax.models.screen.left_out import log_densities
from crossed_jax.results.fitted_table import require_fitted_table
from crossed_jax.results.screen_predictions import cells_of_rows, codes_of, draws_by_name
from crossed_jax.results.tree import require_effect_draws, require_fit, with_groups
from crossed_jax.sampling.memory import most_draws_in_memory
from crossed_jax.statistics.cells import cells_of, whole_cells
from crossed_jax.tables.names import of_factor
from crossed_jax.types import LeftOut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crossed_jax.tables.crossed_data import CrossedData

NUMBERS_IN_BLOCK = 2**24


def log_likelihood(tree: xr.DataTree, data: CrossedData, *, by: LeftOut = "row") -> xr.DataTree:
    """Add the log-density of each row or cell given each draw, for ``az.loo`` and its kind.

    Parameters
    ----------
    tree
        A fit that has kept draws of the effects.
    data
        The table that was fitted.
    by
        What leave-one-out is to leave out. `row`: one measurement, predicted with all others, those
        of its cell included. `cell`: all rows that share a level of every factor, which asks how
        well a combination is predicted that was never measured.

    Returns
    -------
    xarray.DataTree
        A copy of `tree` with the group ``log_likelihood``: the response, dimensions (chain, draw,
        row), or (chain, draw, cell) with the levels of each cell as coordinates. Interactions of
        the screen model are integrated out; a row's density is then that given the others of its
        cell, and ``az.loo_pit`` is right for models without interactions alone, as draws of
        ``posterior_predictive`` have seen the row.

    Raises
    ------
    InputError
        If the table is not the one fitted, the fit has no draws of effects, or the numbers would
        not fit into memory: `compare` takes them in blocks.
    """
    require_left_out(tree, data, by, "log_likelihood")
    cells = cells_of(data)
    number = data.num_rows if by == "row" else len(cells.counts)
    shape = (tree["posterior"].sizes["chain"], tree["posterior"].sizes["draw"])
    most = most_draws_in_memory(number)
    if most is not None and most < shape[0] * shape[1]:
        raise InputError(
            f"log-densities of {number:,} {by}s given {shape[0] * shape[1]:,} draws do not fit "
            "into memory: ask compare, which takes them in blocks."
        )
    found = np.empty((*shape, number))
    for places, values in in_blocks(tree, data, by):
        found[..., places] = values
    group = xr.Dataset(
        {data.response_name: (("chain", "draw", by), found)},
        coords={name: tree["posterior"].coords[name] for name in ("chain", "draw")},
    )
    if by == "cell":
        levels = zip(data.factors, cells.codes.T, strict=True)
        group = group.assign_coords(
            {factor.name: (by, factor.labels[codes]) for factor, codes in levels}
        )
    return with_groups(tree, log_likelihood=group)


def require_left_out(tree: xr.DataTree, data: CrossedData, by: str, taker: str) -> None:
    """Refuse what is neither a fit nor its table, and what cannot be left out."""
    require_fit(tree, taker)
    if by not in get_args(LeftOut):
        raise InputError(f"by is {told(by)}: choose {' or '.join(map(repr, get_args(LeftOut)))}.")
    if by == data.response_name:
        raise InputError(
            f"{taker}: the response is called {by!r}, as what is left out: rename the column and "
            "fit again."
        )
    require_effect_draws(tree)
    require_fitted_table(tree, data, taker)


def in_blocks(
    tree: xr.DataTree, data: CrossedData, by: LeftOut
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Go through the log-densities of a fitted table, whole cells at a time.

    Gives the positions of some rows or cells, the latter in order of their codes, and their
    log-densities, shape (chains, draws, positions).
    """
    posterior = tree["posterior"].to_dataset()
    parts = parts_of(tree.attrs, data.factor_names)
    drawn = {
        str(name): values.transpose("chain", "draw", ...).to_numpy()
        for name, values in posterior.items()
    }
    done = 0
    for rows, first in whole_cells(data, NUMBERS_IN_BLOCK // drawn["sigma"].size):
        if parts is None:
            values = _of_additive(tree, drawn, data, rows)
            if by == "cell":
                values = np.add.reduceat(values, first, axis=-1)
        else:
            values = _of_screen(drawn, data, rows, parts, by)
        yield rows if by == "row" else done + np.arange(len(first)), values
        done += len(first)


def _of_additive(
    tree: xr.DataTree, drawn: Mapping[str, np.ndarray], data: CrossedData, rows: np.ndarray
) -> np.ndarray:
    """Of some rows, shape (chains, draws, rows)."""
    noise = noise_of(tree.attrs)
    residuals = data.response[rows] - drawn["intercept"][..., None]
    for factor in data.factors:
        residuals -= drawn[of_factor(factor.name, "effect")][..., factor.codes[rows]]
    return noise.log_density(residuals, {name: drawn[name][..., None] for name in noise.names})


def _of_screen(
    drawn: Mapping[str, np.ndarray],
    data: CrossedData,
    rows: np.ndarray,
    parts: Parts,
    by: LeftOut,
) -> np.ndarray:
    """Of some rows that are whole cells, or of these."""
    cells = cells_of_rows(codes_of(data, parts, rows), parts, None, data.factor_names)
    shape = drawn["sigma"].shape
    found = np.stack(
        [
            log_densities(one, cells, data.response[rows], by)
            for one in draws_by_name(drawn, parts, data.factor_names)
        ]
    ).reshape(*shape, -1)
    if by == "row":
        return found
    in_order = np.lexsort(parts.by_factor(cells.gene, cells.line)[::-1])
    return found[..., in_order]
