"""A matrix as it stands in a table: a label before each row, and a number in every other column.

Text is read a few rows at a time and never held whole, so that a matrix of tens of millions of
cells takes little more memory than its numbers. Lines are split as CSV one by one, since a label
may have the separator in it.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from crossed_jax.errors import InputError, escaped, shown
from crossed_jax.tables.checks import OR_A_TABLE, check_header, reading
from crossed_jax.tables.columns import parsed
from crossed_jax.tables.delimited import ragged, split_header

_CELLS_AT_ONCE = 250_000


class Matrix(NamedTuple):
    """A matrix and its labels.

    Attributes
    ----------
    rows
        The label of each row, as it was read.
    columns
        The label of each column.
    values
        float64, shape (rows, columns), NaN where there is none.
    """

    rows: pl.Series
    columns: tuple[str, ...]
    values: np.ndarray

    def place(self, cell: int) -> str:
        """Say where a cell stands, counted row by row."""
        row, column = divmod(cell, len(self.columns))
        return f"row {row + 1:,} ({escaped(self.rows[row])}), column {shown(self.columns[column])}"


def delimited_matrix(path: Path, delimiter: str, names: Sequence[str], where: str) -> Matrix:
    """Read a matrix from delimited text; its `names` are of the values, rows and columns."""
    with reading(where, "delimited text"):
        lines = pl.scan_lines(path, name="line", glob=False)
        header = split_header("".join(lines.head(1).collect()["line"]), delimiter, where)
        check_header(header, names, where)
        labels: list[str] = []
        numbers = [np.empty(0)]
        cells: list[str] = []
        for row in csv.reader(_lines(lines.slice(1)), delimiter=delimiter):
            if not row:
                continue
            labels.append(row[0])
            if len(row) != len(header):
                raise ragged(len(labels), len(row), len(header), where)
            cells += row[1:]
            if len(cells) >= _CELLS_AT_ONCE:
                numbers.append(_numbers(cells, labels, header, names[0], where))
                cells.clear()
        numbers.append(_numbers(cells, labels, header, names[0], where))
    values = np.concatenate(numbers).reshape(len(labels), len(header) - 1)
    return Matrix(pl.Series(labels, dtype=pl.String), tuple(header[1:]), values)


def matrix_of_columns(
    header: Sequence[str], columns: Sequence[pl.Series], names: Sequence[str], where: str
) -> Matrix:
    """Read a matrix from columns, the first of labels."""
    check_header(header, names, where)
    labels = columns[0]
    values = np.empty((len(labels), len(columns) - 1))
    for k, column in enumerate(columns[1:]):
        if column.dtype == pl.String:
            numbers, wrong = parsed(column)
            if wrong.any():
                row = wrong.arg_true()[0]
                raise _not_a_number(
                    column[row],
                    (row, labels[row], header[k + 1]),
                    names[0],
                    where,
                    all_text=numbers.null_count() == len(numbers),
                )
        elif column.dtype.is_numeric() or column.dtype == pl.Null:
            numbers = column.cast(pl.Float64)
        else:
            raise InputError(
                f"{where}: column {shown(header[k + 1])} has type {escaped(column.dtype)}, which "
                f"is not numeric: leave out what is not {escaped(names[0])}."
            )
        values[:, k] = numbers.fill_null(np.nan).to_numpy()
    return Matrix(labels, tuple(header[1:]), values)


def _lines(lines: pl.LazyFrame) -> Iterator[str]:
    for batch in lines.collect_batches(maintain_order=True):
        for line in batch["line"]:
            yield f"{line}\n"


def _numbers(
    cells: list[str], labels: list[str], header: Sequence[str], response: str, where: str
) -> np.ndarray:
    """Parse the cells of the last of the rows that were read."""
    numbers, wrong = parsed(pl.Series(cells, dtype=pl.String))
    if wrong.any():
        width = len(header) - 1
        cell = int(wrong.arg_true()[0])
        row = len(labels) - len(cells) // width + cell // width
        raise _not_a_number(
            cells[cell],
            (row, labels[row], header[1 + cell % width]),
            response,
            where,
            all_text=bool(numbers.gather_every(width, cell % width).is_null().all()),
        )
    return numbers.fill_null(np.nan).to_numpy()


def _not_a_number(
    value: str, place: tuple[int, str, str], response: str, where: str, *, all_text: bool
) -> InputError:
    """Say where a cell holds text: one cell by mistake, or a column of labels."""
    row, label, column = place
    found = f"is {shown(value)} in row {row + 1:,} ({escaped(label)})"
    if all_text:
        return InputError(
            f"{where}: column {shown(column)} {found}, where numbers are expected: leave the "
            f"column out if it describes rows; {OR_A_TABLE}"
        )
    return InputError(
        f"{where}: {escaped(response)} {found}, column {shown(column)}, which is not a number: "
        "correct it, or leave it empty if it is missing."
    )
