"""Data frames: of every library the same table, labels of every kind, and what cannot be read."""

import subprocess
import sys

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from reading import SMALL, assert_same, assert_told, read

from crossed_jax.errors import InputError


def test_codes_do_not_depend_on_categoricals_made_before():
    pl.Series(["q", "r", "s", "x", "B"], dtype=pl.Categorical)
    frame = pl.read_csv(SMALL.encode())
    categorical = frame.cast({"gene": pl.Categorical, "cell": pl.Categorical})
    assert_same(read(categorical), read(frame))


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([3, 1, 1, 3, 2], ("3", "1", "2")),
        ([True, False, False, True, True], ("true", "false")),
        ([0.5, 1.0, 1.0, 0.5, 2.0], ("0.5", "1.0", "2.0")),
        (pl.Series(list("baabc"), dtype=pl.Categorical), ("b", "a", "c")),
        (pl.Series(list("baabb"), dtype=pl.Enum(["z", "a", "b"])), ("a", "b")),
    ],
    ids=["integers", "booleans", "floats", "categorical", "enum"],
)
def test_kinds_of_factor(values, levels):
    frame = pl.DataFrame({"gene": values, "cell": list("xwxwx"), "y": [1, 2, 3, 4, 6]})
    gene = read(frame).factors[0]
    assert gene.levels == levels
    labels = frame["gene"].cast(pl.String).to_list()
    assert [gene.levels[code] for code in gene.codes] == labels


@pytest.mark.parametrize("ordered", [False, True])
def test_pandas_and_arrow_categories_keep_their_order(ordered):
    categories = pd.Categorical(list("baab"), categories=["z", "a", "b"], ordered=ordered)
    frame = pd.DataFrame({"gene": categories, "cell": list("xwxw"), "y": [1.0, 2, 3, 5]})
    assert read(frame).factors[0].levels == ("a", "b")
    np.testing.assert_array_equal(read(frame).factors[0].codes, [1, 0, 0, 1])
    assert_same(read(pa.table(frame)), read(frame))


@pytest.mark.parametrize(
    "values",
    [
        pd.cut([5, 1, 1, 5], [0, 2, 8]),
        pd.arrays.IntervalArray.from_tuples([(1, 2), (0, 1), (0, 1), (1, 2)]),
        pd.PeriodIndex(["2020-02", "2020-01", "2020-01", "2020-02"], freq="M"),
        pd.Categorical(pd.PeriodIndex(["2020-02", "2020-01", "2020-01", "2020-02"], freq="M")),
        pd.to_timedelta([2, 1, 1, 2], unit="h"),
        pd.Categorical(pd.to_timedelta([2, 1, 1, 2], unit="h")),
    ],
    ids=["cut", "interval", "period", "periods", "timedelta", "timedeltas"],
)
def test_labels_that_only_pandas_has_are_as_it_writes_them(values):
    column = pd.Series(values)
    gene = read(pd.DataFrame({"gene": column, "cell": list("xwxw"), "y": [1.0, 2, 3, 5]})).factors[
        0
    ]
    assert [gene.levels[code] for code in gene.codes] == [str(value) for value in column]
    if isinstance(values, pd.Categorical):
        assert gene.levels == tuple(map(str, values.categories))


def test_time_spans_are_labels():
    hours = pl.Series([2, 1, 1, 2]).cast(pl.Duration("us")) * 3_600_000_000
    frame = pl.DataFrame({"gene": hours, "cell": list("xwxw"), "y": [1.0, 2, 3, 5]})
    assert read(frame).factors[0].levels == ("2h", "1h")


@pytest.mark.parametrize(
    ("columns", "response", "factors"),
    [
        ((0, 1, 2), 2, (0, 1)),
        ((0, 1, 2), "2", ("0", "1")),
        (np.arange(3), np.int64(2), np.arange(2)),
        (pd.MultiIndex.from_tuples([("a", 0), ("a", 1), ("b", 0)]), ("b", 0), [("a", 0), ("a", 1)]),
    ],
)
def test_names_of_columns_need_not_be_text(columns, response, factors):
    frame = pd.DataFrame({"gene": list("AABB"), "cell": list("xwxw"), "y": [1.0, 2, 3, 5]})
    data = read(frame.set_axis(columns, axis=1), response, factors)
    assert data.factor_names == tuple(map(str, factors))
    np.testing.assert_array_equal(data.response, frame["y"])


def test_columns_whose_names_are_written_alike_are_told():
    frame = pd.DataFrame(NUMBERS).assign(more=1).set_axis([0, 1, 2, "0"], axis=1)
    with pytest.raises(InputError) as error:
        read(frame, 2, (0, 1))
    assert_told(error, "2 columns called '0'", "rename")


def test_integers_of_any_size_are_numbers_and_labels():
    frame = pd.DataFrame(
        {"gene": [10**30, 2, 2, 10**30], "cell": list("xwxw"), "y": [10**30, 2, 3, 5]}
    )
    data = read(frame)
    assert data.factors[0].levels == (str(10**30), "2")
    np.testing.assert_array_equal(data.response, [1e30, 2, 3, 5])


