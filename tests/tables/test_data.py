"""Tests of reading: what a table becomes, and how each thing wrong with one is told."""

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from crossed_jax.errors import InputError
from crossed_jax.tables.data import CrossedData, read_table

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the shared data are not here")

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


# What a table becomes


def test_csv_becomes_codes_and_levels_in_order_of_appearance(tmp_path):
    data = read(write(tmp_path, SMALL))
    np.testing.assert_array_equal(data.response, [1.5, 2, -3, 0.4])
    gene, cell = data.factors
    assert (gene.levels, cell.levels) == (("A", "B"), ("x", "w"))
    np.testing.assert_array_equal(gene.codes, [0, 0, 1, 1])
    np.testing.assert_array_equal(cell.codes, [0, 1, 0, 1])
    assert (data.num_missing, data.notes) == (0, ())


def test_arrays_are_float64_and_int32(tmp_path):
    data = read(write(tmp_path, SMALL))
    assert data.response.dtype == np.float64
    assert all(factor.codes.dtype == np.int32 for factor in data.factors)


def test_repr_is_one_short_line(tmp_path):
    assert repr(read(write(tmp_path, SMALL))) == "CrossedData(4 rows of y by gene (2), cell (2))"


def test_source_and_hash_are_those_of_the_file(tmp_path):
    path = write(tmp_path, SMALL)
    data = read(str(path))
    assert data.source == str(path)
    assert data.sha256 == hashlib.sha256(SMALL.encode()).hexdigest()


def test_frames_have_no_source_and_no_hash():
    data = read(pl.DataFrame({"gene": list("AABB"), "cell": list("xwxw"), "y": [1, 2, 3, 5]}))
    assert (data.source, data.sha256) == (None, None)


@pytest.mark.parametrize(
    "name", ["a.csv", "a.CSV", "b.c.csv", "a.csv.gz", "a.CSV.GZ", "a[1]*.csv", "two words.csv"]
)
def test_suffix_decides_whatever_its_case(tmp_path, name):
    content = gzip.compress(SMALL.encode()) if name.lower().endswith("gz") else SMALL
    assert_same(read(write(tmp_path, content, name)), read(write(tmp_path, SMALL)))


@pytest.mark.parametrize("name", ["a.tsv", "a.tab", "a.tsv.gz"])
def test_tab_separated_text(tmp_path, name):
    text = SMALL.replace(",", "\t").encode()
    content = gzip.compress(text) if name.endswith("gz") else text
    assert_same(read(write(tmp_path, content, name)), read(write(tmp_path, SMALL)))


def test_zstd(tmp_path):
    path = tmp_path / "a.csv.zst"
    pl.read_csv(SMALL.encode()).write_csv(path, compression="zstd")
    assert_same(read(path), read(write(tmp_path, SMALL)))


def test_parquet(tmp_path):
    path = tmp_path / "gene=3" / "a.parquet"
    path.parent.mkdir()
    pl.read_csv(SMALL.encode()).write_parquet(path)
    assert_same(read(path), read(write(tmp_path, SMALL)))


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + SMALL,
        SMALL.replace("\n", "\r\n"),
        SMALL.rstrip("\n"),
        SMALL + "\n\n",
        SMALL.replace("B,x", "\nB,x"),
        SMALL.replace("1.5", " 1.5 "),
        SMALL.replace("A", '"A"'),
    ],
    ids=["bom", "crlf", "no last newline", "blank end", "blank middle", "spaces", "quotes"],
)
def test_spellings_of_the_same_csv(tmp_path, text):
    assert_same(read(write(tmp_path, text, "a.csv")), read(write(tmp_path, SMALL)))


def test_other_columns_are_not_looked_at(tmp_path):
    text = "gene,,junk,cell,,y\nA,1,NA,x,,1.5\nA,,,w,,2\nB,,?,x,,-3\nB,,,w,,4e-1\n"
    assert_same(read(write(tmp_path, text, "a.csv")), read(write(tmp_path, SMALL)))


