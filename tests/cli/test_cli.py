"""Tests of the command line: what it writes, what it says, its exit codes, and all it refuses."""

import errno
import gzip
import hashlib
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import polars as pl
import pytest
import xarray as xr
from example_tables import SHARED
from rich.text import Text

import crossed_jax as cj
from crossed_jax.cli import main as cli
from crossed_jax.files.whole import locked
from crossed_jax.sampling.cache_directory import describe_cache

PENICILLIN = SHARED / "penicillin" / "Penicillin.csv"
FILES = {
    ".crossed_jax.json",
    "posterior.nc",
    "effects.csv",
    "variance_components.csv",
    "diagnostics.json",
    "run.json",
    "figures",
    "figures/raw_data.png",
    "figures/effects.png",
    "figures/hyperparameters.png",
    "figures/posterior_predictive.png",
}


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def crossed_jax(*arguments):
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    coloured = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    environment = {name: value for name, value in os.environ.items() if name not in coloured}
    with (
        mock.patch.object(sys, "argv", ["crossed-jax", *map(str, arguments)]),
        mock.patch.dict(os.environ, environment, clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = cli.run()
    return Outcome(code, out.getvalue(), err.getvalue())


def fit(table, out, *options, response="logfc", factors="gene,cell_line"):
    columns = () if "--factors" in options else ("--factors", factors)
    return crossed_jax("fit", table, "--response", response, *columns, "--out", out, *options)


def contents(folder):
    """Map every path below a folder, hidden ones included, to its bytes, or None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


def paths(folder):
    return set(contents(folder))


def strict_json(path):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


# What is refused

GOOD = "gene,cell_line,logfc\nA,x,1.5\nA,w,2\nB,x,-3\nB,w,4e-1\nA,x,1\n"
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

USAGE_ERRORS = {
    "unknown command": (["fits"], "no such command 'fits'. Did you mean 'fit'?"),
    "no table": (
        ["fit", "--response", "y", "--factors", "a,b", "--out", "out"],
        "missing argument 'table': see crossed-jax fit --help.",
    ),
    "no response": (
        ["fit", "good.csv", "--factors", "gene,cell_line", "--out", "out"],
        "missing option '--response': see crossed-jax fit --help.",
    ),
    "unknown option": (
        ["fit", "good.csv", "--banana"],
        "there is no option '--banana': see crossed-jax fit --help.",
    ),
    "misspelt option": (
        ["fit", "good.csv", "--factor", "gene"],
        "there is no option '--factor': did you mean --factors?",
    ),
    "option with control character": (
        ["fit", "good.csv", "--ba\x1bnana"],
        r"there is no option '--ba\x1bnana': see crossed-jax fit --help.",
    ),
    "option without its value": (
        ["fit", "good.csv", "--out"],
        "option '--out' requires an argument: see crossed-jax --help.",
    ),
    "unknown form": (
        ["fit", "good.csv", "--parameterization", "best"],
        "--parameterization is 'best': give one of 'auto', 'original', 'design_matrix', "
        "'sum_to_zero', 'collapsed'.",
    ),
    "unknown priors": (
        ["fit", "good.csv", "--priors", "flat"],
        "--priors is 'flat': give one of 'post', 'scaled'.",
    ),
    "chains in words": (
        ["fit", "good.csv", "--chains", "two"],
        "--chains is 'two': give a whole number.",
    ),
    "rate in words": (
        ["fit", "good.csv", "--target-accept", "high"],
        "--target-accept is 'high': give a number.",
    ),
    "fewer draws": (["resume", "run", "--extend", "-3"], "--extend is '-3': give 0 or more."),
    "simulate to nowhere": (
        ["simulate"],
        "missing option '--out': see crossed-jax simulate --help.",
    ),
    "demo with an argument": (
        ["demo", "screen.csv"],
        "got unexpected extra argument(s) (screen.csv): see crossed-jax demo --help.",
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with a good table, where nothing may be sampled."""

    def sampled(*_, **__):
        raise AssertionError("bad input was sampled")

    monkeypatch.setattr("crossed_jax.fitting.sample", sampled)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "mine.parquet").write_text("mine")
    return tmp_path


def assert_refused(outcome, *wanted):
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    assert outcome.err.startswith("crossed-jax: ")
    assert outcome.err.endswith("\n")
    assert outcome.err[:-1].isprintable()
    for text in wanted:
        assert text in outcome.err


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


@pytest.mark.parametrize(("arguments", "message"), USAGE_ERRORS.values(), ids=USAGE_ERRORS.keys())
def test_wrong_usage_is_told_in_one_line(folder, arguments, message):
    before = contents(folder)
    assert crossed_jax(*arguments) == (2, "", f"crossed-jax: {message}\n")
    assert contents(folder) == before


def test_without_arguments_it_is_help_that_is_wanted():
    assert crossed_jax() == crossed_jax("--help")


def test_a_failure_of_the_system_is_told_in_one_line(folder, monkeypatch):
    def unsearchable(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "locked/run")

    monkeypatch.setattr("crossed_jax.sampling.checkpoint.load_command", unsearchable)
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


@pytest.mark.parametrize(
    "options",
    [["--factors", " cell line, gene"], ["--factors", "cell line", "--factors", "a,b"]],
    ids=["in one", "one by one"],
)
def test_columns_with_spaces_and_commas_are_reached(folder, monkeypatch, options):
    asked = []
    monkeypatch.setattr("crossed_jax.fitting.fit", lambda data, **_: asked.append(data) or 1 / 0)
    (folder / "odd.csv").write_text('cell line,"a,b",gene,logfc\nA,x,x,1\nA,w,w,2\nB,x,x,-3\n')
    with pytest.raises(ZeroDivisionError):
        fit("odd.csv", "out", *options)
    assert asked[0].factor_names == ("cell line", "gene" if len(options) == 2 else "a,b")


def test_an_interrupted_fit_leaves_nothing(folder, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("crossed_jax.fitting.sample", interrupt)
    before = contents(folder)
    outcome = fit("good.csv", "out")
    assert outcome == (130, "", "crossed-jax: interrupted; nothing was written.\n")
    assert contents(folder) == before


# What help says, and how soon


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--help"], ["fit", "simulate", "demo"]),
        (
            ["fit", "--help"],
            [
                *("--response", "--factors", "--out", "--parameterization", "sum_to_zero"),
                *("--priors", "scaled", "--chains", "--warmup", "--draws", "--seed"),
                *("--target-accept", "--quiet"),
            ],
        ),
        (["simulate", "--help"], ["--genes", "--cell-lines", "--replicates", "--seed", "--out"]),
        (["demo", "--help"], ["--out", "--quiet"]),
    ],
    ids=["app", "fit", "simulate", "demo"],
)
def test_help(arguments, wanted):
    outcome = crossed_jax(*arguments)
    assert (outcome.code, outcome.err) == (0, "")
    plain = Text.from_ansi(outcome.out).plain
    for text in wanted:
        assert text in plain


