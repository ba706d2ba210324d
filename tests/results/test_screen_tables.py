"""Draws, tables and verdict of a fit of the screen model."""

import json

import numpy as np
import polars as pl
import pytest
import xarray as xr
from polars.testing import assert_frame_equal
from screen_tables import SCREEN, posterior_of

import crossed_jax as cj
from crossed_jax.results.output import write_tree
from crossed_jax.statistics.cells import cells_of

CELLS = cells_of(SCREEN)


def test_the_table_is_ragged():
    assert set(CELLS.counts) == {1.0, 2.0}
    assert len(CELLS.counts) < 30 * 6


def test_reported_effects_and_logarithms_sum_to_zero(screen_fit):
    posterior = posterior_of(screen_fit)
    for name, level in (("gene_effect", "gene"), ("line_effect", "line")):
        np.testing.assert_allclose(posterior[name].sum(level), 0.0, atol=1e-12)
    np.testing.assert_allclose(posterior["line_log_noise_sd"].sum("line"), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.log(posterior["line_slope"]).sum("line"), 0.0, atol=1e-12)
    share = posterior["interaction_share"]
    assert ((share > 0) & (share < 1)).all()


def test_moments_of_effects_are_those_of_their_draws(screen_fit):
    """Means within four standard errors of the draws, SDs within four of theirs."""
    found = cj.effects(screen_fit)
    ess = found["ess_bulk"].to_numpy()
    drawn = (posterior_of(screen_fit)[f"{factor}_effect"] for factor in ("gene", "line"))
    drawn = np.concatenate([each.stack(i=("chain", "draw")).values for each in drawn])
    z = (found["mean"].to_numpy() - drawn.mean(1)) / (drawn.std(1) / np.sqrt(ess))
    assert np.abs(z).max() < 4
    z = np.log(found["sd"].to_numpy() / drawn.std(1)) * np.sqrt(2.0 * np.minimum(ess, 300))
    assert np.abs(z).max() < 5


def test_effects_have_slopes_and_noise_of_the_factors_that_have_them(screen_fit):
    found = cj.effects(screen_fit)
    own = [f"{name}{end}" for name in ("slope", "noise_sd") for end in ("", "_lower", "_upper")]
    assert found.columns[-6:] == own
    gene, line = (found.filter(factor=name) for name in ("gene", "line"))
    assert gene.select(own[:3]).null_count().sum_horizontal().item() == 3 * 30
    posterior = posterior_of(screen_fit)
    names = ("gene", "line")
    noise = {f: posterior["sigma"] * np.exp(posterior[f"{f}_log_noise_sd"]) for f in names}
    for of_factor, name, draws, level in (
        (line, "slope", posterior["line_slope"], "line"),
        (line, "noise_sd", noise["line"], "line"),
        (gene, "noise_sd", noise["gene"], "gene"),
    ):
        flat = draws.transpose("chain", "draw", level).values.reshape(-1, draws.sizes[level])
        np.testing.assert_allclose(of_factor[name], flat.mean(0), rtol=1e-12)
        for end, probability in (("lower", 0.025), ("upper", 0.975)):
            np.testing.assert_allclose(
                of_factor[f"{name}_{end}"], np.quantile(flat, probability, axis=0), rtol=1e-2
            )
    assert line["slope"].to_numpy().prod() == pytest.approx(1.0, rel=0.2)


def test_parameters_are_all_single_numbers(screen_fit):
    found = cj.parameters(screen_fit)
    assert found["parameter"].to_list() == [
        "intercept",
        *("gene_sd", "gene_log_noise_sd_sd"),
        *("line_sd", "line_log_slope_sd", "line_log_noise_sd_sd"),
        *("sigma", "interaction_share"),
    ]
    posterior = posterior_of(screen_fit)
    expected = [float(posterior[name].mean()) for name in found["parameter"]]
    np.testing.assert_allclose(found["mean"], expected, rtol=1e-12)
    assert found.null_count().sum_horizontal().item() == 0


def test_shares_of_variance_sum_to_one(screen_fit):
    found = cj.variance_components(screen_fit)
    assert found["component"].to_list() == ["gene", "line", "interaction", "sigma"]
    assert found["share_of_variance"].sum() == pytest.approx(1.0, abs=1e-12)
    posterior = posterior_of(screen_fit)
    share, variance = posterior["interaction_share"], posterior["sigma"] ** 2
    expected = {
        "gene": posterior["gene_sd"],
        "line": posterior["line_sd"],
        "interaction": np.sqrt(share * variance),
        "sigma": np.sqrt((1.0 - share) * variance),
    }
    total = sum(sd**2 for sd in expected.values())
    for name, sd in expected.items():
        row = found.row(by_predicate=pl.col("component") == name, named=True)
        assert row["sd_mean"] == pytest.approx(float(sd.mean()), rel=1e-12)
        assert row["share_of_variance"] == pytest.approx(float((sd**2 / total).mean()), rel=1e-12)


def test_the_verdict_is_of_all_that_was_drawn(screen_fit):
    diagnosis = cj.diagnose(screen_fit)
    assert diagnosis.divergences == int(screen_fit["sample_stats"]["diverging"].sum())
    assert np.isfinite([diagnosis.max_r_hat, diagnosis.min_ess_bulk, diagnosis.min_ess_tail]).all()
    assert diagnosis.max_r_hat < 1.1
    assert diagnosis.ridge is None
    json.dumps(diagnosis.to_dict(), allow_nan=False)


def test_a_coarse_quadrature_is_told(screen_fit):
    coarse = screen_fit.copy()
    coarse.attrs["quadrature_error"] = "0.2"
    diagnosis = cj.diagnose(coarse)
    assert not diagnosis.converged
    assert any("fit a model without noise by that factor" in each for each in diagnosis.reasons)


def test_a_file_gives_the_same_tables_and_predictions(screen_fit, tmp_path):
    write_tree(screen_fit, tmp_path / "posterior.nc")
    with xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as read:
        assert set(read.children) == set(screen_fit.children)
        for tabulate in (cj.effects, cj.parameters, cj.variance_components, cj.interactions):
            assert_frame_equal(tabulate(read), tabulate(screen_fit), rel_tol=1e-12, abs_tol=1e-14)
        ours, theirs = (cj.diagnose(each) for each in (screen_fit, read))
        assert str(ours) == str(theirs)
        for extend in (
            lambda tree: cj.posterior_predictive(tree, SCREEN, num_draws=3),
            lambda tree: cj.prior_predictive(tree, SCREEN, num_draws=3),
            cj.original_coordinates,
        ):
            ours, theirs = extend(screen_fit), extend(read)
            for group in ours.children:
                xr.testing.assert_equal(ours[group].to_dataset(), theirs[group].to_dataset())