def test_columns_may_come_in_any_order(tmp_path):
    text = "y,cell,gene\n1.5,x,A\n2,w,A\n-3,x,B\n4e-1,w,B\n"
    assert_same(read(write(tmp_path, text, "a.csv")), read(write(tmp_path, SMALL)))


def test_labels_stay_as_written(tmp_path):
    text = 'gene,cell,y\n007," a",1\n7,"x,\ny",2\n1e3,"x,\ny",3\n1000,é,4\n7,é,5\n'
    gene, cell = read(write(tmp_path, text)).factors
    assert gene.levels == ("007", "7", "1e3", "1000")
    assert cell.levels == (" a", "x,\ny", "é")


def test_more_than_two_factors(tmp_path):
    text = "a,b,c,y\n1,1,1,0\n1,2,2,1\n2,1,2,2\n2,2,1,3\n1,1,2,4\n"
    data = read(write(tmp_path, text), factors=("c", "a", "b"))
    assert data.factor_names == ("c", "a", "b")


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
from crossed_jax.tables.data import read_table
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


# Missing responses


def test_missing_responses_are_left_out_counted_and_told(tmp_path):
    spellings = ["", '""', "NA", "NaN", "nan", "null", "N/A", " "]
    rows = [f"{gene},{cell},{n}" for n, gene in enumerate("AB") for cell in ("x", "w", "x")]
    rows += [f"A,x,{text}" for text in spellings]
    data = read(write(tmp_path, "\n".join(["gene,cell,y", *rows])))
    assert (data.num_rows, data.num_missing) == (6, 8)
    assert data.notes == ("8 of 14 rows (57.1%) have no y and were left out.",)


def test_levels_without_any_response_are_left_out_and_named(tmp_path):
    text = "gene,cell,y\nLost,x,\nA,x,1\nA,w,2\nB,x,3\nB,gone,NA\nB,w,5\n"
    data = read(write(tmp_path, text))
    gene, cell = data.factors
    assert (gene.levels, cell.levels) == (("A", "B"), ("x", "w"))
    np.testing.assert_array_equal(gene.codes, [0, 0, 1, 1])
    np.testing.assert_array_equal(cell.codes, [0, 1, 0, 1])
    assert gene.codes.dtype == np.int32
    assert data.notes == (
        "2 of 6 rows (33.3%) have no y and were left out.",
        "1 level of gene has no y at all and was left out: 'Lost'.",
        "1 level of cell has no y at all and was left out: 'gone'.",
    )


def test_only_the_first_lost_levels_are_named(tmp_path):
    lost = "".join(f"L{n},x,\n" for n in range(7))
    (_, note) = read(write(tmp_path, SMALL + lost)).notes
    assert note.endswith("7 levels of gene have no y at all and were left out: "
                         "'L0', 'L1', 'L2', 'L3', 'L4', and 2 more.")  # fmt: skip


def test_a_small_share_is_not_rounded_to_nothing():
    frame = pl.DataFrame({"i": range(5000)}).select(
        gene=pl.col("i") % 7, cell=pl.col("i") % 5, y=pl.when(pl.col("i") > 0).then(pl.col("i"))
    )
    assert read(frame).notes == ("1 of 5,000 rows (under 0.1%) has no y and was left out.",)


# Remarks on factors


def noted(**columns):
    size = len(columns["gene"])
    return read(
        pl.DataFrame({"cell": ["x", "w", "x", "w", "x"][:size], "y": range(size)} | columns)
    ).notes


def test_levels_that_nearly_agree_are_named():
    (note,) = noted(gene=["TP53", "B", "tp53 ", "TP53", "B"])
    assert note == (
        "gene has levels that differ only by case or by space around them, such as 'TP53' and "
        "'tp53 ': they are fitted as levels of their own."
    )
    assert noted(gene=["TP53", "B", "TP 53", "TP53", "B"]) == ()


