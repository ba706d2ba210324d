"""From any table to the three things a crossed model needs: a response, and a code per factor.

A crossed table has one row per measurement: a numeric response and, for each factor, the level the
row belongs to. `read_table` takes it from a CSV, TSV or Parquet file or from a data frame, looks at
the needed columns only, and replaces each label by its position among the factor's levels. Whatever
can be wrong with a table is found and told here, so that the rest of the package need not ask.

Rows without a response are left out and counted; a row without a level is an error, because
leaving it out would be a choice about the data that is not ours to make. Levels keep the order in
which they first appear, or the order of their categories where the column has one, and labels stay
as written: in text, `007` is not `7`.

Files are taken to be hostile: text is only ever split and parsed as numbers, and whatever of it is
repeated in a message is shortened and escaped, so a message is always a single line.
"""

import csv
import difflib
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl

from crossed_jax.errors import InputError, escaped, shown
from crossed_jax.tables.names import check_names
from crossed_jax.tables.remarks import remarks

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}

# NaN in any spelling is not listed: it parses as a number, and is then found missing.
_MISSING_TEXT = ("", "NA", "N/A", "null", "NULL")
_MISSING_LABELS = (*_MISSING_TEXT, "NaN", "nan", "NAN")

# What names a column: text, or what pandas may have in its place.
_NAMES = (str, int, np.integer, tuple)

# Beyond these the square of a sum of squares, over as many rows as there can be, is no float64.
LARGEST_RESPONSE = 1e70
_SMALLEST_SPREAD = 1e-70

# When a file is read again, xarray makes all labels as wide as the longest.
_LONGEST_LABEL = 10_000

_READ_ERRORS = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    nw.exceptions.NarwhalsError,
    csv.Error,
    TypeError,  # of polars, for a file name that is not UTF-8
    OSError,
)


@dataclass(frozen=True, eq=False)
class Factor:
    """A grouping of the rows.

    Attributes
    ----------
    name
        The column's name.
    levels
        The label of each level.
    codes
        int32, shape (rows,): the position in `levels` of each row's level.
    """

    name: str
    levels: tuple[str, ...]
    codes: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The levels as a coordinate; NumPy's own text would make all as wide as the longest."""
        return np.array(self.levels, dtype=object)


@dataclass(frozen=True, eq=False, repr=False)
class CrossedData:
    """A response and the factors it is crossed by, free of missing values.

    Attributes
    ----------
    response
        float64, shape (rows,), in the unit of the table.
    response_name
        The response's column.
    factors
        At least two, each with at least two levels and fewer levels than rows.
    num_missing
        Rows of the table that were left out because they have no response.
    notes
        What a reader of the results should know about the reading, in plain sentences.
    source
        The path as given, or None for a data frame.
    sha256
        SHA-256 of the file's bytes in hexadecimal, or None for a data frame.
    """

    response: np.ndarray
    response_name: str
    factors: tuple[Factor, ...]
    num_missing: int
    notes: tuple[str, ...]
    source: str | None = None
    sha256: str | None = None

    @property
    def num_rows(self) -> int:
        return len(self.response)

    @property
    def factor_names(self) -> tuple[str, ...]:
        return tuple(factor.name for factor in self.factors)

    def __repr__(self) -> str:
        factors = ", ".join(f"{factor.name} ({len(factor.levels):,})" for factor in self.factors)
        return f"CrossedData({self.num_rows:,} rows of {self.response_name} by {factors})"


def require_table(data: object, taker: str) -> None:
    """Refuse what is not a table that was read."""
    if isinstance(data, CrossedData):
        return
    inner = getattr(data, "data", None)
    way_out = (
        "give its attribute data"
        if isinstance(inner, CrossedData)
        else "give cj.read_table(..., response=..., factors=...)"
    )
    raise InputError(
        f"{taker} takes a table as read_table gives it, not a {type(data).__name__}: {way_out}."
    )


