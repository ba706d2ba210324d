"""What a table becomes, whatever it is read from."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from reading import SMALL, assert_same, assert_told, read, write

from crossed_jax.errors import InputError

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the shared data are not here")


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


def test_more_than_two_factors(tmp_path):
    text = "a,b,c,y\n1,1,1,0\n1,2,2,1\n2,1,2,2\n2,2,1,3\n1,1,2,4\n"
    data = read(write(tmp_path, text), factors=("c", "a", "b"))
    assert data.factor_names == ("c", "a", "b")


@pytest.mark.parametrize(
    "name", ["a.csv", "a.CSV", "b.c.csv", "a.csv.gz", "a.CSV.GZ", "a[1]*.csv", "two words.csv"]
)
def test_suffix_decides_whatever_its_case(tmp_path, name):
    content = gzip.compress(SMALL.encode()) if name.lower().endswith("gz") else SMALL
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


# Missing responses


def test_missing_responses_are_left_out_counted_and_told(tmp_path):
    spellings = ["", '""', "NA", "NaN", "nan", "null", "N/A", " "]
    rows = [f"{gene},{cell},{n}" for n, gene in enumerate("AB") for cell in ("x", "w", "x")]
    rows += [f"A,x,{text}" for text in spellings]
    data = read(write(tmp_path, "\n".join(["gene,cell,y", *rows])))
    assert (data.num_rows, data.num_missing) == (6, 8)
    assert data.notes == ("8 of 14 rows (57.1%) have no value of y and were left out.",)


def test_levels_without_any_response_are_left_out_and_named(tmp_path):
    text = "gene,cell,y\nLost,x,\nA,x,1\nA,w,2\nB,x,3\nB,gone,NA\nB,w,5\n"
    data = read(write(tmp_path, text))
    gene, cell = data.factors
    assert (gene.levels, cell.levels) == (("A", "B"), ("x", "w"))
    np.testing.assert_array_equal(gene.codes, [0, 0, 1, 1])
    np.testing.assert_array_equal(cell.codes, [0, 1, 0, 1])
    assert gene.codes.dtype == np.int32
    assert data.notes == (
        "2 of 6 rows (33.3%) have no value of y and were left out.",
        "1 level of gene has no value of y at all and was left out: 'Lost'.",
        "1 level of cell has no value of y at all and was left out: 'gone'.",
    )


def test_only_the_first_lost_levels_are_named(tmp_path):
    lost = "".join(f"L{n},x,\n" for n in range(7))
    (_, note) = read(write(tmp_path, SMALL + lost)).notes
    assert note.endswith("7 levels of gene have no value of y at all and were left out: "
                         "'L0', 'L1', 'L2', 'L3', 'L4', and 2 more.")  # fmt: skip


def test_a_small_share_is_not_rounded_to_nothing():
    frame = pl.DataFrame({"i": range(5000)}).select(
        gene=pl.col("i") % 7, cell=pl.col("i") % 5, y=pl.when(pl.col("i") > 0).then(pl.col("i"))
    )
    assert read(frame).notes == (
        "1 of 5,000 rows (under 0.1%) has no value of y and was left out.",
    )


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
    assert data.notes[0].startswith("1,543 of 175,522 rows (0.9%) have no value of effect")


# What is no table


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