def test_factors_that_group_alike_are_named():
    (note,) = noted(gene=["1", "2", "1", "2", "1"])
    assert note.startswith("gene and cell group the rows alike: ")
    assert noted(gene=["1", "2", "1", "2", "2"]) == ()
    assert noted(gene=["1", "2", "3", "2", "1"]) == ()


# Real tables


@needs_data
def test_penicillin():
    data = read(DATA / "penicillin/Penicillin.csv", "diameter", ("plate", "sample"))
    assert [len(factor.levels) for factor in data.factors] == [24, 6]
    assert data.num_rows == 144
    assert data.response.mean() == pytest.approx(22.972, abs=5e-4)


@needs_data
def test_insteval():
    data = read(DATA / "insteval/InstEval.csv.gz", "y", ("s", "d"))
    assert [len(factor.levels) for factor in data.factors] == [2972, 1128]
    assert data.num_rows == 73_421


@needs_data
def test_avana_filtered_in_a_frame():
    table = pl.read_csv(DATA / "avana_ky_screens/lfc_gene_by_replicate.csv.gz")
    table = table.filter(pl.col("library") == "Avana", pl.col("passes_qc"))
    data = read(table, "lfc", ("gene", "cell_line"))
    assert data.num_rows == table.height
    assert len(data.factors[0].levels) == 883
    assert len(data.factors[1].levels) == table["cell_line"].n_unique()


@needs_data
def test_depmap_melted_from_wide():
    wide = pl.read_csv(DATA / "depmap_24q4_subset/CRISPRGeneEffect.csv.gz", null_values="NA")
    long = wide.unpivot(index="V1", variable_name="gene", value_name="effect")
    data = read(long, "effect", ("gene", "V1"))
    assert data.num_missing == 1543
    assert data.num_rows == 149 * 1178 - 1543
    assert data.notes[0].startswith("1,543 of 175,522 rows (0.9%) have no effect")


# What is wrong with a table

