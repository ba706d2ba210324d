"""A matrix becomes the table that its melted rows would, and what is no matrix is told."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from reading import SMALL, assert_same, assert_told, write

import crossed_jax as cj
from crossed_jax.errors import InputError

DEPMAP = Path(__file__).parents[3] / "shared/data/depmap_24q4_subset/CRISPRGeneEffect.csv.gz"
WIDE = "V1,TP53 (7157),KRAS (3845),MYC (4609)\nL1,0.5,-1,2\nL2,,-1.5,1e-1\nL3,3,0,-0.25\n"
NAMES = {"response": "effect", "factors": ("line", "gene")}


def wide(table):
    return cj.read_wide(table, **NAMES)


def long(text):
    """Melt a matrix by hand, and read that."""
    frame = pl.read_csv(text.encode())
    rows = [
        (label, column, value)
        for label, *values in frame.iter_rows()
        for column, value in zip(frame.columns[1:], values, strict=True)
    ]
    columns = ["line", "gene", "effect"]
    return cj.read_table(pl.DataFrame(rows, columns, orient="row", strict=False), **NAMES)


def test_it_is_the_table_of_its_melted_rows(tmp_path):
    data, melted = wide(write(tmp_path, WIDE)), long(WIDE)
    assert data.notes == ("1 of 9 cells (11.1%) has no value of effect and was left out.",)
    assert data.num_missing == melted.num_missing == 1
    assert data.digest() == melted.digest()
    assert data.factors[1].levels == ("TP53 (7157)", "KRAS (3845)", "MYC (4609)")
    assert data.response.dtype == np.float64
    assert all(factor.codes.dtype == np.int32 for factor in data.factors)
    assert data.is_matrix
    assert not melted.is_matrix


def test_levels_without_any_value_are_left_out_and_named(tmp_path):
    data = wide(write(tmp_path, "id,a,b,gone\nx,1,2,\nlost,,,\ny,3,5,NA\n"))
    assert [factor.levels for factor in data.factors] == [("x", "y"), ("a", "b")]
    assert data.notes[1:] == (
        "1 level of line has no value of effect at all and was left out: 'lost'.",
        "1 level of gene has no value of effect at all and was left out: 'gone'.",
    )


def test_source_and_hash_are_those_of_the_file(tmp_path):
    path = write(tmp_path, WIDE)
    data = wide(str(path))
    assert (data.source, data.sha256) == (str(path), hashlib.sha256(WIDE.encode()).hexdigest())


@pytest.mark.parametrize(
    "text",
    [
        WIDE.replace("V1", ""),
        WIDE.replace("V1", '""'),
        WIDE.replace("V1", "effect"),
        "\ufeff" + WIDE,
        WIDE.replace("\n", "\r\n"),
        WIDE.rstrip("\n"),
        WIDE + "\n\n",
        WIDE.replace("L2", "\nL2"),
        WIDE.replace("L2,", "L2, NA "),
        WIDE.replace("0.5", '" 0.5"').replace("L3", '"L3"'),
    ],
    ids=[
        *("unnamed", "quoted no name", "named as the response", "bom", "crlf"),
        *("no last newline", "blank end", "blank middle", "NA", "quotes"),
    ],
)
def test_spellings_of_the_same_matrix(tmp_path, text):
    assert_same(wide(write(tmp_path, text, "a.csv")), wide(write(tmp_path, WIDE)))


def test_labels_stay_as_written(tmp_path):
    data = wide(write(tmp_path, '"","a, b",007,7\n"x,\ny",1,2,3\n1e3,4,5,7\n1000,1,0,0\n'))
    assert data.factors[0].levels == ("x,\ny", "1e3", "1000")
    assert data.factors[1].levels == ("a, b", "007", "7")


@pytest.mark.parametrize("name", ["a.tsv", "a.csv.gz", "a.csv.zst", "a.parquet"])
def test_kinds_of_file(tmp_path, name):
    path, frame = tmp_path / name, pl.read_csv(WIDE.encode())
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(WIDE.encode()))
    elif name.endswith("zst"):
        frame.write_csv(path, compression="zstd")
    elif name.endswith("parquet"):
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="\t")
    assert_same(wide(path), wide(write(tmp_path, WIDE)))


FRAME = pl.read_csv(WIDE.encode())
FRAMES = {
    "polars": FRAME,
    "lazy": FRAME.lazy(),
    "text": pl.read_csv(WIDE.encode(), infer_schema=False),
    "pandas": FRAME.to_pandas(),
    "pandas with an index": FRAME.to_pandas().set_index("V1"),
    "pyarrow": FRAME.to_arrow(),
    "categories": FRAME.with_columns(pl.col("V1").cast(pl.Categorical)),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_kinds_of_frame(tmp_path, frame):
    assert_same(wide(frame), wide(write(tmp_path, WIDE)))


@pytest.mark.parametrize("index", [[101, 7, 30], pd.CategoricalIndex(["b", "a", "c"])])
def test_any_index_that_is_not_a_mere_count_is_the_rows_labels(index):
    data = wide(pd.DataFrame(np.arange(9.0).reshape(3, 3), pd.Index(index), list("xyz")))
    rows, columns = data.factors
    assert [rows.levels[code] for code in rows.codes[::3]] == [str(label) for label in index]
    assert columns.levels == ("x", "y", "z")
    assert data.num_rows == 9


def test_a_matrix_without_labels_is_told():
    with pytest.raises(InputError, match="the first column holds numbers with decimals"):
        wide(pd.DataFrame(np.arange(9.0).reshape(3, 3), columns=list("xyz")))


def test_names_of_a_pandas_frame_need_not_be_text():
    data = wide(pd.DataFrame([[1, 2.0, 3], [2, 5.0, 7]], columns=["id", 0, 1]))
    assert [factor.levels for factor in data.factors] == [("1", "2"), ("0", "1")]


def test_more_cells_than_are_read_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("crossed_jax.tables.matrix._CELLS_AT_ONCE", 4)
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"id": [f"r{k}" for k in range(7)]}).hstack(
        [pl.Series(f"c{k}", rng.normal(size=7)) for k in range(3)]
    )
    text = frame.write_csv()
    assert wide(write(tmp_path, text)).digest() == wide(frame).digest() == long(text).digest()
    with pytest.raises(InputError, match=r"is 'bad' in row 6 \(r5\), column 'c1'"):
        wide(write(tmp_path, text.replace(f"{frame['c1'][5]}", "bad")))


BAD = {
    "header only": ("id,a,b\n", ["no rows"]),
    "no columns of values": ("id\nx\n", ["single column, 'id'"]),
    "one column of values": ("id,a\nx,1\n", ["no matrix", "1 column beside the first"]),
    "columns alike": ("id,a,b,a\nx,1,2,3\n", ["columns 2 and 4 are both 'a'"]),
    "column without label": ("id,a,,b\nx,1,2,3\n", ["column 3 has no label ('')"]),
    "rows alike": (
        "id,a,b\nx,1,2\ny,1,2\nx,1,3\n",
        ["rows 1 and 3 are both 'x'", "read it with cj.read_table"],
    ),
    "row without label": ("id,a,b\nx,1,2\n,1,3\n", ["factor 'line' is missing ('') in row 2"]),
    "no number": (
        WIDE.replace("-1.5", "high"),
        ["screen.csv: effect is 'high' in row 2 (L2), column 'KRAS (3845)'", "not a number"],
    ),
    "decimal comma": (WIDE.replace("-1.5", '"1,5"'), ["effect is '1,5' in row 2"]),
    "infinite": (WIDE.replace("-1.5", "inf"), ["infinite in row 2 (L2), column 'KRAS (3845)'"]),
    "huge": (WIDE.replace("1e-1", "1e80"), ["is 1e+80 in row 2 (L2), column 'MYC (4609)'"]),
    "hostile": (WIDE.replace("-1.5", "\x1b[31m"), [r"effect is '\x1b[31m' in row 2"]),
    "short row": (WIDE + "\nL4,1\n", ["row 4 does not match", "fields: 2, not 4"]),
    "long row": (WIDE + "L4,1,2,3,4\n", ["row 4 does not match", "fields: 5, not 4"]),
    "quote not closed": (WIDE + 'L4,"1,2,3\n', ["row 4 does not match"]),
    "column of labels": (
        "id,name,a,b\nx,A549,1,2\ny,HeLa,1,3\n",
        ["column 'name' is 'A549' in row 1 (x)", "describes rows", "cj.read_table"],
    ),
    "a table": (
        "line,gene,effect\nx,a,1\nx,b,2\ny,a,2\n",
        ["columns called 'effect', 'line', 'gene'", "read it with cj.read_table"],
    ),
    "a table of other names": ("g,cell,y\nx,a,1\nx,b,2\ny,a,2\n", ["'a' in row 1", "read_table"]),
    "all missing": ("id,a,b\nx,,\ny,,NA\n", ["'effect' is missing in every cell"]),
    "one row": ("id,a,b\nx,1,2\n", ["'line' has a single level"]),
    "constant": ("id,a,b\nx,1,1\ny,1,1\n", ["'effect' is 1 in every row"]),
    "null character": (WIDE.replace("L2", "L\0002"), ["null character"]),
    "null character above": (WIDE.replace("MYC", "M\0YC"), ["not UTF-8"]),
    "not UTF-8": (WIDE.encode().replace(b"L2", b"L\xff"), ["not UTF-8"]),
}


@pytest.mark.parametrize(("text", "wanted"), BAD.values(), ids=BAD)
def test_what_is_no_matrix(tmp_path, text, wanted):
    with pytest.raises(InputError) as error:
        wide(write(tmp_path, text))
    assert_told(error, *wanted)


@pytest.mark.parametrize(
    ("frame", "wanted"),
    [
        ({"id": ["x", "y"], "a": ["1", "low"], "b": [1, 2]}, ["effect is 'low' in row 2 (y)"]),
        ({"id": ["x", "y"], "a": ["up", "low"], "b": [1, 2]}, ["column 'a' is 'up' in row 1"]),
        ({"id": ["x", "y"], "a": [True, False], "b": [1, 2]}, ["'a' has type Boolean"]),
        ({"id": ["x", "y"]}, ["no matrix, with no columns"]),
        ({"id": [], "a": [], "b": []}, ["no rows"]),
        ({"id": ["x", None], "a": [1, 2], "b": [1, 3]}, ["factor 'line' is missing in row 2"]),
    ],
)
def test_frames_that_are_no_matrix(frame, wanted):
    with pytest.raises(InputError) as error:
        wide(pl.DataFrame(frame))
    assert_told(error, "the data frame", *wanted)


@pytest.mark.parametrize("factors", [("line",), ("line", "gene", "plate")])
def test_a_matrix_has_two_factors(factors):
    with pytest.raises(InputError, match="two factors") as error:
        cj.read_wide(FRAME, response="effect", factors=factors)
    assert_told(error)


def matrix(columns):
    values = np.random.default_rng(0).normal(size=(5, columns))
    frame = pd.DataFrame(values, columns=[f"GENE{k} (1{k})" for k in range(columns)])
    frame.insert(0, "line", list("abcde"))
    frame.iloc[1, 3] = None
    return frame


@pytest.mark.parametrize("kind", ["csv", "parquet", "pandas", "polars", "arrow"])
def test_a_matrix_read_as_rows_is_told(tmp_path, kind):
    frame = matrix(12)
    if kind == "csv":
        frame.to_csv(table := tmp_path / "a.csv", index=False)
    elif kind == "parquet":
        frame.to_parquet(table := tmp_path / "a.parquet")
    else:
        table = {"pandas": frame, "polars": pl.from_pandas(frame), "arrow": pa.table(frame)}[kind]
    with pytest.raises(InputError, match=r"looks like a matrix.*: read it with cj\.read_wide"):
        cj.read_table(table, **NAMES)
    assert wide(table).num_rows == 59


def test_other_tables_are_not_taken_for_a_matrix(tmp_path):
    small = write(tmp_path, WIDE)
    covariates = matrix(12).rename(columns={"GENE0 (10)": "effect"})
    text = matrix(12).astype(str).replace(r".*\d", "x", regex=True)
    for table in (small, covariates, text):
        with pytest.raises(InputError, match="has no column") as error:
            cj.read_table(table, **NAMES)
        assert "read_wide" not in str(error.value)
    with pytest.raises(InputError, match="did you mean 'gene'"):
        cj.read_table(write(tmp_path, SMALL), response="y", factors=("Gene", "cell"))


@pytest.mark.skipif(not DEPMAP.exists(), reason="the shared data are not here")
def test_depmap_as_published():
    data = wide(DEPMAP)
    assert (data.num_rows, data.num_missing) == (173_979, 1_543)
    assert data.factors[1].levels[0] == "ABCA1 (19)"
    assert data.notes == (
        "1,543 of 175,522 cells (0.9%) have no value of effect and were left out.",
    )
    frame = pl.read_csv(DEPMAP, null_values="NA").rename({"V1": ""})
    assert wide(frame).digest() == data.digest()
