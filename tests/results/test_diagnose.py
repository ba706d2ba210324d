import json
import math
import sys

import arviz_stats as azs
import numpy as np
import pytest
import xarray as xr
from synthetic_tree import post_priors, synthetic_tree

from crossed_jax.results.convergence import convergence
from crossed_jax.results.ridge import find_ridge
from crossed_jax.results.summaries import effects
from crossed_jax.results.verdict import diagnose
from crossed_jax.sampling.ess import TAILS


def edit(tree, group, name, change):
    """Set a variable of a group to what `change` makes of its values."""
    dataset = tree[group].to_dataset()
    dataset[name] = (dataset[name].dims, change(dataset[name].values.copy()))
    tree[group] = xr.DataTree(dataset)
    return tree


def put(where, value):
    def change(values):
        values[where] = value
        return values

    return change


def test_independent_draws_converge():
    tree, _ = synthetic_tree()
    diagnosis = diagnose(tree)
    assert diagnosis.converged
    assert diagnosis.reasons == ()
    assert diagnosis.warnings == ()
    assert diagnosis.max_r_hat < 1.01
    # independent draws are worth about one effective draw each
    assert 600 < diagnosis.min_ess_bulk < 1_500
    assert diagnosis.min_bfmi == pytest.approx(2, abs=0.4)
    assert (diagnosis.num_chains, diagnosis.num_draws) == (4, 1000)
    assert str(diagnosis).startswith("Converged.")


def test_a_shifted_chain_is_a_reason_that_names_the_level():
    tree, _ = synthetic_tree()
    edit(tree, "posterior", "gene_effect", lambda v: v + np.array([0, 0, 1, 0])[:, None, None])
    edit(tree, "posterior", "gene_effect", lambda v: v - np.eye(4)[2][:, None, None] * [0.5, 1, 1])
    diagnosis = diagnose(tree)
    assert not diagnosis.converged
    assert diagnosis.max_r_hat > 1.3
    assert diagnosis.max_r_hat_at == "gene_effect[gene 0]"
    assert any("R-hat" in r and "gene_effect[gene 0]" in r for r in diagnosis.reasons)
    assert any("effective sample size" in reason for reason in diagnosis.reasons)
    assert "NOT CONVERGED" in str(diagnosis)


def test_the_worst_statistics_are_arviz_s_own():
    tree, _ = synthetic_tree(draws=150, seed=3)
    posterior = tree["posterior"].to_dataset()
    diagnosis = diagnose(tree)

    def all_values(dataset):
        return np.concatenate([v.values.ravel() for v in dataset.data_vars.values()])

    expected = {
        "max_r_hat": all_values(azs.rhat(posterior)).max(),
        "min_ess_bulk": all_values(azs.ess(posterior, method="bulk")).min(),
        "min_ess_tail": all_values(azs.ess(posterior, method="tail", prob=TAILS)).min(),
        "min_bfmi": azs.bfmi(tree)["energy"].min().item(),
    }
    fields = diagnosis.to_dict()
    assert {name: fields[name] for name in expected} == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("draws", [300, 301])
def test_statistics_have_the_shape_and_labels_of_a_draw(draws):
    tree, _ = synthetic_tree(draws=draws, parameterization="original")
    posterior = tree["posterior"].to_dataset()
    posterior["gene_effect"] = posterior["gene_effect"].transpose("gene", "draw", "chain")
    tree["posterior"] = xr.DataTree(posterior)
    ours = convergence(tree)
    theirs = (
        azs.rhat(posterior),
        azs.ess(posterior, method="bulk"),
        azs.ess(posterior, method="tail", prob=TAILS),
    )
    for mine, other in zip(ours, theirs, strict=True):
        xr.testing.assert_allclose(mine, other, rtol=1e-10)
        assert list(mine.data_vars) == list(posterior.data_vars)
    assert list(convergence(tree, ["sigma", "gene_sd"]).r_hat) == ["gene_sd", "sigma"]


def test_nothing_of_arviz_is_imported(monkeypatch):
    """That would take longer than to diagnose 4,000 levels."""
    tree, _ = synthetic_tree()
    for name in ("arviz_base", "arviz_stats", "arviz_plots"):
        monkeypatch.setitem(sys.modules, name, None)
    assert diagnose(tree).converged
    assert effects(tree)["r_hat"].null_count() == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_draws_that_are_not_finite_are_a_reason(bad):
    tree, _ = synthetic_tree()
    edit(tree, "posterior", "cell_line_effect", put((1, 7, 4), bad))
    diagnosis = diagnose(tree)
    assert not diagnosis.converged
    assert "cell_line_effect[cell_line 4] has draws that are not finite" in diagnosis.reasons[0]
    json.dumps(diagnosis.to_dict(), allow_nan=False)


def test_a_chain_that_does_not_move_is_a_reason_that_names_it():
    tree, _ = synthetic_tree()
    edit(tree, "posterior", "cell_line_effect", put(2, 0.25))
    edit(tree, "posterior", "sigma", put(slice(None), 0.05))
    reasons = diagnose(tree).reasons
    assert any(
        "cell_line_effect[cell_line 0] keeps one value throughout chain 2 (and 9 more" in r
        for r in reasons
    )
    assert sum("sigma keeps one value" in reason for reason in reasons) == 4