BAD_TEXT = {
    "empty file": ("", ["screen.csv", "is empty"]),
    "header only": ("gene,cell,y\n", ["screen.csv", "no rows"]),
    "first line empty": ("\n" + SMALL, ["screen.csv", "empty line"]),
    "missing column": ("gene,cell,z\nA,x,1\n", ["screen.csv", "no column 'y'", "'z'"]),
    "misspelt column": ("Genes,cell,y\nA,x,1\n", ["no column 'gene'", "did you mean 'Genes'?"]),
    "many columns": (
        "gene,cell," + ",".join(f"q{n}" for n in range(99)),
        ["no column 'y'", "'q7', and 91 more"],
    ),
    "duplicated header": ("gene,gene,cell,y\nA,A,x,1\n", ["2 columns called 'gene'", "rename"]),
    "semicolons": (SMALL.replace(",", ";"), ["single column, 'gene;cell;y'", "commas"]),
    "text response": (
        SMALL + "B,x,high\nB,x,low\n",
        ["screen.csv", "'y' is 'high' in row 5", "not a number"],
    ),
    "decimal comma": (SMALL + 'B,x,"1,5"\n', ["'1,5' in row 5"]),
    "hostile value": (
        SMALL + 'B,x,"\x1b[31m\nred' + "d" * 500 + '"\n',
        [r"'\x1b[31m\nred", "ddd...'", "row 5"],
    ),
    "infinite": (SMALL + "B,x,1\nA,w,-inf\n", ["'y' is infinite in row 6"]),
    "overflow": (SMALL + "B,x,1e999\n", ["'y' is infinite in row 5"]),
    "huge": (SMALL + "B,x,-1e80\n", ["'y' is -1e+80 in row 5", "rescale", "overflow"]),
    "no response": ("gene,cell,y\nA,x,\nB,w,NA\n", ["'y' is missing in every row"]),
    "empty level": (SMALL + ",x,1\n", ["factor 'gene' is missing in row 5", "fill it in"]),
    "quoted empty level": (SMALL + 'A,"",1\n', ["factor 'cell' is missing ('') in row 5"]),
    "blank level": (SMALL + "A,  ,1\n", ["factor 'cell' is missing ('  ') in row 5"]),
    "NA level": (SMALL + "NA,x,1\n,x,1\n", ["factor 'gene' is missing ('NA') in row 5"]),
    "NaN level": (SMALL + "A,x,1\nA,NaN,1\n", ["factor 'cell' is missing ('NaN') in row 6"]),
    "null level": (SMALL + "A,null,1\n", ["factor 'cell' is missing ('null') in row 5"]),
    "level missing after a blank line": (SMALL + "\nA,,1\n", ["'cell' is missing in row 5"]),
    "level missing with its response": (SMALL + "A,,\n", ["'cell' is missing in row 5"]),
    "null character": (SMALL + "A\0B,x,1\n", [r"level 'A\x00B'", "null character"]),
    "long label": (
        SMALL + "x" * 1_000_000 + ",w,1\n",
        ["factor 'gene' has a level 'xxx", "of 1,000,000 characters", "shorten"],
    ),
    "one level": ("gene,cell,y\nA,x,1\nA,w,2\nA,w,3\n", ["'gene' has a single level", "'A'"]),
    "one level left": (
        "gene,cell,y\nA,x,1\nA,w,2\nA,w,3\nB,w,\n",
        ["'gene' has a single level with a response, 'A'"],
    ),
    "every level once": (
        "gene,cell,y\nA,x,1\nB,x,2\nC,w,3\n",
        ["'gene' has as many levels as rows (3)", "add replicates"],
    ),
    "constant": ("gene,cell,y\nA,x,2\nA,w,2\nB,x,2\nB,w,2\n", ["'y' is 2 in every row"]),
    "hardly varies": (
        "gene,cell,y\nA,x,1e-80\nA,w,0\nB,x,0\nB,w,0\n",
        ["varies by only 1e-80", "rescale"],
    ),
    "short line": (SMALL + "B,x\n", ["screen.csv", "row 5 ", "fields: 2, not 3"]),
    "long line": (SMALL + "\nB,x,1,5\n" + SMALL, ["row 5 ", "fields: 4, not 3"]),
    "comma at the end": (SMALL + "B,x,1,\n", ["row 5 ", "fields: 4, not 3"]),
    "long line after quotes": ('gene,cell,y\n"A,B",x,1\nB,x,1,5\n', ["row 2 ", "fields: 4, not 3"]),
    "quote not closed": (SMALL + 'B,"x,1\nB,w,1\n', ["screen.csv", "cannot be read"]),
    "huge header": ("g" * 200_000 + ",cell,y\nA,x,1\n", ["screen.csv", "cannot be read"]),
}


@pytest.mark.parametrize(("text", "wanted"), BAD_TEXT.values(), ids=BAD_TEXT.keys())
def test_bad_text(tmp_path, text, wanted):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        read(path)
    assert_told(error, *wanted)


JUNK = np.random.default_rng(0).bytes(4000)
BAD_BYTES = {
    "latin-1": ("a.csv", (SMALL + "Ä,x,1\n").encode("latin-1"), ["a.csv", "not UTF-8"]),
    "utf-16": ("a.csv", SMALL.encode("utf-16"), ["a.csv", "not UTF-8"]),
    "utf-16 without mark": ("a.csv", SMALL.encode("utf-16-le"), ["a.csv", "not UTF-8"]),
    "junk text": ("a.csv", JUNK, ["a.csv", "not UTF-8"]),
    "cut gzip": ("a.csv.gz", gzip.compress(SMALL.encode())[:-12], ["a.csv.gz", "cannot be read"]),
    "broken gzip": ("a.csv.gz", b"\x1f\x8b" + JUNK, ["a.csv.gz", "cannot be read"]),
    "broken zstd": ("a.csv.zst", b"\x28\xb5\x2f\xfd" + JUNK, ["a.csv.zst", "cannot be read"]),
    "text as parquet": ("a.parquet", SMALL.encode(), ["a.parquet", "cannot be read as Parquet"]),
    "junk parquet": ("a.parquet", b"PAR1" + JUNK + b"PAR1", ["cannot be read as Parquet"]),
    "excel": ("a.xlsx", b"PK\x03\x04", ["a.xlsx", "no kind that can be read", ".csv"]),
    "pickle": ("a.pkl", b"\x80\x04N.", ["a.pkl", "no kind that can be read"]),
    "no suffix": ("table", SMALL.encode(), ["table", "no kind that can be read"]),
    "compressed parquet": ("a.parquet.gz", b"\x1f\x8b", ["no kind that can be read"]),
    "hostile name": ("a\n\x1b[2J.txt", b"a", [r"a\n\x1b[2J.txt", "no kind that can be read"]),
}