def read_table(table: Any, *, response: Any, factors: Sequence[Any]) -> CrossedData:
    """Read a response and its factors from a file or a data frame.

    Parameters
    ----------
    table
        Path of a .csv, .tsv or .tab file (plain, .gz or .zst) or a .parquet file, or a pandas,
        polars, pyarrow or other data frame that narwhals knows. Lazy frames are collected.
    response
        Name of a numeric column. In text, empty fields and NA, N/A, NaN and null are missing.
    factors
        Names of two or more columns of labels: text, numbers, booleans, dates, periods, intervals
        or categories. A name of a data frame's column that is not text, such as pandas' 0, 1, 2,
        is taken for the text it is written as.

    Returns
    -------
    CrossedData
        The rows that have a response, in the order of the table.

    Raises
    ------
    InputError
        For anything about the table or the names that the model cannot use.
    """
    response, factors = _names_of(response, factors)
    names = (response, *factors)
    source = sha256 = None
    if isinstance(table, str | Path):
        source = str(table)
        where = source if source.isprintable() else shown(source)
        frame = _read_file(Path(table), names, where)
        sha256 = _sha256(Path(table), where)
    else:
        where = "the data frame"
        frame = _read_frame(table, names, where)

    with _reading(where, "a table"):
        if frame.select(pl.len()).collect().item() == 0:
            raise InputError(f"{where} has column names but no rows: add the measurements.")
        values = _read_response(frame, response, where)
        read = [_read_factor(frame, name, where) for name in factors]

    missing = np.isnan(values)
    num_missing = int(np.count_nonzero(missing))
    notes: list[str] = []
    if num_missing == len(values):
        raise InputError(
            f"{where}: {shown(response)} is missing in every row: choose another response."
        )
    if num_missing:
        have, were = ("has", "was") if num_missing == 1 else ("have", "were")
        notes.append(
            f"{num_missing:,} of {len(values):,} rows ({_percent(num_missing / len(values))}) "
            f"{have} no {response} and {were} left out."
        )
        values = values[~missing]
        read = [_leave_out(factor, missing, response, notes) for factor in read]

    _check_identifiable(values, response, read, where)
    notes += remarks(read)
    return CrossedData(values, response, tuple(read), num_missing, tuple(notes), source, sha256)


def _names_of(response: Any, factors: Any) -> tuple[str, tuple[str, ...]]:
    """Give the names of columns as text, and refuse those that cannot be used."""
    ordered = isinstance(factors, Iterable) and not isinstance(factors, str | bytes | Set)
    factors = tuple(factors) if ordered else ()
    if not ordered or not all(isinstance(name, _NAMES) for name in (response, *factors)):
        raise InputError(
            "the response must be a column name and the factors a list of column names: "
            "give, for example, response='logfc', factors=('gene', 'cell_line')."
        )
    response, factors = str(response), tuple(map(str, factors))
    if len(factors) < 2:
        raise InputError(
            f"a crossed model needs at least two factors, got {len(factors)}: "
            "name two or more columns, such as gene and cell_line."
        )
    check_names(response, factors)
    return response, factors


