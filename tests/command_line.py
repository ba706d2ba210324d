"""The command line in this process, and what tests of it look at afterwards."""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest import mock

import xarray as xr

from crossed_jax.cli import main as cli

GOOD = "gene,cell_line,logfc\nA,x,1.5\nA,w,2\nB,x,-3\nB,w,4e-1\nA,x,1\n"
FILES = {
    ".crossed_jax.json",
    "posterior.nc",
    "effects.csv",
    "variance_components.csv",
    "diagnostics.json",
    "run.json",
    "report.html",
    "figures",
    "figures/raw_data.png",
    "figures/effects.png",
    "figures/hyperparameters.png",
    "figures/posterior_predictive.png",
    "figures/ridge.png",
}

# the same chains and warm-up throughout, so that each form is compiled once for a table's size
CHAINS = ("--chains", 2, "--warmup", 600)
SETTINGS = (
    *CHAINS,
    *("--draws", 2000, "--target-accept", 0.95, "--parameterization", "sum_to_zero"),
)


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


def assert_refused(outcome, *wanted):
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    assert outcome.err.startswith("crossed-jax: ")
    assert outcome.err.endswith("\n")
    assert outcome.err[:-1].isprintable()
    for text in wanted:
        assert text in outcome.err


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


def draws_in(folder):
    with xr.open_datatree(folder / "posterior.nc", engine="h5netcdf") as tree:
        return tree["posterior"].dataset.load()
