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

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from crossed_jax.errors import InputError, escaped
from crossed_jax.tables.asked import names_of, names_of_units
from crossed_jax.tables.checks import check_columns, check_identifiable, reading
from crossed_jax.tables.columns import read_factor, read_response
from crossed_jax.tables.crossed_data import CrossedData, Factor, Nested
from crossed_jax.tables.delimited import DELIMITERS, read_delimited
from crossed_jax.tables.frames import read_frame
from crossed_jax.tables.missing import leave_out_missing
from crossed_jax.tables.names import check_names
from crossed_jax.tables.nested import nested_in, parent_of
from crossed_jax.tables.paths import kind_of, named, sha256_of
from crossed_jax.tables.remarks import hidden_guides, remarks


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
    response, factors = names_of(response, factors)
    inner = names_of_units(factors, nested, sample)
    check_names(response, (*factors, *inner.values()))
    names = (response, *factors, *inner.values())
    source = sha256 = None
    if isinstance(table, str | Path):
        source = str(table)
        where = named(source)
        frame, columns = _read_file(Path(table), names, where)
        sha256 = sha256_of(Path(table), where)
    else:
        where = "the data frame"
        frame, columns = read_frame(table, names, where, response)

    with reading(where, "a table"):
        if frame.select(pl.len()).collect().item() == 0:
            raise InputError(f"{where} has column names but no rows: add the measurements.")
        values = read_response(frame, response, where)
        read = [read_factor(frame, name, where) for name in names[1:]]

    num_rows = len(values)
    values, read, notes = leave_out_missing(values, response, read, where)
    crossed = tuple(read[: len(factors)])
    check_identifiable(values, response, crossed, where)
    notes += remarks(crossed)
    units = _nested(crossed, dict(zip(inner, read[len(factors) :], strict=True)), where)
    return CrossedData(
        values,
        response,
        crossed,
        num_rows - len(values),
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


def _read_file(path: Path, names: Sequence[str], where: str) -> tuple[pl.LazyFrame, list[str]]:
    """Open the needed columns of a file, by its suffix; and give the names of all."""
    kind = kind_of(path, where)
    if kind in DELIMITERS:
        return read_delimited(path, DELIMITERS[kind], names, where)
    with reading(where, "Parquet"):
        frame = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema = frame.collect_schema()
        columns = schema.names()
        kinds = schema.dtypes()[1:]
        numeric = sum(kind.is_numeric() for kind in kinds)
        check_columns(columns, names, where, lambda: numeric / max(len(kinds), 1))
        return frame.select(names), columns
