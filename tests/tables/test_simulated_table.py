"""Synthetic screens as files: rows as they are nested, whole or not at all, and read back."""

import numpy as np
import polars as pl
import pytest

from crossed_jax.errors import InputError
from crossed_jax.tables.read import read_table
from crossed_jax.tables.simulate import simulate_screen
from crossed_jax.tables.simulated_table import require_replaceable, screen_frame, write_table


def assert_same_table(data, expected):
    np.testing.assert_array_equal(data.response, expected.response)
    for read, drawn in zip(data.factors, expected.factors, strict=True):
        assert read.levels == drawn.levels
        np.testing.assert_array_equal(read.codes, drawn.codes)


def test_rows_are_nested_as_gene_cell_line_replicate():
    frame = screen_frame(simulate_screen(num_genes=2, num_cell_lines=2, num_replicates=2))
    assert frame.columns == ["gene", "cell_line", "replicate", "logfc"]
    assert frame["gene"].to_list() == ["gene_1"] * 4 + ["gene_2"] * 4
    assert frame["cell_line"].to_list() == ["line_1", "line_1", "line_2", "line_2"] * 2
    assert frame["replicate"].to_list() == [1, 2] * 4


def test_replicates_count_from_one_within_each_combination():
    simulation = simulate_screen(num_genes=9, num_replicates=(1, 3), missing=0.4, seed=1)
    frame = screen_frame(simulation)
    within = pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("gene", "cell_line")
    np.testing.assert_array_equal(frame["replicate"], frame.select(within).to_series())


def test_incomplete_screen_reads_back_from_parquet_with_its_levels_in_order(tmp_path):
    simulation = simulate_screen(num_genes=30, num_replicates=(1, 3), missing=0.5)
    assert simulation.data.factors[1].codes[0] > 0, "the first line must not come first"
    write_table(screen_frame(simulation), tmp_path / "screen.parquet")
    data = read_table(tmp_path / "screen.parquet", response="logfc", factors=("gene", "cell_line"))
    assert_same_table(data, simulation.data)


@pytest.mark.parametrize("name", ["screen.csv", "screen.tsv", "screen.TAB", "screen.parquet"])
def test_written_screen_reads_back_bit_for_bit(tmp_path, name):
    simulation = simulate_screen(num_genes=11, seed=2)
    write_table(screen_frame(simulation), tmp_path / name)
    data = read_table(tmp_path / name, response="logfc", factors=("gene", "cell_line"))
    assert_same_table(data, simulation.data)


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "screen.csv"
    path.write_text("old")
    write_table(screen_frame(simulate_screen()), str(path))
    assert path.read_text().startswith("gene,cell_line,replicate,logfc\n")
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "screen.csv"
    path.write_text("old")
    with pytest.raises(InputError):
        write_table(pl.DataFrame({"nested": [[1]]}), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, pl.exceptions.ComputeError])
def test_a_full_disk_is_told(tmp_path, monkeypatch, error):
    def full(*_, **__):
        raise error("No space left on device (os error 28)")

    monkeypatch.setattr(pl.DataFrame, "write_csv", full)
    with pytest.raises(InputError, match=r"\(No space left on device\)"):
        write_table(screen_frame(simulate_screen()), tmp_path / "screen.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("screen.xlsx", "name it .csv, .tsv or .parquet"),
        ("screen", "name it .csv, .tsv or .parquet"),
        ("nowhere/screen.csv", "No such file or directory"),
        ("folder.csv", "Is a directory"),
        ("a\0b.csv", "cannot write"),
        ("x" * 300 + ".csv", "File name too long"),
    ],
)
def test_bad_path_is_told(tmp_path, name, wanted):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError) as error:
        write_table(screen_frame(simulate_screen()), tmp_path / name)
    assert wanted in str(error.value)
    assert str(error.value).isprintable()
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv"]


def test_guides_have_a_column_and_read_back(tmp_path):
    simulation = simulate_screen(num_genes=4, num_cell_lines=3, num_replicates=2, num_guides=2)
    path = tmp_path / "guides.csv"
    for _ in range(2):  # over an earlier one
        require_replaceable(path)
        write_table(screen_frame(simulation), path)
    assert screen_frame(simulation).columns == ["gene", "cell_line", "guide", "replicate", "logfc"]
    read = read_table(path, response="logfc", factors=("gene", "cell_line"), nested="guide")
    assert read.digest() == simulation.data.digest()
    np.testing.assert_array_equal(read.nested.parent_of_unit, simulation.data.nested.parent_of_unit)
    assert screen_frame(simulation)["replicate"].to_list() == [1, 2] * 24