def test_the_effect_of_a_single_level_is_rightly_constant():
    tree, _ = synthetic_tree({"gene": 1, "cell_line": 5})
    assert (tree["posterior"]["gene_effect"] == 0).all()
    assert diagnose(tree).converged


@pytest.mark.parametrize(("chains", "draws"), [(1, 1), (4, 1), (2, 3), (1, 7)])
def test_too_few_draws_are_said_to_be_too_few(chains, draws):
    tree, _ = synthetic_tree(chains=chains, draws=draws, parameterization="original")
    diagnosis = diagnose(tree)
    assert not diagnosis.converged
    assert f"{draws} draws per chain are too few" in diagnosis.reasons[0]
    json.dumps(diagnosis.to_dict(), allow_nan=False)
    str(diagnosis)


def test_one_chain_is_held_against_itself():
    tree, _ = synthetic_tree(chains=1, draws=1000)
    assert diagnose(tree).converged
    edit(tree, "posterior", "intercept", lambda v: v + np.linspace(0, 1, v.size))
    diagnosis = diagnose(tree)
    assert diagnosis.max_r_hat > 1.5
    assert diagnosis.max_r_hat_at == "intercept"


@pytest.mark.parametrize(("divergent", "trusted"), [(0, True), (1, True), (2, False)])
def test_a_divergence_is_a_warning_and_more_than_one_in_a_thousand_a_reason(divergent, trusted):
    tree, _ = synthetic_tree()
    edit(tree, "sample_stats", "diverging", put((0, slice(divergent)), True))
    diagnosis = diagnose(tree)
    assert diagnosis.divergences == divergent
    assert diagnosis.converged is trusted
    said = diagnosis.warnings if trusted else diagnosis.reasons
    assert sum("diverged" in sentence for sentence in said) == (divergent > 0)


@pytest.mark.parametrize(("hits", "trusted"), [(10, True), (11, False)])
def test_more_than_one_draw_in_a_hundred_at_the_maximum_tree_depth_is_a_reason(hits, trusted):
    tree, _ = synthetic_tree()
    edit(tree, "sample_stats", "reached_max_treedepth", put((0, slice(hits)), True))
    diagnosis = diagnose(tree)
    assert diagnosis.max_tree_depth_hits == hits
    assert diagnosis.converged is trusted


def test_a_slowly_wandering_energy_is_a_reason():
    tree, _ = synthetic_tree()
    edit(tree, "sample_stats", "energy", lambda v: np.sort(v, axis=1))
    diagnosis = diagnose(tree)
    assert diagnosis.min_bfmi < 0.3
    assert any("E-BFMI" in reason for reason in diagnosis.reasons)


def test_a_chain_whose_energy_stands_still_is_left_out_of_bfmi():
    tree, _ = synthetic_tree()
    edit(tree, "sample_stats", "energy", put(1, 3.0))
    assert diagnose(tree).min_bfmi == pytest.approx(2, abs=0.5)
    edit(tree, "sample_stats", "energy", put(slice(None), 3.0))
    assert math.isnan(diagnose(tree).min_bfmi)


def test_a_fit_that_kept_no_draws_of_effects_is_judged_by_the_rest():
    kinds = {"parameterization": "collapsed", "keep_effects": "summary"}
    tree, _ = synthetic_tree(**kinds)
    assert diagnose(tree).converged
    assert list(convergence(tree).r_hat) == ["intercept", "gene_sd", "cell_line_sd", "sigma"]
    assert diagnose(tree).warnings == ()
    (warning,) = diagnose(synthetic_tree(scale=1e-4, **kinds)[0]).warnings
    assert "thousandth" in warning


def test_a_fit_without_sampler_statistics_is_judged_by_its_draws():
    tree, _ = synthetic_tree(parameterization="collapsed")
    del tree["sample_stats"]
    diagnosis = diagnose(tree)
    assert diagnosis.converged
    assert math.isnan(diagnosis.min_bfmi)
    assert diagnosis.to_dict()["min_bfmi"] is None


@pytest.mark.parametrize("levels", [{"gene": 3, "line": 10}, {"gene": 3, "line": 10, "batch": 4}])
def test_the_ridge_of_the_original_form_is_measured(levels):
    tree, _ = synthetic_tree(levels, parameterization="original")
    ridge = find_ridge(tree)
    assert ridge.factors == tuple(levels)
    assert ridge.correlation < -0.999
    assert all(4 < sd < 9 for sd in ridge.sd_of_means)
    rows = 3 * math.prod(levels.values())
    assert ridge.sd_of_sum == pytest.approx(0.05 / math.sqrt(rows), rel=0.1)


def test_the_ridge_is_a_warning_when_walked_and_a_reason_when_not():
    tree, _ = synthetic_tree(parameterization="original")
    diagnosis = diagnose(tree)
    assert diagnosis.converged
    (sentence,) = diagnosis.warnings
    assert "parameterization='sum_to_zero'" in sentence
    assert "crossed_jax.original_coordinates" in sentence

    edit(tree, "sample_stats", "reached_max_treedepth", put(0, True))
    diagnosis = diagnose(tree)
    assert sentence in diagnosis.reasons
    assert diagnosis.warnings == ()


