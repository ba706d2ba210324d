"""Data frames of any library that narwhals knows."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import polars as pl

from crossed_jax.errors import InputError, escaped, shown
from crossed_jax.tables.checks import check_columns, reading


def read_frame(
    table: Any, names: Sequence[str], where: str, response: str | None = None
) -> tuple[pl.LazyFrame, list[str]]:
    """Read the needed columns of a data frame, labels but for a response; and the names of all."""
    with reading(where, "a table"):
        frame, columns = _opened(table, where)
        known = columns
        check_columns(columns, names, where, lambda: _share_of_numbers(frame))
        if isinstance(frame, nw.LazyFrame):
            frame, known = frame.select(*names).collect(backend="polars"), list(names)
        needed = {
            name: _to_polars(
                frame[:, known.index(name)].alias(name), where, is_label=name != response
            )
            for name in names
        }
        return pl.DataFrame(needed).lazy(), columns


def read_whole_frame(table: Any, where: str) -> tuple[list[str], list[pl.Series]]:
    """Read all columns of a data frame, the first of labels, with their names as text.

    The index of a pandas frame is the first column unless it only counts the rows.
    """
    with reading(where, "a table"):
        frame, names = _opened(table, where)
        if isinstance(frame, nw.LazyFrame):
            frame = frame.collect(backend="polars")
        columns = [each.alias(name) for each, name in zip(frame.iter_columns(), names, strict=True)]
        index = nw.maybe_get_index(frame)
        if index is not None and not _counts_rows(index):
            labels = nw.from_native(index.to_series(), series_only=True)
            names = ["" if index.name is None else str(index.name), *names]
            columns = [labels.alias(names[0]), *columns]
        if columns[0].dtype.is_float():
            raise InputError(
                f"{where}: the first column holds numbers with decimals, where the rows' labels "
                "are expected: put these first, or make them the index."
            )
        return names, [_to_polars(each, where, is_label=k == 0) for k, each in enumerate(columns)]


def _counts_rows(index: Any) -> bool:
    """Whether the index of a pandas frame is the one that it has by itself."""
    return type(index).__name__ == "RangeIndex" and index.name is None


def _opened(table: Any, where: str) -> tuple[Any, list[str]]:
    """Give a data frame to narwhals, and the names of its columns as text."""
    try:
        frame = nw.from_native(table)
        return frame, list(map(str, frame.collect_schema().names()))
    except nw.exceptions.DuplicateError:
        names = map(str, getattr(table, "column_names", getattr(table, "columns", ())))
        repeated = [shown(name) for name, number in Counter(names).items() if number > 1]
        raise InputError(
            f"{where} has columns that share a name, {', '.join(repeated[:1])}: rename all but one "
            "of them."
        ) from None
    except TypeError:
        raise InputError(
            f"cannot read a table from an object of type {type(table).__name__}: "
            "give a path, or a pandas, polars or pyarrow data frame."
        ) from None


def _share_of_numbers(frame: Any) -> float:
    kinds = frame.collect_schema().dtypes()[1:]
    return sum(kind.is_numeric() for kind in kinds) / max(len(kinds), 1)


def _to_polars(column: nw.Series[Any], where: str, *, is_label: bool) -> pl.Series:
    """Convert a column, keeping the order of its categories as a polars Enum."""
    if column.implementation.is_polars():
        return column.to_native()
    named = f"{where}: column {shown(column.name)}"
    try:
        if is_label and column.implementation.is_pandas():
            column = _spelled_out(column)
        converted = _converted(column)
    except NotImplementedError:
        kind = getattr(column.to_native(), "dtype", column.dtype)
        raise InputError(
            f"{named} has type {escaped(kind)}, which cannot be read: convert it to numbers or to "
            "text."
        ) from None
    except OverflowError:
        raise InputError(
            f"{named} has a number that is out of range: rescale it, or convert it to text."
        ) from None
    except (TypeError, ValueError, pl.exceptions.PolarsError):
        raise InputError(
            f"{named} mixes values of several kinds: convert it to numbers or to text."
        ) from None
    if isinstance(column.dtype, nw.Categorical | nw.Enum):
        categories = pl.Series(column.cat.get_categories().to_list()).cast(pl.String)
        converted = converted.cast(pl.String).cast(pl.Enum(categories))
    return converted


def _converted(column: nw.Series[Any]) -> pl.Series:
    try:
        return column.to_polars()
    except (ImportError, OverflowError):  # pandas text without pyarrow; integers of any size
        values = zip(column.to_list(), column.is_null().to_list(), strict=True)
        plain = [None if missing else value for value, missing in values]
        converted = pl.Series(column.name, plain, strict=False)
        if converted.null_count() > plain.count(None):
            raise OverflowError from None
        return converted


def _spelled_out(column: nw.Series[Any]) -> nw.Series[Any]:
    """Turn labels of the kinds that pandas alone has into text, and leave others as they are."""
    native = column.to_native()
    categorical = isinstance(column.dtype, nw.Categorical | nw.Enum)
    kind = native.cat.categories.dtype if categorical else native.dtype
    if not str(kind).startswith(("interval", "period", "timedelta")):
        return column
    if categorical:
        native = native.cat.rename_categories(str)
    else:
        native = native.map(str, na_action="ignore")
    return nw.from_native(native, series_only=True)
