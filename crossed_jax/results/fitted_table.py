"""Whether a table is the one that a fit is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.models.model import parts_of
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.crossed_data import require_table
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr

    from crossed_jax.tables.crossed_data import CrossedData, Factor


def require_fitted_table(tree: xr.DataTree, data: CrossedData, taker: str) -> None:
    """Refuse a table of other levels, units or samples than a fit, or other rows of its levels.

    Of the rows, numbers and means by level are compared.

    Parameters
    ----------
    tree
        A fit.
    data
        The table.
    taker
        What was called, for the message.

    Raises
    ------
    InputError
        With what is different, and how to read the table.
    """
    require_table(data, taker)
    require_factors(tree, data)
    names = factor_names(tree)
    parts = parts_of(tree.attrs, names)
    units = {} if parts is None else {"nested": parts.nested, "sample": parts.sample}
    way = " and ".join(f"{argument}={name!r}" for argument, name in units.items() if name)
    way = f", read with {way}" if way else ""
    factors = {factor.name: factor for factor in data.factors_and_units}
    for name in (*names, *filter(None, units.values())):
        if name not in factors or not _has_levels_of(tree, factors[name]):
            raise InputError(
                f"{taker}: {name} has other levels in this table than in the fit, or the same in "
                f"another order: give the table that was fitted, its rows as they were{way}."
            )
    for factor in data.factors:
        if not _has_rows_of(tree, factor, data.response):
            raise InputError(
                f"{taker}: levels of {factor.name} have other rows in this table than in the fit: "
                f"give the table that was fitted{way}."
            )


def require_factors(tree: xr.DataTree, data: CrossedData) -> None:
    """Refuse a table of other factors than those fitted."""
    fitted = factor_names(tree)
    if sorted(data.factor_names) != sorted(fitted):
        raise InputError(
            f"the table has the factors {', '.join(data.factor_names)}, but the fit "
            f"{', '.join(fitted)}: read the table with those of the fit."
        )


def _has_levels_of(tree: xr.DataTree, factor: Factor) -> bool:
    for group in ("posterior", "constant_data"):  # a summary of effects leaves levels to the latter
        if factor.name in tree[group].coords:
            return tree[group].coords[factor.name].values.tolist() == list(factor.levels)
    return False


def _has_rows_of(tree: xr.DataTree, factor: Factor, response: np.ndarray) -> bool:
    """Whether the levels of a factor have as many rows as in a fit, and of the same mean."""
    fitted = tree["constant_data"].to_dataset()
    count = np.bincount(factor.codes, minlength=len(factor.levels))
    mean = np.bincount(factor.codes, response, len(factor.levels)) / count
    same_mean = np.abs(mean - fitted[of_factor(factor.name, "raw_mean")].values)
    rounding = 1e-9 * np.abs(response).max()
    return bool(
        np.array_equal(count, fitted[of_factor(factor.name, "n")].values)
        and (same_mean <= rounding).all()
    )
