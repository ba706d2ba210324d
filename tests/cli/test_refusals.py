"""Bad input, told in one line on stderr with exit code 2; nothing is sampled, nothing left."""

import errno
import gzip
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import GOOD, Outcome, assert_refused, contents, crossed_jax, fit, paths

JUNK = np.random.default_rng(0).bytes(500)


def parquet(columns):
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


BAD_TABLES = {
    "empty file": ("a.csv", "", ["a.csv", "is empty"]),
    "header only": ("a.csv", "gene,cell_line,logfc\n", ["a.csv", "no rows"]),
    "binary as csv": ("a.csv", b"\x93" + JUNK, ["a.csv"]),
    "not utf-8": ("a.csv", GOOD.replace("A", "\xe9").encode("latin-1"), ["a.csv", "UTF-8"]),
    "text as parquet": ("a.parquet", GOOD, ["a.parquet", "cannot be read as Parquet"]),
    "broken gzip": ("a.csv.gz", gzip.compress(GOOD.encode())[:-12], ["a.csv.gz", "cannot be read"]),
    "unknown suffix": ("a.xlsx", GOOD, ["a.xlsx", "no kind that can be read", ".csv"]),
    "semicolons": ("a.csv", GOOD.replace(",", ";"), ["a.csv", "single column", "commas"]),
    "misspelt column": ("a.csv", GOOD.replace("gene", "Gene"), ["'gene'", "did you mean 'Gene'?"]),
    "duplicated header": (
        "a.csv",
        "gene,gene,cell_line,logfc\nA,A,x,1\n",
        ["a.csv", "2 columns called 'gene'"],
    ),
    "short line": ("a.csv", GOOD + "B,x\n", ["a.csv", "row 6", "fields: 2, not 3"]),
    "long line": ("a.csv", GOOD + "B,x,1,5\n", ["a.csv", "row 6", "fields: 4, not 3"]),
    "text response": ("a.csv", GOOD + "B,x,high\n", ["'logfc' is 'high' in row 6"]),
    "infinite response": ("a.csv", GOOD + "B,x,inf\n", ["'logfc' is infinite in row 6"]),
    "booleans as response": (
        "a.parquet",
        parquet({"gene": [1, 2], "cell_line": [1, 2], "logfc": [True, False]}),
        ["a.parquet", "'logfc' has type Boolean"],
    ),
    "control characters": (
        "a.csv",
        GOOD + 'B,x,"\x1b[31m\r\nred"\n',
        [r"'\x1b[31m", "row 6", "not a number"],
    ),
    "all missing": ("a.csv", "gene,cell_line,logfc\nA,x,\nB,w,NA\n", ["missing in every row"]),
    "constant response": (
        "a.csv",
        "gene,cell_line,logfc\nA,x,2\nA,w,2\nB,x,2\n",
        ["a.csv", "'logfc' is 2 in every row"],
    ),
    "no noise": (
        "a.csv",
        "gene,cell_line,logfc\nA,x,1\nA,w,2\nB,x,5\nB,w,6\nC,x,0\nC,w,1\n",
        ["reproduces the response to within 1e-06"],
    ),
    "missing level": ("a.csv", GOOD + ",x,1\n", ["a.csv", "'gene' is missing in row 6"]),
    "one level": (
        "a.csv",
        "gene,cell_line,logfc\nA,x,1\nA,w,2\nA,w,3\n",
        ["'gene' has a single level", "'A'"],
    ),
    "as many levels as rows": (
        "a.csv",
        "gene,cell_line,logfc\nA,x,1\nB,x,2\nC,w,3\n",
        ["'gene' has as many levels as rows (3)"],
    ),
    "null character in a level": ("a.csv", GOOD + "A\0B,x,1\n", [r"'A\x00B'", "null character"]),
}

BAD_ARGUMENTS = {
    "no such file": ("none.csv", [], ["none.csv does not exist"]),
    "directory as table": (".", [], ["is not a file"]),
    "no such response": ("good.csv", ["--response", "lfc"], ["'lfc'", "did you mean 'logfc'?"]),
    "no such factor": ("good.csv", ["--factors", "gene,plate"], ["good.csv", "no column 'plate'"]),
    "response among factors": ("good.csv", ["--factors", "gene,logfc"], ["'logfc'", "twice"]),
    "factor twice": ("good.csv", ["--factors", "gene,gene"], ["'gene' is asked for twice"]),
    "single factor": ("good.csv", ["--factors", "gene"], ["at least two factors, got 1"]),
    "empty factor name": (
        "good.csv",
        ["--factors", "gene,"],
        ["--factors 'gene,'", "one comma between"],
    ),
    "no factor name": ("good.csv", ["--factors", ""], ["at least two factors"]),
    "factor with control character": ("good.csv", ["--factors", "a\x1bb,gene"], [r"'a\x1bb'"]),
    "one column whose name has a comma": (
        "good.csv",
        ["--factors", "gene,cell_line", "--factors", "gene"],
        ["good.csv has no column 'gene,cell_line'"],
    ),
    "reserved name": ("good.csv", ["--factors", "sigma,gene"], ["'sigma'", "the model itself"]),
    "clashing names": ("good.csv", ["--factors", "gene,gene_sd"], ["'gene_sd'", "factor 'gene'"]),
    "reserved response": ("good.csv", ["--response", "draw"], ["'draw'", "rename"]),
    "no chains": ("good.csv", ["--chains", "0"], ["number of chains is 0", "1 or more"]),
    "no draws": ("good.csv", ["--draws", "0"], ["number of draws is 0", "4 or more"]),
    "too few draws": ("good.csv", ["--draws", "3"], ["number of draws is 3", "4 or more"]),
    "chains beyond memory": ("good.csv", ["--chains", "10000000000"], ["chains need", "or fewer"]),
    "endless warm-up": ("good.csv", ["--warmup", "1000000000000"], ["steps need", "or fewer"]),
    "no warm-up": ("good.csv", ["--warmup", "0"], ["warm-up steps is 0", "1 or more"]),
    "negative warm-up": ("good.csv", ["--warmup", "-5"], ["warm-up steps is -5"]),
    "target 0": ("good.csv", ["--target-accept", "0"], ["target acceptance rate is 0.0"]),
    "target 1.5": ("good.csv", ["--target-accept", "1.5"], ["target acceptance rate is 1.5"]),
    "target nan": ("good.csv", ["--target-accept", "nan"], ["target acceptance rate is nan"]),
    "negative seed": ("good.csv", ["--seed", "-1"], ["seed is -1", "0 to 2**63 - 1"]),
    "huge seed": ("good.csv", ["--seed", str(2**63)], ["seed is 9223372036854775808"]),
    "out is a file": ("good.csv", ["--out", "good.csv"], ["'good.csv'", "is a file", "--out"]),
    "out below a file": ("good.csv", ["--out", "good.csv/a/b"], ["'good.csv/a/b'", "--out"]),
    "out of too long a name": ("good.csv", ["--out", "x" * 300], ["too long", "--out"]),
}

