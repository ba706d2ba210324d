"""The files of a fit, their columns and what is on record: Penicillin."""

import hashlib
import math

import polars as pl
import pytest
import xarray as xr
from command_line import FILES, SETTINGS, fit, paths, strict_json
from example_tables import SHARED

import crossed_jax as cj
from crossed_jax.sampling.cache_directory import describe_cache

PENICILLIN = SHARED / "penicillin" / "Penicillin.csv"


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
        *("factor", "level", "n", "raw_mean", "mean", "sd", "lower", "upper"),
        *("p_negative", "level_mean", "ess_bulk", "r_hat"),
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
        *("component", "sd_mean", "sd_sd", "lower", "upper"),
        *("share_of_variance", "share_lower", "share_upper"),
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
        600,
        2000,
    )
    assert (run["parameterization"], run["priors"]["name"]) == ("sum_to_zero", "scaled")
    assert run["input"] == {
        "source": str(PENICILLIN),
        "wide": False,
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