def test_no_ridge_where_none_is_sampled():
    """Recovered coordinates lie on the ridge too, but nothing had to walk it."""
    tree, _ = synthetic_tree(parameterization="original")
    tree.attrs["parameterization"] = "sum_to_zero"
    assert find_ridge(tree) is None
    means_apart, _ = synthetic_tree(parameterization="original")
    edit(means_apart, "posterior", "gene_intercept", lambda v: v[::-1])
    assert find_ridge(means_apart) is None


def test_penicillin_in_millimetres_quarrels_with_the_post_s_priors():
    tree, _ = synthetic_tree({"plate": 24, "sample": 6}, replicates=1, shift=22.97)
    (warning,) = diagnose(tree).warnings
    assert "priors='scaled'" in warning
    assert "the intercept's posterior mean 23 is 3.2 prior SDs" in warning
    assert diagnose(tree).converged


@pytest.mark.parametrize(
    ("scale", "named"), [(1.0, ()), (30.0, ("gene_sd", "cell_line_sd")), (1e-4, ("thousandth",))]
)
def test_sds_out_of_the_priors_reach_are_named(scale, named):
    tree, _ = synthetic_tree(scale=scale)
    warnings = diagnose(tree).warnings
    assert len(warnings) == bool(named)
    assert all(name in warnings[0] for name in named)


@pytest.mark.parametrize(("shift", "trusted"), [(60.0, True), (90.0, False)])
def test_an_intercept_that_breaks_out_of_its_prior_is_a_reason(shift, trusted):
    tree, _ = synthetic_tree(shift=shift)
    diagnosis = diagnose(tree)
    assert diagnosis.converged is trusted
    said = diagnosis.warnings if trusted else diagnosis.reasons
    assert "quarrel with the priors" in said[0]


@pytest.mark.parametrize(("near", "trusted"), [(0.6, True), (0.1, False)])
def test_modes_that_the_draws_miss_are_a_reason(near, trusted):
    tree, _ = synthetic_tree()
    modes = [{"gene_sd": sd, "cell_line_sd": 0.5, "sigma": 0.05, "share": 0.5} for sd in (0.5, 5.0)]
    tree.attrs["modes"] = json.dumps(modes)
    far = np.arange(1000).reshape(4, 250) % 10 < 10 * near
    edit(tree, "posterior", "gene_sd", lambda v: np.where(far, 10.0 * v, v))
    diagnosis = diagnose(tree)
    assert diagnosis.converged is trusted
    said = diagnosis.warnings if trusted else diagnosis.reasons
    assert f"gene_sd 5: about 50% of the mass, {near:.0%} of the draws" in said[0]


@pytest.mark.parametrize(("funnels", "trusted"), [([], True), (["gene_sd"], False)])
def test_a_single_divergence_by_a_funnel_is_a_reason(funnels, trusted):
    tree, _ = synthetic_tree()
    tree.attrs["funnels"] = json.dumps(funnels)
    edit(tree, "sample_stats", "diverging", put((0, 0), True))
    assert diagnose(tree).converged is trusted


def test_scaled_priors_are_not_sent_to_scaled_priors():
    tree, _ = synthetic_tree(shift=60)
    priors = post_priors(["gene", "cell_line"]) | {"name": "scaled"}
    tree.attrs["priors"] = json.dumps(priors)
    (warning,) = diagnose(tree).warnings
    assert "priors='scaled'" not in warning


def test_design_matrix_is_diagnosed_without_factor_sds():
    tree, _ = synthetic_tree(parameterization="design_matrix")
    assert diagnose(tree).converged


def test_notes_are_passed_on_and_everything_is_json():
    tree, _ = synthetic_tree(parameterization="original", notes=["3 rows had no response."])
    diagnosis = diagnose(tree)
    assert "3 rows had no response." in diagnosis.warnings
    fields = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert fields["ridge"]["factors"] == ["gene", "cell_line"]
    assert fields["converged"] is True
    assert set(fields) == set(diagnosis._fields)


def test_statistics_given_are_not_computed_again(monkeypatch):
    tree, _ = synthetic_tree()
    statistics, expected = convergence(tree), diagnose(tree)
    monkeypatch.setattr("crossed_jax.results.verdict.convergence", None)
    assert diagnose(tree, statistics) == expected


def test_an_interpolation_that_errs_is_a_reason():
    tree, _ = synthetic_tree(parameterization="collapsed")
    errors = {"log_density": 1e-7, "effect_means": 1e-4, "effect_sds": 1e-4}
    tree.attrs["interpolation_error"] = json.dumps(errors)
    assert diagnose(tree).converged
    tree.attrs["interpolation_error"] = json.dumps(errors | {"effect_sds": 0.02})
    (reason,) = diagnose(tree).reasons
    assert "SDs by 2.0e-02 posterior SDs" in reason
