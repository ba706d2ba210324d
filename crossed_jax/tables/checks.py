"""What can be wrong with a table as a whole, and how a failure to read one is told."""

import csv
import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl

from crossed_jax.errors import InputError, escaped, listed, shown
from crossed_jax.tables.columns import is_missing
from crossed_jax.tables.crossed_data import Factor

# Below it the square of a sum of squares is no float64.
_SMALLEST_SPREAD = 1e-70

# What is taken for a matrix; cells may be missing in it.
_COLUMNS_OF_MATRIX = 10
_NUMBERS_IN_MATRIX = 0.8

OR_A_TABLE = "or if each row is a measurement, read it with cj.read_table."

_READ_ERRORS = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    nw.exceptions.NarwhalsError,
    csv.Error,
    TypeError,  # of polars, for a file name that is not UTF-8
    OSError,
)


def check_columns(
    columns: Sequence[str], names: Sequence[str], where: str, share_of_numbers: Callable[[], float]
) -> None:
    """Refuse a table that has not each of the columns once.

    Parameters
    ----------
    columns
        All that the table has.
    names
        Those that are needed.
    where
        The table, for a message.
    share_of_numbers
        Called to tell a matrix from a table whose columns have other names: the share of the cells
        that are numbers, first column apart.

    Raises
    ------
    InputError
        For the first that is missing or not alone.
    """
    counts = Counter(columns)
    for name in names:
        if counts[name] > 1:
            raise InputError(
                f"{where} has {counts[name]} columns called {shown(name)}: "
                "rename all but one of them."
            )
        if counts[name] == 0:
            strange = set(columns[1:]).isdisjoint(names) and len(columns) >= _COLUMNS_OF_MATRIX
            if strange and share_of_numbers() >= _NUMBERS_IN_MATRIX:
                raise InputError(
                    f"{where} has no column {shown(name)}, and looks like a matrix, which has the "
                    "levels of a factor as its columns: read it with cj.read_wide."
                )
            by_folded = {column.casefold(): column for column in reversed(columns)}
            nearest = difflib.get_close_matches(name.casefold(), by_folded, n=1)
            if nearest:
                hint = f"did you mean {shown(by_folded[nearest[0]])}?"
            else:
                hint = f"choose from its columns, {listed(columns, 10)}."
            raise InputError(f"{where} has no column {shown(name)}: {hint}")


def check_header(header: Sequence[str], names: Sequence[str], where: str) -> None:
    """Refuse a matrix whose columns are no levels: none, without label, or two of the same.

    Parameters
    ----------
    header
        The name of the labels' column, and the label of each other.
    names
        Of the response, the rows and the columns.
    where
        The table, for a message.

    Raises
    ------
    InputError
        For the first of these.
    """
    labels = header[1:]
    if set(names) <= set(header):
        raise InputError(
            f"{where} has columns called {listed(names, 3)}, so that each row is a measurement: "
            "read it with cj.read_table."
        )
    if len(labels) < 2:
        raise InputError(
            f"{where} is no matrix, with {len(labels) or 'no'} column{'' if labels else 's'} "
            f"beside the first: give one with a column for each of two or more levels; {OR_A_TABLE}"
        )
    missing = is_missing(pl.Series(labels, dtype=pl.String))
    if missing.any():
        first = missing.arg_true()[0]
        raise InputError(
            f"{where}: column {first + 2:,} has no label ({shown(labels[first])}): give it one, or "
            "remove it."
        )
    label, number = Counter(labels).most_common(1)[0]
    if number > 1:
        first = labels.index(label)
        second = labels.index(label, first + 1)
        raise InputError(
            f"{where}: columns {first + 2:,} and {second + 2:,} are both {shown(label)}: give each "
            "column a label of its own."
        )


def check_identifiable(
    values: np.ndarray, response: str, factors: Sequence[Factor], where: str
) -> None:
    """Refuse tables that say nothing about a variance the model is to estimate."""
    for factor in factors:
        if len(factor.levels) == 1:
            raise InputError(
                f"{where}: factor {shown(factor.name)} has a single level with a response, "
                f"{shown(factor.levels[0])}: leave it out, or add rows of other levels."
            )
        if len(factor.levels) == len(values):
            raise InputError(
                f"{where}: factor {shown(factor.name)} has as many levels as rows "
                f"({len(values):,}), so its effects cannot be told from noise: add replicates, "
                "or choose another factor."
            )
    spread = float(values.max() - values.min())
    if spread == 0:
        raise InputError(
            f"{where}: response {shown(response)} is {values[0]:g} in every row: "
            "choose a response that varies."
        )
    if spread < _SMALLEST_SPREAD:
        raise InputError(
            f"{where}: response {shown(response)} varies by only {spread:g}, powers of "
            "which underflow: rescale it."
        )


@contextmanager
def reading(where: str, kind: str) -> Iterator[None]:
    """Tell a failure of the libraries that read as an InputError."""
    try:
        yield
    except _READ_ERRORS as error:
        why = reason(error)
        if "invalid utf" in why.lower():
            raise InputError(f"{where} is not UTF-8 text: save it again as UTF-8.") from None
        raise InputError(
            f"{where} cannot be read as {kind} ({why}): check that it is whole and of the "
            "kind it claims to be, or make it again."
        ) from None


def reason(error: BaseException) -> str:
    """Say in a few words why a library could not read; some say it at length."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return escaped(text.splitlines()[0], limit=100)