def test_frames_of_every_library_give_the_same(tmp_path):
    frame = pl.DataFrame(
        {
            "gene": ["B", "A", "A", "B", "C", "C"],
            "cell": [2, 1, 2, 1, 1, 2],
            "y": [1.5, None, float("nan"), 2.0, -1.0, 0.25],
            "other": [[1]] * 6,
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    frame.drop("other").write_csv(tmp_path / "a.csv")
    expected = read(frame)
    assert (expected.num_missing, expected.factors[0].levels) == (2, ("B", "C"))
    tables = [
        frame.lazy(),
        nw.from_native(frame),
        frame.to_pandas(),
        frame.to_arrow(),
        frame.to_pandas().convert_dtypes(),
        tmp_path / "a.parquet",
        tmp_path / "a.csv",
    ]
    for table in tables:
        assert_same(read(table), expected)


def test_pandas_is_read_without_pyarrow():
    script = """
from importlib.machinery import PathFinder
find_spec = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "pyarrow" else find_spec(name, *rest)
import pandas as pd
from crossed_jax.tables.read import read_table
frame = pd.DataFrame({
    "gene": ["B", "A", "B", "A", "C"],
    "cell": pd.Categorical(list("xyxyx"), categories=["y", "x"]),
    "y": pd.array([1, None, 2, 5, 3], dtype="Int64"),
})
data = read_table(frame, response="y", factors=("gene", "cell"))
assert [factor.levels for factor in data.factors] == [("B", "A", "C"), ("y", "x")]
assert data.response.tolist() == [1, 2, 5, 3]
"""
    subprocess.run([sys.executable, "-c", script], check=True)


NUMBERS = {"gene": list("AABB"), "cell": list("xwxw"), "y": [1.0, 2.0, 3.0, 5.0]}
BAD_FRAMES = {
    "boolean response": (pl.DataFrame(NUMBERS | {"y": [True, False] * 2}), ["'y' has type Bool"]),
    "date response": (
        pd.DataFrame(NUMBERS | {"y": pd.date_range("2020", periods=4)}),
        ["'y' has type Datetime", "not numeric"],
    ),
    "list response": (pl.DataFrame(NUMBERS | {"y": [[1]] * 4}), ["'y' has type List(Int64)"]),
    "empty response": (pl.DataFrame(NUMBERS | {"y": [None] * 4}), ["'y' is missing in every row"]),
    "null level": (
        pl.DataFrame(NUMBERS | {"gene": ["A", "A", None, "B"]}),
        ["the data frame", "'gene' is missing in row 3"],
    ),
    "NaN level": (
        pd.DataFrame(NUMBERS | {"gene": [1.0, 2.0, np.nan, 1.0]}),
        ["'gene' is missing in row 3"],
    ),
    "list factor": (pl.DataFrame(NUMBERS | {"gene": [[1]] * 4}), ["'gene' has type List(Int64)"]),
    "binary factor": (pl.DataFrame(NUMBERS | {"gene": [b"A"] * 4}), ["'gene' has type Binary"]),
    "object factor": (
        pl.DataFrame(NUMBERS).with_columns(pl.Series("gene", [set()] * 4, dtype=pl.Object)),
        ["'gene' has type Object"],
    ),
    "mixed factor": (
        pd.DataFrame(NUMBERS | {"gene": ["A", 1, "B", {}]}),
        ["'gene'", "mixes", "convert"],
    ),
    "no rows": (pl.DataFrame(NUMBERS).clear(), ["the data frame", "no rows"]),
    "missing column": (pd.DataFrame(NUMBERS).rename(columns={"y": "Y"}), ["did you mean 'Y'?"]),
    "columns of numbers": (pd.DataFrame(np.zeros((4, 3))), ["no column 'y'", "'0', '1', '2'"]),
    "complex response": (pd.DataFrame(NUMBERS | {"y": [1j, 2, 3, 5]}), ["'y' has type complex128"]),
    "complex factor": (
        pd.DataFrame(NUMBERS | {"gene": [1j, 1j, 3, 5]}),
        ["'gene' has type complex128"],
    ),
    "too huge integers": (
        pd.DataFrame(NUMBERS | {"y": [10**400, 2, 3, 5]}),
        ["'y' has a number that is out of range"],
    ),
    "interval as response": (
        pd.DataFrame(NUMBERS | {"y": pd.to_timedelta([1, 2, 3, 5], unit="h")}),
        ["'y' has type Duration", "not numeric"],
    ),
    "missing interval": (
        pd.DataFrame(NUMBERS | {"gene": pd.cut([1, 1, 5, 50], [0, 2, 8])}),
        ["'gene' is missing in row 4"],
    ),
    "duplicated in pandas": (
        pd.DataFrame(NUMBERS).set_axis(["gene", "cell", "cell"], axis=1),
        ["rename all but one"],
    ),
    "duplicated in arrow": (
        pa.table([[1], [2], [3]], names=["gene", "y", "y"]),
        ["rename all but one"],
    ),
    "lazy frame that fails": (
        pl.LazyFrame(NUMBERS).with_columns(y=pl.lit("x").cast(pl.Int64)),
        ["the data frame", "cannot be read"],
    ),
    "a dict": (NUMBERS, ["type dict", "give a path"]),
    "an array": (np.zeros((4, 3)), ["type ndarray", "give a path"]),
    "nothing": (None, ["type NoneType", "give a path"]),
}


@pytest.mark.parametrize(("table", "wanted"), BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
def test_bad_frames(table, wanted):
    with pytest.raises(InputError) as error:
        read(table)
    assert_told(error, *wanted)
