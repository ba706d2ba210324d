"""``crossed-jax fit``: what it says, its exit codes, and labels of every kind."""

import numpy as np
import polars as pl
import pytest
import xarray as xr
from command_line import CHAINS, FILES, SETTINGS, contents, fit, paths, strict_json

import crossed_jax as cj
from crossed_jax.cli.flags import in_flags


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
        figures -= {"figures/posterior_predictive.png", "figures/ridge.png"}
    assert {f"figures/{name}" for name in paths(out / "figures")} == figures


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


# In the original form


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
        assert in_flags(reason) in outcome.err


# What labels may hold

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
