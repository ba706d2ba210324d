"""From any table to the three things a crossed model needs: a response, and a code per factor.

`read_table` takes a CSV, TSV or Parquet file or a data frame, looks at the needed columns only, and
replaces each label by its position among the factor's levels. Whatever can be wrong with a table is
found and told here, so that the rest of the package need not ask.

Rows without a response are left out and counted; a row without a level is an error, because
leaving it out would be a choice about the data that is not ours to make. Levels keep the order in
which they first appear, or the order of their categories where the column has one, and labels stay
as written: in text, `007` is not `7`.

Files are taken to be hostile: text is only ever split and parsed as numbers, and whatever of it is
repeated in a message is shortened and escaped, so a message is always a single line.
"""

import hashlib
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crossed_jax.errors import InputError, escaped, listed, shown, told
from crossed_jax.tables.checks import check_columns, check_identifiable, reading, reason
from crossed_jax.tables.columns import read_factor, read_response
from crossed_jax.tables.crossed_data import CrossedData, Factor, Nested
from crossed_jax.tables.delimited import DELIMITERS, read_delimited
from crossed_jax.tables.frames import read_frame
from crossed_jax.tables.names import check_names
from crossed_jax.tables.nested import nested_in, parent_of
from crossed_jax.tables.remarks import hidden_guides, remarks

# What names a column: text, or what pandas may have in its place.
_NAMES = (str, int, np.integer, tuple)


def read_table(
    table: Any, *, response: Any, factors: Sequence[Any], nested: Any = None, sample: Any = None
) -> CrossedData:
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
    nested
        Name of a column of units within the levels of one factor, such as the guides of genes,
        which the screen model has effects for. Labels that start again with each level are told
        apart by it, and taken to be of the factor of the most levels.
    sample
        Name of a column of samples, the replicates of the levels of the other of two factors, such
        as cell lines: the screen model has an effect for each. Labels that start again, such as A
        and B in each line, are taken to be of the factor of fewer levels.

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
    inner = _names_of_units(factors, nested, sample)
    check_names(response, (*factors, *inner.values()))
    names = (response, *factors, *inner.values())
    source = sha256 = None
    if isinstance(table, str | Path):
        source = str(table)
        where = source if source.isprintable() else shown(source)
        frame, columns = _read_file(Path(table), names, where)
        sha256 = _sha256(Path(table), where)
    else:
        where = "the data frame"
        frame, columns = read_frame(table, names, where, response)

    with reading(where, "a table"):
        if frame.select(pl.len()).collect().item() == 0:
            raise InputError(f"{where} has column names but no rows: add the measurements.")
        values = read_response(frame, response, where)
        read = [read_factor(frame, name, where) for name in names[1:]]

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

    crossed = tuple(read[: len(factors)])
    check_identifiable(values, response, crossed, where)
    notes += remarks(crossed)
    units = _nested(crossed, dict(zip(inner, read[len(factors) :], strict=True)), where)
    return CrossedData(
        values,
        response,
        crossed,
        num_missing,
        tuple(notes),
        source,
        sha256,
        units.get("nested"),
        None if nested else hidden_guides([name for name in columns if name not in names]),
        units.get("sample"),
    )


def _nested(factors: tuple[Factor, ...], units: dict[str, Factor], where: str) -> dict[str, Nested]:
    """Nest what is to be nested, by argument: each in the factor that its labels tell.

    Where they tell none, units are in the factor of the most levels, and samples in the other; or
    each where the other is not.
    """
    most = max(range(len(factors)), key=lambda k: len(factors[k].levels))
    told_by_labels = {argument: parent_of(factors, each) for argument, each in units.items()}
    found = {}
    for argument, other, usual in (("nested", "sample", most), ("sample", "nested", 1 - most)):
        if argument in units:
            parent, elsewhere = told_by_labels[argument], told_by_labels.get(other)
            if parent is None:
                parent = usual if elsewhere is None else 1 - elsewhere
            found[argument] = nested_in(factors, parent, units[argument], where)
    if len(found) > 1 and found["nested"].parent == found["sample"].parent:
        inner, sample = (found[name].units.name for name in ("nested", "sample"))
        outer = factors[found["nested"].parent].name
        raise InputError(
            f"{where}: {escaped(inner)} and {escaped(sample)} are both nested in {escaped(outer)}, "
            "and samples are replicates of the other factor's levels: leave one of them out."
        )
    return found


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
    return response, factors


def _names_of_units(factors: Sequence[str], nested: Any, sample: Any) -> dict[str, str]:
    """Give the names of columns of what is nested in the factors, by the argument that has them."""
    found = {}
    for argument, name, example in (("nested", nested, "guide"), ("sample", sample, "replicate")):
        if name is None:
            continue
        if not isinstance(name, _NAMES):
            raise InputError(
                f"{argument} is {told(name)}: give the name of a column, such as {example}."
            )
        found[argument] = str(name)
    if "sample" in found and len(factors) != 2:
        raise InputError(
            f"samples are told apart in tables of two factors, and this has {len(factors)}: leave "
            "sample out."
        )
    return found


def _read_file(path: Path, names: Sequence[str], where: str) -> tuple[pl.LazyFrame, list[str]]:
    """Open the needed columns of a file, by its suffix; and give the names of all."""
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
        raise InputError(f"{where} cannot be opened ({reason(error)}): check the path.") from None
    if kind in DELIMITERS:
        return read_delimited(path, DELIMITERS[kind], names, where)
    if kind == ".parquet" and not compressed:
        with reading(where, "Parquet"):
            frame = pl.scan_parquet(path, glob=False, hive_partitioning=False)
            columns = frame.collect_schema().names()
            check_columns(columns, names, where)
            return frame.select(names), columns
    raise InputError(
        f"{where} is of no kind that can be read: give .csv or .tsv (plain, .gz or .zst), "
        "or .parquet, and rename the file if it is one of these."
    )


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
        f"and {were} left out: {listed(lost.tolist(), 5)}."
    )
    position = np.cumsum(seen, dtype=np.int32) - np.int32(1)
    return Factor(factor.name, tuple(levels[seen]), position[codes])


def _sha256(path: Path, where: str) -> str:
    with reading(where, "a file"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"
