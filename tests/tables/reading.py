"""A small table, and what tests of reading do with it."""

from pathlib import Path

import numpy as np
import pytest

from crossed_jax.errors import InputError
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.tables.read import read_table

SMALL = "gene,cell,y\nA,x,1.5\nA,w,2\nB,x,-3\nB,w,4e-1\n"


def read(table: object, response: str = "y", factors: tuple[str, ...] = ("gene", "cell")):
    return read_table(table, response=response, factors=factors)


def write(folder: Path, content: str | bytes, name: str = "screen.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def assert_same(left: CrossedData, right: CrossedData) -> None:
    np.testing.assert_array_equal(left.response, right.response)
    assert left.response_name == right.response_name
    assert left.num_missing == right.num_missing
    assert left.notes == right.notes
    for a, b in zip(left.factors, right.factors, strict=True):
        assert (a.name, a.levels) == (b.name, b.levels)
        np.testing.assert_array_equal(a.codes, b.codes)


def assert_told(error: pytest.ExceptionInfo[InputError], *wanted: str) -> None:
    message = str(error.value)
    for text in wanted:
        assert text in message
    assert message.isprintable()
    assert len(message) < 400
    fault, way_out = message.rsplit(": ", 1)
    assert fault
    assert len(way_out.split()) >= 2
    assert message[-1] in ".?"
    assert error.value.__suppress_context__ or error.value.__context__ is None
