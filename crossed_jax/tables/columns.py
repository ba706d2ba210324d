"""One column of a table: the response as numbers, or a factor as levels and codes."""

from collections.abc import Callable

import numpy as np
import polars as pl

from crossed_jax.errors import InputError, escaped, shown
from crossed_jax.tables.crossed_data import LARGEST_RESPONSE, Factor

# NaN in any spelling is not listed: it parses as a number, and is then found missing.
_MISSING_TEXT = ("", "NA", "N/A", "null", "NULL")
_MISSING_LABELS = (*_MISSING_TEXT, "NaN", "nan", "NAN")

# When a file is read again, xarray makes all labels as wide as the longest.
_LONGEST_LABEL = 10_000


def read_response(frame: pl.LazyFrame, name: str, where: str) -> np.ndarray:
    """Read the response as float64, NaN where it is missing."""
    given = frame.select(name).collect(engine="streaming").to_series()
    if given.dtype == pl.String:
        numbers, wrong = parsed(given)
        if wrong.any():
            row = wrong.arg_true()[0]
            raise InputError(
                f"{where}: response {shown(name)} is {shown(given[row])} in row {row + 1:,}, "
                "which is not a number: correct it, or leave it empty if it is missing."
            )
    elif given.dtype.is_numeric() or given.dtype == pl.Null:
        numbers = given.cast(pl.Float64)
    else:
        raise InputError(
            f"{where}: response {shown(name)} has type {escaped(given.dtype)}, which is not "
            "numeric: choose a column of numbers."
        )
    values = numbers.fill_null(np.nan).to_numpy()
    check_sizes(values, f"{where}: response {shown(name)}", lambda row: f"row {row + 1:,}")
    return values


def parsed(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Parse text as numbers, null where they are missing; and tell where it is neither."""
    plain = text.str.strip_chars()
    numbers = plain.cast(pl.Float64, strict=False)
    return numbers, plain.is_not_null() & numbers.is_null() & ~plain.is_in(_MISSING_TEXT)


def check_sizes(values: np.ndarray, what: str, place: Callable[[int], str]) -> None:
    """Refuse numbers too large to compute with; NaN is none.

    Parameters
    ----------
    values
        One-dimensional.
    what, place
        What they are, and the place of one of them by its position, for the message.

    Raises
    ------
    InputError
        For the first that is too large.
    """
    lowest, highest = np.nanmin(values, initial=0.0), np.nanmax(values, initial=0.0)
    if max(-lowest, highest) <= LARGEST_RESPONSE:
        return
    first = int(np.argmax(np.abs(values) > LARGEST_RESPONSE))
    if np.isinf(values[first]):
        wrong_with, way_out = "is infinite", "correct it, or leave it empty if it is missing"
    else:
        wrong_with, way_out = f"is {values[first]:g}", "rescale it, as powers of it overflow"
    raise InputError(f"{what} {wrong_with} in {place(first)}: {way_out}.")


def is_missing(labels: pl.Series) -> pl.Series:
    """Tell which labels are none."""
    return labels.is_null() | labels.str.strip_chars().is_in(_MISSING_LABELS)


def read_factor(frame: pl.LazyFrame, name: str, where: str) -> Factor:
    """Read a factor: its levels in order, and the position of each row's level among them."""
    column = frame.select(name)
    dtype = column.collect_schema()[name]
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        raise InputError(
            f"{where}: factor {shown(name)} has type {escaped(dtype)}, which is not a label: "
            "convert the column to text."
        )
    label = pl.col(name)
    label = label.dt.to_string("polars") if dtype == pl.Duration else label.cast(pl.String)
    levels = column.select(label.unique(maintain_order=True)).collect(engine="streaming")[name]

    missing = levels.filter(is_missing(levels))
    if len(missing):
        is_none = label.is_null() | label.is_in(missing.drop_nulls().implode())
        row = column.select(is_none.arg_true().first()).collect().item()
        found = "" if missing[0] is None else f" ({shown(missing[0])})"
        raise InputError(
            f"{where}: factor {shown(name)} is missing{found} in row {row + 1:,}: "
            "fill it in, or remove the row."
        )
    unstorable = levels.filter(levels.str.contains("\0", literal=True))
    if len(unstorable):
        raise InputError(
            f"{where}: factor {shown(name)} has a level {shown(unstorable[0])} with a null "
            "character, which the results cannot store: remove it."
        )
    too_long = levels.filter(levels.str.len_chars() > _LONGEST_LABEL)
    if len(too_long):
        raise InputError(
            f"{where}: factor {shown(name)} has a level {shown(too_long[0])} of "
            f"{len(too_long[0]):,} characters: shorten it, or look for a quote that is not closed."
        )
    if isinstance(dtype, pl.Enum):
        levels = dtype.categories.filter(dtype.categories.is_in(levels.implode()))

    # An Enum numbers its categories as they are given; a Categorical shares numbers with others.
    codes = column.select(label.cast(pl.Enum(levels)).to_physical().cast(pl.Int32))
    return Factor(name, tuple(levels.to_list()), codes.collect(engine="streaming")[name].to_numpy())
