"""Delimited text, every field as the text it is.

A short line would be filled with missing values and a long one, such as one with decimal commas,
would shift fields, so all lines are measured before any is read.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from crossed_jax.errors import InputError, shown
from crossed_jax.tables.checks import check_columns, reading
from crossed_jax.tables.columns import parsed

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}


def read_delimited(
    path: Path, delimiter: str, names: Sequence[str], where: str
) -> tuple[pl.LazyFrame, list[str]]:
    """Read the needed columns of delimited text; and the names of all."""
    with reading(where, "delimited text"):
        lines = pl.scan_lines(path, name="line", glob=False)
        first = lines.head(1).collect()
        header = split_header("".join(first["line"]), delimiter, where)
        check_columns(header, names, where, lambda: _share_of_numbers(lines, delimiter))
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
    return frame.lazy(), header


def split_header(line: str, delimiter: str, where: str) -> list[str]:
    """Split the first line into the names of columns, of which there must be two."""
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


def _share_of_numbers(lines: pl.LazyFrame, delimiter: str) -> float:
    """Share of the cells of the first rows that are numbers, first column apart."""
    rows = csv.reader(lines.slice(1, 20).collect()["line"], delimiter=delimiter)
    numbers, _ = parsed(pl.Series([cell for row in rows for cell in row[1:]], dtype=pl.String))
    return numbers.count() / max(len(numbers), 1)


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
        raise ragged(found["row"], found["fields"], width, where)
    return bool(found["blank"])


def ragged(row: int, fields: int, width: int, where: str) -> InputError:
    """Say that a row has not as many fields as the header."""
    return InputError(
        f"{where}: row {row:,} does not match the header (fields: {fields}, "
        f"not {width}): correct the row, and quote fields that contain the separator."
    )