BAD_SIMULATIONS = {
    "one gene": (["--genes", "1"], ["number of genes is 1"]),
    "no cell lines": (["--cell-lines", "0"], ["number of cell lines is 0"]),
    "no replicates": (["--replicates", "0"], ["number of replicates is 0"]),
    "too many rows": (["--genes", "100000", "--cell-lines", "100000"], ["rows is too large"]),
    "negative seed": (["--seed", "-1"], ["seed is -1"]),
    "unknown suffix": (["--out", "screen.xlsx"], ["'screen.xlsx'", ".parquet"]),
    "no such folder": (["--out", "none/screen.csv"], ["'none/screen.csv'", "folder"]),
    "a folder": (["--out", "folder.csv"], ["'folder.csv'"]),
    "a user's table": (["--out", "good.csv"], ["'good.csv'", "not a simulated screen"]),
    "any file": (["--out", "mine.parquet"], ["'mine.parquet'", "not a simulated screen"]),
}


@pytest.mark.parametrize(("name", "content", "wanted"), BAD_TABLES.values(), ids=BAD_TABLES.keys())
def test_bad_tables_are_refused_in_one_line_and_nothing_is_left(folder, name, content, wanted):
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    before = contents(folder)
    assert_refused(fit(name, "out"), *wanted)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("table", "options", "wanted"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS.keys()
)
def test_bad_arguments_are_refused_in_one_line_and_nothing_is_left(folder, table, options, wanted):
    before = contents(folder)
    assert_refused(fit(table, "out", *options), *wanted)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("options", "wanted"), BAD_SIMULATIONS.values(), ids=BAD_SIMULATIONS.keys()
)
def test_bad_simulations_are_refused_in_one_line_and_nothing_is_left(folder, options, wanted):
    before = contents(folder)
    assert_refused(crossed_jax("simulate", "--out", "screen.csv", *options), *wanted)
    assert contents(folder) == before


def test_a_demo_that_cannot_be_written_is_refused(folder):
    before = contents(folder)
    assert_refused(crossed_jax("demo", "--out", "good.csv"), "'good.csv'", "is a file")
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["good.csv", "run.json", "figures/mine.png"])
def test_no_file_of_the_users_is_replaced(folder, name):
    (folder / "out" / name).parent.mkdir(parents=True)
    (folder / "out" / name).write_text(GOOD)
    before = contents(folder)
    assert_refused(fit("good.csv", "out"), "'out'", Path(name).parts[0], "new or empty")
    assert_refused(fit("out/good.csv", "out"), "'out'", "new or empty")
    assert_refused(fit("good.csv", "."), "'good.csv' lies in it and would be replaced")
    assert_refused(crossed_jax("demo", "--out", "out"), "'out'", "new or empty")
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("out", "checkpoint"), [("run", "run"), ("run/out", "run"), ("o", "o/run")]
)
def test_results_and_checkpoint_are_kept_apart(folder, out, checkpoint):
    before = contents(folder)
    assert_refused(fit("good.csv", out, "--checkpoint", checkpoint), "--out")
    assert contents(folder) == before


def test_a_failure_of_the_system_is_told_in_one_line(folder, monkeypatch):
    def unsearchable(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "locked/run")

    monkeypatch.setattr("crossed_jax.cli.resume.load_command", unsearchable)
    assert_refused(crossed_jax("resume", "locked/run"), "'locked/run'", "Permission denied")


def test_bad_input_is_told_in_a_process_of_its_own(tmp_path):
    script = "from crossed_jax.cli.main import main; main()"
    arguments = ["fit", "none.csv", "--response=y", "--factors=a,b", "--out=out"]
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert_refused(Outcome(ended.returncode, ended.stdout, ended.stderr), "none.csv does not exist")
    assert paths(tmp_path) == set()


def test_an_interrupted_fit_leaves_nothing(folder, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("crossed_jax.fitting.sample", interrupt)
    before = contents(folder)
    outcome = fit("good.csv", "out")
    assert outcome == (130, "", "crossed-jax: interrupted; nothing was written.\n")
    assert contents(folder) == before
