"""``crossed-jax fit --wide``: a matrix is fitted, resumed and recorded, and told from a table."""

import json

import numpy as np
import polars as pl
import pytest
from command_line import GOOD, assert_refused, crossed_jax, draws_in, fit

LINE_AND_GENE = ("--factors", "line,gene")


def write_matrix(path, num_genes=12):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(8, 1)) + rng.normal(size=num_genes) + rng.normal(size=(8, num_genes))
    columns = {f"GENE{k} ({k})": values[:, k].round(4).tolist() for k in range(num_genes)}
    columns["GENE3 (3)"][2] = None
    pl.DataFrame({"": [f"ACH-{k}" for k in range(8)], **columns}).write_csv(path)


def test_a_matrix_is_fitted_resumed_and_recorded(tmp_path):
    write_matrix(tmp_path / "m.csv")
    options = ("--chains", 2, "--warmup", 300, "--draws", 100, "--no-figures", "--quiet")
    checkpoint = ("--checkpoint", tmp_path / "run")
    out = tmp_path / "out"
    done = fit(tmp_path / "m.csv", out, "--wide", *LINE_AND_GENE, *options, *checkpoint)
    assert done.code in (0, 3), done.err
    told = json.loads((out / "run.json").read_text())["input"]
    assert (told["wide"], told["num_rows"], told["num_missing"]) == (True, 95, 1)
    assert told["notes"][0].startswith("1 of 96 cells (1.0%) has no value of logfc")
    assert draws_in(out).coords["gene"].values[0] == "GENE0 (0)"
    assert crossed_jax("resume", tmp_path / "run", "--extend", 50, "--quiet").code in (0, 3)
    assert draws_in(out).sizes["draw"] == 150


def test_a_matrix_without_the_flag_is_told(folder):
    write_matrix(folder / "m.csv")
    assert_refused(
        fit("m.csv", "out", *LINE_AND_GENE), "m.csv", "looks like a matrix", "add --wide."
    )


@pytest.mark.parametrize("response", ["logfc", "other"])
def test_a_table_with_the_flag_is_told(folder, response):
    (folder / "table.csv").write_text(GOOD)
    outcome = fit("table.csv", "out", "--wide", response=response)
    assert_refused(outcome, "table.csv", "leave out --wide.")


@pytest.mark.parametrize("flag", ["--nested", "--sample"])
def test_a_matrix_has_no_further_columns(folder, flag):
    write_matrix(folder / "m.csv")
    asked = ("m.csv", "--response", "logfc", "--out", "out", "--wide", *LINE_AND_GENE)
    for command in ("fit", "compare"):
        assert_refused(crossed_jax(command, *asked, flag, "guide"), f"no column for {flag}")