def test_help_needs_no_heavy_imports():
    script = """
import sys
import time
from crossed_jax.cli.main import run
sys.argv = ["crossed-jax", "fit", "--help"]
assert run() == 0
heavy = {"jax", "numpy", "polars", "xarray", "matplotlib", "arviz_stats"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


# simulate


def test_simulate_writes_the_same_bytes_for_the_same_seed(tmp_path):
    for name, seed in (("a.csv", 5), ("b.csv", 5), ("c.csv", 6)):
        assert crossed_jax("simulate", "--seed", seed, "--out", tmp_path / name) == (0, "", "")
    written = contents(tmp_path)
    assert written["a.csv"] == written["b.csv"] != written["c.csv"]


def test_simulate_writes_the_same_screen_in_every_format_over_an_earlier_one(tmp_path):
    screens = []
    for name in ("a.csv", "a.tsv", "a.parquet"):
        options = ("--genes", 4, "--cell-lines", 5, "--replicates", 2, "--out", tmp_path / name)
        assert crossed_jax("simulate", "--genes", 20, *options[2:]).code == 0
        assert crossed_jax("simulate", *options).code == 0
        screens.append(
            cj.read_table(tmp_path / name, response="logfc", factors=("gene", "cell_line"))
        )
    for screen in screens:
        assert [len(factor.levels) for factor in screen.factors] == [4, 5]
        assert screen.num_rows == 40
        np.testing.assert_array_equal(screen.response, screens[0].response)


# fit: one converged run of a simulated screen, with a table of the post's size

# the same chains and warm-up throughout, so that each form is compiled once for the screen's size
CHAINS = ("--chains", 2, "--warmup", 300)
SETTINGS = (
    *CHAINS,
    *("--draws", 2000, "--target-accept", 0.95, "--parameterization", "sum_to_zero"),
)


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    path = tmp_path_factory.mktemp("screen") / "screen.csv"
    assert crossed_jax("simulate", "--seed", 1, "--out", path).code == 0
    return path


@pytest.fixture(scope="module")
def converged(screen):
    out = screen.with_name("converged")
    return out, fit(screen, out, *SETTINGS, "--seed", 3)


@pytest.mark.parametrize("keep", ["draws", "summary"])
def test_a_fit_by_default_collapses_and_records_its_approximation(screen, tmp_path, keep):
    lines = screen.read_text().splitlines(keepends=True)
    unbalanced = tmp_path / "unbalanced.csv"
    unbalanced.write_text("".join(lines[:-1]))
    out = tmp_path / "out"
    outcome = fit(unbalanced, out, "--seed", 1, "--keep-effects", keep, "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    run = strict_json(out / "run.json")
    assert run["parameterization"] == "collapsed"
    assert run["interpolation_error"] == {}  # nothing is interpolated in so small a table
    assert run["seconds"].keys() >= {"collapse", "warmup", "sample", "effects", "moments"}
    effects = pl.read_csv(out / "effects.csv")
    assert len(effects) == 13
    assert effects["mean"].null_count() == 0
    figures = {name for name in FILES if name.startswith("figures/")}
    if keep == "summary":
        figures -= {"figures/posterior_predictive.png"}
    assert {f"figures/{name}" for name in paths(out / "figures")} == figures


def test_no_figures_on_request(screen, tmp_path):
    assert fit(screen, tmp_path / "out", "--draws", 1000, "--no-figures").code == 0
    assert not (tmp_path / "out" / "figures").exists()


def test_a_converged_fit_exits_0_and_says_so_on_stderr_alone(converged):
    out, outcome = converged
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.startswith("Converged.\n")
    assert outcome.err.endswith(f"Results are in {out}.\n")


def test_no_progress_is_drawn_where_there_is_no_terminal(converged):
    assert "\x1b" not in converged[1].err
    assert "\r" not in converged[1].err
    assert "warm-up" not in converged[1].err


def test_a_fit_finds_what_was_simulated(converged):
    effects = pl.read_csv(converged[0] / "effects.csv")
    truth = cj.simulate_screen(seed=1).truth
    for factor in ("gene", "cell_line"):
        found = effects.filter(factor=factor)
        error = (found["mean"].to_numpy() - truth[f"{factor}_effect"]) / found["sd"].to_numpy()
        assert np.abs(error).max() < 4


def test_quiet_says_nothing_of_a_converged_fit_and_the_seed_gives_the_same_bytes(screen, converged):
    out = screen.with_name("again")
    outcome = fit(screen, out, *SETTINGS, "--seed", 3, "--quiet")
    assert outcome == (0, "", "")
    first, again = contents(converged[0]), contents(out)
    for name in ("effects.csv", "variance_components.csv", "diagnostics.json"):
        assert first[name] == again[name]


# fit, on Penicillin


@pytest.fixture(scope="module")
def penicillin(tmp_path_factory):
    if not PENICILLIN.exists():
        pytest.skip("../shared is not beside the clone")
    out = tmp_path_factory.mktemp("penicillin") / "out"
    names = {"response": "diameter", "factors": "plate,sample"}
    outcome = fit(PENICILLIN, out, *SETTINGS, "--priors", "scaled", "--seed", 5, **names)
    assert outcome.code == 0, outcome.err
    return out


def test_a_fit_writes_these_files_and_no_others(penicillin):
    assert paths(penicillin) == FILES
    assert paths(penicillin.parent) == {"out", *(f"out/{name}" for name in FILES)}


def test_effects_have_their_columns_and_sum_to_zero(penicillin):
    effects = pl.read_csv(penicillin / "effects.csv")
    assert effects.columns == [
        *("factor", "level", "n", "raw_mean", "mean", "sd", "lower", "upper", "ess_bulk", "r_hat")
    ]
    assert effects["factor"].to_list() == ["plate"] * 24 + ["sample"] * 6
    assert effects.filter(factor="plate")["n"].to_list() == [6] * 24
    assert effects.filter(factor="sample")["n"].to_list() == [24] * 6
    for _, of_factor in effects.group_by("factor"):
        assert of_factor["mean"].sum() == pytest.approx(0, abs=1e-12)
    assert (effects["lower"] < effects["mean"]).all()
    assert (effects["mean"] < effects["upper"]).all()


def test_variance_components_have_their_columns_and_share_one(penicillin):
    components = pl.read_csv(penicillin / "variance_components.csv")
    assert components.columns == [
        *("component", "sd_mean", "sd_sd", "lower", "upper", "share_of_variance")
    ]
    assert components["component"].to_list() == ["plate", "sample", "sigma"]
    assert components["share_of_variance"].sum() == pytest.approx(1)


def test_diagnostics_are_strict_json(penicillin):
    diagnostics = strict_json(penicillin / "diagnostics.json")
    assert diagnostics["converged"] is True
    assert diagnostics["reasons"] == []
    assert diagnostics["max_r_hat"] < 1.01
    assert diagnostics["min_ess_bulk"] > 200
    assert diagnostics["min_ess_tail"] > 200
    assert diagnostics["max_tree_depth_hits"] == 0
    assert {"divergences", "warnings", "ridge"} <= set(diagnostics)


def test_the_run_is_on_record(penicillin):
    run = strict_json(penicillin / "run.json")
    assert (run["seed"], run["num_chains"], run["num_warmup"], run["num_draws"]) == (
        5,
        2,
        300,
        2000,
    )
    assert (run["parameterization"], run["priors"]["name"]) == ("sum_to_zero", "scaled")
    assert run["input"] == {
        "source": str(PENICILLIN),
        "sha256": hashlib.sha256(PENICILLIN.read_bytes()).hexdigest(),
        "response": "diameter",
        "factors": ["plate", "sample"],
        "num_rows": 144,
        "num_missing": 0,
        "notes": [],
    }
    assert {"python", "crossed-jax", "jax", "blackjax"} <= set(run["versions"])
    assert run["device"]
    assert run["cache"] == describe_cache()
    for part in ("read", "compile", "warmup", "sample", "write"):
        assert math.isfinite(run["seconds"][part])
        assert run["seconds"][part] > 0


def test_the_posterior_opens_anywhere(penicillin):
    with xr.open_datatree(penicillin / "posterior.nc", engine="h5netcdf") as tree:
        assert dict(tree["posterior"].sizes) == {"chain": 2, "draw": 2000, "plate": 24, "sample": 6}
        assert cj.effects(tree).equals(pl.read_csv(penicillin / "effects.csv"))


def test_figures_are_png(penicillin):
    for path in (penicillin / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG\r\n")


# fit, in the original form


@pytest.fixture(scope="module")
def ridge(screen):
    out = screen.with_name("ridge")
    options = ("--parameterization", "original", *CHAINS, "--draws", 100)
    return out, fit(screen, out, *options, "--quiet")


def test_a_fit_that_did_not_converge_exits_3_and_says_why_even_when_quiet(ridge):
    _, outcome = ridge
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith("NOT CONVERGED: do not trust these draws.\n")
    reasons = outcome.err.split("Why not:\n")[1]
    assert "The draws lie on a ridge" in reasons
    assert "--parameterization sum_to_zero" in reasons


def test_a_fit_that_did_not_converge_is_written_all_the_same(ridge):
    out, outcome = ridge
    assert paths(out) == FILES
    diagnostics = strict_json(out / "diagnostics.json")
    assert diagnostics["converged"] is False
    assert diagnostics["ridge"]["correlation"] < -0.99
    for reason in diagnostics["reasons"]:
        assert reason in outcome.err


# fit, once more: what was there before, and what labels may hold


@pytest.fixture
def fitted_at_once(converged, monkeypatch):
    """Let every fit be the one that was made."""
    with xr.open_datatree(converged[0] / "posterior.nc", engine="h5netcdf") as tree:
        loaded = tree.load()
    monkeypatch.setattr("crossed_jax.fitting.fit", lambda *_, **__: loaded)
    monkeypatch.setattr("crossed_jax.results.plots.save_figures", lambda *_: {})


@pytest.mark.usefixtures("fitted_at_once")
def test_an_earlier_result_is_replaced_and_what_is_not_made_again_is_gone(screen, tmp_path):
    out = tmp_path / "out"
    assert fit(screen, out).code == 0
    (out / "effects.csv").write_text("edited")
    assert fit(screen, out, "--no-figures").code == 0
    assert paths(tmp_path) == {
        "out",
        *(f"out/{name}" for name in FILES if not name.startswith("figures")),
    }
    assert (out / "effects.csv").read_text().startswith("factor,level,")


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


@pytest.mark.usefixtures("fitted_at_once")
@pytest.mark.parametrize("step", ["write_tree", "write_csv", "run_record"])
def test_a_full_disk_leaves_old_results_as_they_are(screen, tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "out"
    assert fit(screen, out).code == 0
    monkeypatch.setattr(f"crossed_jax.results.output.{step}", full)
    before = contents(tmp_path)
    assert_refused(fit(screen, out), str(out), "No space left on device")
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("fitted_at_once")
def test_a_folder_of_the_output_directory_that_vanishes_is_told(screen, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()

    def vanish(*_):
        shutil.rmtree(home)
        return {}

    monkeypatch.setattr("crossed_jax.results.output.run_record", vanish)
    assert_refused(fit(screen, home / "out"), str(home / "out"), "No such file or directory")
    assert not home.exists()


@pytest.mark.usefixtures("fitted_at_once")
def test_figures_that_fail_are_told_and_all_else_is_written(screen, tmp_path, monkeypatch):
    def fail(*_):
        return {"effects": RuntimeError("no\nlatex")}

    monkeypatch.setattr("crossed_jax.results.plots.save_figures", fail)
    outcome = fit(screen, tmp_path / "one", "--quiet")
    assert outcome == (0, "", "Not drawn: effects (RuntimeError: no latex).\n")
    told = strict_json(tmp_path / "one" / "run.json")["figures_left_out"]
    assert told == {"effects": "RuntimeError: no latex"}
    monkeypatch.setattr("crossed_jax.results.predict.posterior_predictive", None)
    outcome = fit(screen, tmp_path / "all", "--quiet")
    assert outcome.code == 0
    assert outcome.err.startswith("Not drawn: figures (TypeError: ")
    assert outcome.err.count("\n") == 1
    assert strict_json(tmp_path / "all" / "run.json")["figures_left_out"].keys() == {"figures"}
    for out in ("one", "all"):
        assert {name for name in FILES if "figures" not in name} == paths(tmp_path / out)


@pytest.mark.usefixtures("fitted_at_once")
def test_predictions_that_are_too_many_to_draw_are_told(screen, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "FIGURE_PREDICTIONS", 1000)
    why = "90 rows are too many to predict in passing; crossed_jax.posterior_predictive does it"
    assert f"\nNot drawn: posterior_predictive ({why}).\n" in fit(screen, tmp_path / "out").err
    told = strict_json(tmp_path / "out" / "run.json")["figures_left_out"]
    assert told == {"posterior_predictive": why}
    assert fit(screen, tmp_path / "out", "--quiet") == (0, "", "")


def test_figures_are_drawn_whatever_the_backend_and_style(screen, tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: nowhere\n")
    ended = subprocess.run(
        [
            *(sys.executable, "-c", "from crossed_jax.cli.main import main; main()", "fit", screen),
            *("--response=logfc", "--factors=gene,cell_line", f"--out={tmp_path / 'out'}"),
            *("--warmup=300", "--draws=500", "--quiet"),
        ],
        env=os.environ | {"MPLBACKEND": "nowhere", "MATPLOTLIBRC": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert paths(tmp_path / "out") == FILES
    assert strict_json(tmp_path / "out" / "run.json")["figures_left_out"] == {}


@pytest.mark.usefixtures("fitted_at_once")
def test_an_interrupt_after_the_results_were_written_does_not_say_they_were_not(
    screen, tmp_path, monkeypatch
):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_tell", interrupt)
    assert fit(screen, tmp_path / "out") == (130, "", "crossed-jax: interrupted.\n")
    assert (tmp_path / "out" / "run.json").exists()


@pytest.mark.usefixtures("fitted_at_once")
def test_a_name_cannot_steer_the_terminal(screen, tmp_path):
    outcome = fit(screen, tmp_path / "\x1b[2J")
    assert outcome.code == 0
    assert r"\x1b[2J." in outcome.err
    assert "\x1b" not in outcome.err


HOSTILE = [
    '"quoted", and, commas',
    "two\nlines",
    "$x^2$",
    "$\\frac{1}",
    "日本語",
    "<script>alert(1)</script>",
    "=1+1",
    "007",
    " padded ",
    "x" * 300,
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    simulated = cj.simulate_screen(seed=1).data
    gene, line = simulated.factors
    labels = {
        "gene": [f"\x1b[31mgene {code}" for code in gene.codes],
        "cell_line": [HOSTILE[code] for code in line.codes],
    }
    pl.DataFrame(labels | {"logfc": simulated.response}).write_csv(folder / "screen.csv")
    outcome = fit(folder / "screen.csv", folder / "out", *SETTINGS, "--seed", 3)
    assert outcome.code == 0, outcome.err
    return folder / "out"


def test_hostile_labels_survive(hostile):
    effects = pl.read_csv(hostile / "effects.csv", schema_overrides={"level": pl.String})
    assert effects.filter(factor="cell_line")["level"].to_list() == HOSTILE
    with xr.open_datatree(hostile / "posterior.nc", engine="h5netcdf") as tree:
        assert tree["posterior"]["cell_line"].values.tolist() == HOSTILE


def test_hostile_labels_are_drawn(hostile):
    assert paths(hostile) == FILES


def test_labels_do_not_change_the_fit(hostile, converged):
    expected, found = (pl.read_csv(out / "effects.csv") for out in (converged[0], hostile))
    assert found.drop("level").equals(expected.drop("level"))


# demo


def test_demo_lays_the_forms_side_by_side(tmp_path, monkeypatch):
    def briefly(data, **options):
        return cj.fit(data, **options | {"num_warmup": 300, "num_draws": 100})

    monkeypatch.setattr("crossed_jax.demo.fit", briefly)
    outcome = crossed_jax("demo", "--out", tmp_path / "demo")
    assert (outcome.code, outcome.err) == (0, "")
    forms = {"collapsed", "sum_to_zero", "design_matrix", "original"}
    assert paths(tmp_path / "demo") == {
        ".crossed_jax.json",
        "screen.csv",
        "comparison.csv",
        "figures/ridge.png",
        *(f"{form}.nc" for form in forms),
        *(name for name in FILES if name.startswith("figures")),
    }
    comparison = pl.read_csv(tmp_path / "demo" / "comparison.csv")
    assert set(comparison["form"][1:]) == forms
    for form in comparison["form"]:
        assert form in outcome.out
    assert outcome.out.endswith(f"are in {tmp_path / 'demo'}.\n")


# resume


@pytest.fixture
def checkpointed(tmp_path):
    crossed_jax("simulate", "--out", tmp_path / "screen.csv")
    options = ("--warmup", 100, "--draws", 100, "--no-figures", "--quiet")
    checkpoint = tmp_path / "run"
    fit(tmp_path / "screen.csv", tmp_path / "out", *options, "--checkpoint", checkpoint)
    return checkpoint


def draws_in(folder):
    with xr.open_datatree(folder / "posterior.nc", engine="h5netcdf") as tree:
        return tree["posterior"].dataset.load()


def test_resume_extends_a_finished_fit_and_keeps_its_draws(tmp_path, checkpointed):
    shorter = draws_in(tmp_path / "out")
    assert crossed_jax("resume", checkpointed, "--extend", 50, "--quiet").code in (0, 3)
    longer = draws_in(tmp_path / "out")
    assert longer.sizes["draw"] == 150
    assert longer.isel(draw=slice(100)).equals(shorter)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["effects_drawn_to"] == [100, 150]
    assert crossed_jax("resume", checkpointed, "--quiet").code in (0, 3)
    xr.testing.assert_equal(draws_in(tmp_path / "out"), longer)


def test_an_extension_counts_once_it_is_accepted(tmp_path, checkpointed):
    command = (checkpointed / "command.json").read_bytes()
    table = (tmp_path / "screen.csv").read_bytes()
    crossed_jax("simulate", "--seed", 5, "--out", tmp_path / "screen.csv")
    assert crossed_jax("resume", checkpointed, "--extend", 50).code == 2
    (tmp_path / "screen.csv").write_bytes(table)
    with locked(checkpointed):
        outcome = crossed_jax("resume", checkpointed, "--extend", 50)
    assert outcome.code == 2
    assert "another run is using the checkpoint" in outcome.err
    assert (checkpointed / "command.json").read_bytes() == command


@pytest.mark.parametrize("how", ["on the command line", "in Python"])
def test_a_longer_fit_is_the_one_that_is_resumed(tmp_path, checkpointed, how):
    settings = {"response": "logfc", "factors": ("gene", "cell_line")}
    out = tmp_path / "out"
    if how == "in Python":
        data = cj.read_table(tmp_path / "screen.csv", **settings)
        cj.fit(data, num_warmup=100, num_draws=150, checkpoint=checkpointed)
    else:
        out = tmp_path / "longer"
        options = ("--warmup", 100, "--draws", 150, "--no-figures", "--quiet")
        fit(tmp_path / "screen.csv", out, *options, "--checkpoint", checkpointed)
    assert crossed_jax("resume", checkpointed, "--quiet").code in (0, 3)
    assert draws_in(out).sizes["draw"] == 150


def test_resume_says_when_there_is_nothing_to_go_on_with(tmp_path):
    outcome = crossed_jax("resume", tmp_path / "nothing")
    assert outcome.code == 2
    assert "there is no checkpoint of a fit in" in outcome.err


@pytest.mark.parametrize(
    "change", ["", "[1]", "{}", ("num_draws", "many"), ("factors", 3), ("out", "\0")]
)
def test_resume_names_a_damaged_command(checkpointed, change):
    path = checkpointed / "command.json"
    if isinstance(change, tuple):
        change = json.dumps(json.loads(path.read_text()) | dict([change]))
    path.write_text(change)
    outcome = crossed_jax("resume", checkpointed)
    assert outcome.code == 2
    assert "command.json" in outcome.err
    assert "damaged" in outcome.err


def test_resume_refuses_a_table_that_was_changed(tmp_path, checkpointed):
    crossed_jax("simulate", "--seed", 5, "--out", tmp_path / "screen.csv")
    before = contents(tmp_path / "out")
    outcome = crossed_jax("resume", checkpointed)
    assert outcome.code == 2
    assert "of another run: its table is" in outcome.err
    assert contents(tmp_path / "out") == before


def test_an_interrupted_fit_with_a_checkpoint_says_how_to_go_on(tmp_path):
    crossed_jax("simulate", "--out", tmp_path / "screen.csv")
    command = [
        *(sys.executable, "-c", "from crossed_jax.cli.main import main; main()"),
        *("fit", str(tmp_path / "screen.csv"), "--response", "logfc"),
        *("--factors", "gene,cell_line", "--out", str(tmp_path / "out"), "--draws", "100000"),
        *("--parameterization", "original", "--checkpoint", str(tmp_path / "run")),
    ]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("*.draws")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert told == (
        f"crossed-jax: interrupted; go on with: crossed-jax resume {tmp_path / 'run'}\n"
    )
    assert not (tmp_path / "out").exists()


# streaming


@pytest.mark.parametrize("why", ["asked for", "too many for memory"])
def test_a_streamed_fit_writes_what_a_fit_does(tmp_path, monkeypatch, why):
    crossed_jax("simulate", "--genes", 30, "--out", tmp_path / "screen.csv")
    options = ("--warmup", 200, "--draws", 400, "--quiet")
    assert fit(tmp_path / "screen.csv", tmp_path / "held", *options).code == 0
    if why == "asked for":
        options = (*options, "--stream")
    else:
        monkeypatch.setattr("crossed_jax.sampling.memory._available_memory", lambda: 800_000)
    assert fit(tmp_path / "screen.csv", tmp_path / "streamed", *options).code == 0
    held, streamed = contents(tmp_path / "held"), contents(tmp_path / "streamed")
    assert set(streamed) == set(held)
    assert streamed["effects.csv"] == held["effects.csv"]
    xr.testing.assert_identical(draws_in(tmp_path / "streamed"), draws_in(tmp_path / "held"))


def test_a_streamed_fit_is_resumed(tmp_path):
    crossed_jax("simulate", "--out", tmp_path / "screen.csv")
    options = ("--warmup", 100, "--parameterization", "sum_to_zero", "--no-figures", "--quiet")
    checkpoint = tmp_path / "run"
    streaming = (*options, "--stream", "--checkpoint", checkpoint)
    fit(tmp_path / "screen.csv", tmp_path / "out", *streaming, "--draws", 100)
    crossed_jax("resume", checkpoint, "--extend", 100, "--quiet")
    fit(tmp_path / "screen.csv", tmp_path / "longer", *options, "--draws", 200)
    xr.testing.assert_identical(draws_in(tmp_path / "out"), draws_in(tmp_path / "longer"))