@pytest.mark.parametrize(("name", "content", "wanted"), BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_bad_bytes(tmp_path, monkeypatch, name, content, wanted):
    write(tmp_path, content, name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        read(name)
    assert_told(error, *wanted)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("none.csv", "does not exist"), (".", "not a file"), ("a\0b.csv", "does not exist")],
)
def test_no_such_file(tmp_path, monkeypatch, name, wanted):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        read(name)
    assert_told(error, wanted)


def test_damaged_parquet_is_told_or_read(tmp_path):
    frame = pl.DataFrame(
        {"gene": list("AABB") * 50, "cell": list("xwxw") * 50, "y": np.arange(200.0)}
    )
    frame.write_parquet(tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        try:
            read(write(tmp_path, bytes(damaged), "damaged.parquet"))
        except InputError as error:
            assert str(error).isprintable()  # noqa: PT017


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


BAD_NAMES = {
    "one factor": ("y", ("gene",), ["at least two factors, got 1"]),
    "no factor": ("y", (), ["at least two factors, got 0"]),
    "factors in one string": ("y", "gene,cell", ["list of column names"]),
    "no factors at all": ("y", None, ["list of column names"]),
    "a number for factors": ("y", 5, ["list of column names"]),
    "factors without order": ("y", {"gene", "cell"}, ["list of column names"]),
    "no response": (None, ("gene", "cell"), ["must be a column name"]),
    "several responses": (["y"], ("gene", "cell"), ["must be a column name"]),
    "response among factors": ("gene", ("gene", "cell"), ["'gene' is asked for twice"]),
    "factor twice": ("y", ("gene", "cell", "gene"), ["'gene' is asked for twice"]),
    "blank factor": ("y", (" ", "cell"), ["' '", "rename"]),
    "slash in factor": ("y", ("gene/guide", "cell"), ["'gene/guide'", "slash"]),
    "slash in response": ("a/b", ("gene", "cell"), ["'a/b'", "slash"]),
    "dot": ("y", (".", "cell"), ["'.'", "rename"]),
    "control character": ("y", ("gene\n", "cell"), [r"'gene\n'", "control character"]),
    "response called row": ("row", ("gene", "cell"), ["'row'", "rename"]),
    "effect of another factor": (
        "y",
        ("gene", "gene_effect"),
        ["'gene_effect'", "factor 'gene'", "rename"],
    ),
    "effect before its factor": ("y", ("gene_sd", "gene"), ["'gene_sd'", "rename"]),
    "count of another factor": ("y", ("gene", "gene_n"), ["'gene_n'", "factor 'gene'", "rename"]),
    "raw mean of another factor": ("y", ("gene_raw_mean", "gene"), ["'gene_raw_mean'", "rename"]),
    **{
        f"factor called {name}": ("y", (name, "cell"), [f"factor '{name}'", "the model itself"])
        for name in ("intercept", "sigma", "chain", "draw", "row", "lp", "probability")
    },
}


@pytest.mark.parametrize(
    ("response", "factors", "wanted"), BAD_NAMES.values(), ids=BAD_NAMES.keys()
)
def test_bad_names(tmp_path, response, factors, wanted):
    path = write(tmp_path, SMALL)
    with pytest.raises(InputError) as error:
        read(path, response, factors)
    assert_told(error, *wanted)
