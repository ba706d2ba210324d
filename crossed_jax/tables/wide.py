"""From a matrix to the same table as from one row for each measurement.

`read_wide` takes what is published as a matrix, such as DepMap's gene effects: the levels of one
factor before its rows, those of the other above its columns, and the response in its cells. Levels
keep the order of rows and columns, measurements go row by row, and since where a cell stands tells
its levels, codes are counted out and no label is ever repeated.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crossed_jax.errors import InputError, escaped, shown
from crossed_jax.tables.asked import names_of
from crossed_jax.tables.checks import OR_A_TABLE, check_identifiable, reading
from crossed_jax.tables.columns import check_sizes, read_factor
from crossed_jax.tables.crossed_data import CrossedData, Factor
from crossed_jax.tables.delimited import DELIMITERS
from crossed_jax.tables.frames import read_whole_frame
from crossed_jax.tables.matrix import Matrix, delimited_matrix, matrix_of_columns
from crossed_jax.tables.missing import leave_out_missing
from crossed_jax.tables.names import check_names
from crossed_jax.tables.paths import kind_of, named, sha256_of
from crossed_jax.tables.remarks import remarks


def read_wide(table: Any, *, response: Any, factors: Sequence[Any]) -> CrossedData:
    """Read a matrix whose rows are the levels of one factor and whose columns those of another.

    Parameters
    ----------
    table
        Path or data frame as :func:`~crossed_jax.tables.read.read_table` takes it. The first
        column holds the rows' labels, whatever it is called, and every other column a value for
        each row: numbers, or in text empty fields and NA, N/A, NaN and null where one is missing.
        The index of a pandas frame stands for the first column unless it only counts the
        rows.
    response
        What to call the values.
    factors
        What to call the factor of the rows and that of the columns.

    Returns
    -------
    CrossedData
        The cells that have a value, row by row.

    Raises
    ------
    InputError
        For anything about the matrix or the names that the model cannot use.
    """
    response, factors = names_of(response, factors)
    if len(factors) != 2:
        raise InputError(
            "a matrix has two factors, that of its rows and that of its columns, and "
            f"{len(factors)} are named: name two; {OR_A_TABLE}"
        )
    check_names(response, factors)
    names = (response, *factors)
    source = sha256 = None
    if isinstance(table, str | Path):
        source = str(table)
        where = named(source)
        matrix = _read_file(Path(table), names, where)
        sha256 = sha256_of(Path(table), where)
    else:
        where = "the data frame"
        matrix = matrix_of_columns(*read_whole_frame(table, where), names, where)
    if not len(matrix.rows):
        raise InputError(f"{where} has column names but no rows: add the measurements.")

    rows, columns = _levels(matrix, factors, where)
    check_sizes(matrix.values.ravel(), f"{where}: {escaped(response)}", matrix.place)
    shape = matrix.values.shape
    crossed = [
        Factor(rows.name, rows.levels, np.repeat(rows.codes, shape[1])),
        Factor(columns.name, columns.levels, np.tile(columns.codes, shape[0])),
    ]
    values, crossed, notes = leave_out_missing(
        matrix.values.ravel(), response, crossed, where, unit="cell"
    )
    check_identifiable(values, response, crossed, where)
    return CrossedData(
        values,
        response,
        tuple(crossed),
        matrix.values.size - len(values),
        (*notes, *remarks(crossed)),
        source,
        sha256,
        is_matrix=True,
    )


def _read_file(path: Path, names: Sequence[str], where: str) -> Matrix:
    kind = kind_of(path, where)
    if kind in DELIMITERS:
        return delimited_matrix(path, DELIMITERS[kind], names, where)
    with reading(where, "Parquet"):
        frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
        return matrix_of_columns(frame.columns, frame.get_columns(), names, where)


def _levels(matrix: Matrix, factors: Sequence[str], where: str) -> tuple[Factor, Factor]:
    """Give the rows and the columns as factors, of a level each."""
    labels = (matrix.rows, pl.Series(matrix.columns, dtype=pl.String))
    rows, columns = (
        read_factor(each.to_frame(name).lazy(), name, where)
        for name, each in zip(factors, labels, strict=True)
    )
    again = np.flatnonzero(np.bincount(rows.codes)[rows.codes] > 1)
    if len(again):
        code = rows.codes[again[0]]
        first, second = np.flatnonzero(rows.codes == code)[:2] + 1
        raise InputError(
            f"{where}: rows {first:,} and {second:,} are both {shown(rows.levels[code])}: give "
            f"each row a label of its own; {OR_A_TABLE}"
        )
    return rows, columns