def _read_file(path: Path, names: Sequence[str], where: str) -> pl.LazyFrame:
    """Open the needed columns of a file, by its suffix."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = suffixes[-1:] in ([".gz"], [".zst"])
    kind = "".join(suffixes[-2:-1] if compressed else suffixes[-1:])
    try:
        if not path.exists():
            raise InputError(f"{where} does not exist: check the path.")
        if not path.is_file():
            raise InputError(f"{where} is not a file: give the path of a table.")
        if path.stat().st_size == 0:
            raise InputError(f"{where} is empty: give a table with column names and rows.")
    except (OSError, UnicodeError) as error:
        raise InputError(f"{where} cannot be opened ({_reason(error)}): check the path.") from None
    if kind in DELIMITERS:
        return _read_delimited(path, DELIMITERS[kind], names, where)
    if kind == ".parquet" and not compressed:
        with _reading(where, "Parquet"):
            frame = pl.scan_parquet(path, glob=False, hive_partitioning=False)
            _check_columns(frame.collect_schema().names(), names, where)
            return frame.select(names)
    raise InputError(
        f"{where} is of no kind that can be read: give .csv or .tsv (plain, .gz or .zst), "
        "or .parquet, and rename the file if it is one of these."
    )


def _read_delimited(path: Path, delimiter: str, names: Sequence[str], where: str) -> pl.LazyFrame:
    """Read the needed columns of delimited text, every field as the text it is.

    A short line would be filled with missing values and a long one, such as one with decimal
    commas, would shift fields, so all lines are measured before any is read.
    """
    with _reading(where, "delimited text"):
        lines = pl.scan_lines(path, name="line", glob=False)
        first = lines.head(1).collect()
        header = _split_header("".join(first["line"]), delimiter, where)
        _check_columns(header, names, where)
        any_blank = _check_widths(lines, delimiter, len(header), where)
        frame = pl.read_csv(
            path,
            columns=[header.index(name) for name in names],
            separator=delimiter,
            infer_schema=False,
            glob=False,
        )
    frame.columns = list(names)
    if any_blank:
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    return frame.lazy()


def _split_header(line: str, delimiter: str, where: str) -> list[str]:
    line = line.removeprefix("\ufeff")
    if "\0" in line:
        raise InputError(f"{where} is not UTF-8 text: save it again as UTF-8.")
    if not line.strip():
        raise InputError(f"{where} starts with an empty line: put the column names there.")
    header = next(csv.reader([line], delimiter=delimiter))
    if len(header) == 1:
        wanted = "tabs" if delimiter == "\t" else "commas"
        raise InputError(
            f"{where} has a single column, {shown(header[0])}: "
            f"separate its fields by {wanted}, as its suffix says."
        )
    return header


def _check_widths(lines: pl.LazyFrame, delimiter: str, width: int, where: str) -> bool:
    """Refuse a line with too few or too many fields; tell whether there are blank lines.

    Delimiters within quotes do not count. Where a quoted field runs over several lines, lines are
    not rows and nothing is refused.
    """
    line = pl.col("line")
    unquoted = line.str.replace_all(r'"[^"]*"', "")
    fields = unquoted.str.count_matches(delimiter, literal=True) + 1
    found = (
        lines.select(
            blank=line == "",
            row=(line != "").cum_sum() - 1,
            fields=fields,
            ragged=(fields != width) & (line != ""),
            runs_on=unquoted.str.contains('"', literal=True),
        )
        .select(
            pl.col("blank", "runs_on").any(),
            pl.col("row", "fields").filter(pl.col("ragged")).first(),
        )
        .collect(engine="streaming")
        .row(0, named=True)
    )
    if found["row"] is not None and not found["runs_on"]:
        raise InputError(
            f"{where}: row {found['row']:,} does not match the header (fields: {found['fields']}, "
            f"not {width}): correct the row, and quote fields that contain the separator."
        )
    return bool(found["blank"])


def _read_frame(table: Any, names: Sequence[str], where: str) -> pl.LazyFrame:
    with _reading(where, "a table"):
        try:
            frame = nw.from_native(table)
            columns = frame.collect_schema().names()
        except nw.exceptions.DuplicateError:
            raise InputError(
                f"{where} has columns that share a name: rename all but one of them."
            ) from None
        except TypeError:
            raise InputError(
                f"cannot read a table from an object of type {type(table).__name__}: "
                "give a path, or a pandas, polars or pyarrow data frame."
            ) from None
        columns = list(map(str, columns))
        _check_columns(columns, names, where)
        if isinstance(frame, nw.LazyFrame):
            frame, columns = frame.select(*names).collect(backend="polars"), list(names)
        return pl.DataFrame(
            {
                name: _to_polars(
                    frame[:, columns.index(name)].alias(name), where, is_label=name != names[0]
                )
                for name in names
            }
        ).lazy()


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


def _check_columns(columns: Sequence[str], names: Sequence[str], where: str) -> None:
    counts = Counter(columns)
    for name in names:
        if counts[name] > 1:
            raise InputError(
                f"{where} has {counts[name]} columns called {shown(name)}: "
                "rename all but one of them."
            )
        if counts[name] == 0:
            by_folded = {column.casefold(): column for column in reversed(columns)}
            nearest = difflib.get_close_matches(name.casefold(), by_folded, n=1)
            if nearest:
                hint = f"did you mean {shown(by_folded[nearest[0]])}?"
            else:
                hint = f"choose from its columns, {_listed(columns, 10)}."
            raise InputError(f"{where} has no column {shown(name)}: {hint}")


def _read_response(frame: pl.LazyFrame, name: str, where: str) -> np.ndarray:
    """Read the response as float64, NaN where it is missing."""
    given = frame.select(name).collect(engine="streaming").to_series()
    if given.dtype == pl.String:
        text = given.str.strip_chars()
        numbers = text.cast(pl.Float64, strict=False)
        wrong = text.is_not_null() & numbers.is_null() & ~text.is_in(_MISSING_TEXT)
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
    lowest, highest = np.nanmin(values, initial=0.0), np.nanmax(values, initial=0.0)
    if max(-lowest, highest) > LARGEST_RESPONSE:
        row = int(np.argmax(np.abs(values) > LARGEST_RESPONSE))
        if np.isinf(values[row]):
            wrong_with, way_out = "is infinite", "correct it, or leave it empty if it is missing"
        else:
            wrong_with, way_out = f"is {values[row]:g}", "rescale it, as powers of it overflow"
        raise InputError(
            f"{where}: response {shown(name)} {wrong_with} in row {row + 1:,}: {way_out}."
        )
    return values


def _read_factor(frame: pl.LazyFrame, name: str, where: str) -> Factor:
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

    missing = levels.filter(levels.is_null() | levels.str.strip_chars().is_in(_MISSING_LABELS))
    if len(missing):
        is_missing = label.is_null() | label.is_in(missing.drop_nulls().implode())
        row = column.select(is_missing.arg_true().first()).collect().item()
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


def _leave_out(factor: Factor, missing: np.ndarray, response: str, notes: list[str]) -> Factor:
    """Leave out the rows that have no response, and the levels that have no row but those."""
    codes = factor.codes[~missing]
    seen = np.bincount(codes, minlength=len(factor.levels)) > 0
    if seen.all():
        return Factor(factor.name, factor.levels, codes)
    levels = np.array(factor.levels, dtype=object)
    lost = levels[~seen]
    noun, have, were = ("level", "has", "was") if len(lost) == 1 else ("levels", "have", "were")
    notes.append(
        f"{len(lost):,} {noun} of {factor.name} {have} no {response} at all "
        f"and {were} left out: {_listed(lost.tolist(), 5)}."
    )
    position = np.cumsum(seen, dtype=np.int32) - np.int32(1)
    return Factor(factor.name, tuple(levels[seen]), position[codes])


def _check_identifiable(
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


def _sha256(path: Path, where: str) -> str:
    with _reading(where, "a file"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _reading(where: str, kind: str) -> Iterator[None]:
    """Tell a failure of the libraries that read as an InputError."""
    try:
        yield
    except _READ_ERRORS as error:
        reason = _reason(error)
        if "invalid utf" in reason.lower():
            raise InputError(f"{where} is not UTF-8 text: save it again as UTF-8.") from None
        raise InputError(
            f"{where} cannot be read as {kind} ({reason}): check that it is whole and of the "
            "kind it claims to be, or make it again."
        ) from None


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return escaped(text.splitlines()[0], limit=100)


def _listed(values: Sequence[object], limit: int) -> str:
    more = [f"and {len(values) - limit:,} more"] if len(values) > limit else []
    return ", ".join([*map(shown, values[:limit]), *more])


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"
