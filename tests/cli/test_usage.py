"""How the command line is used: flags, help, and what is told of wrong usage."""

import subprocess
import sys

import pytest
from command_line import contents, crossed_jax, fit
from rich.text import Text

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


@pytest.mark.parametrize(("arguments", "message"), USAGE_ERRORS.values(), ids=USAGE_ERRORS.keys())
def test_wrong_usage_is_told_in_one_line(folder, arguments, message):
    before = contents(folder)
    assert crossed_jax(*arguments) == (2, "", f"crossed-jax: {message}\n")
    assert contents(folder) == before


def test_without_arguments_it_is_help_that_is_wanted():
    assert crossed_jax() == crossed_jax("--help")


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
