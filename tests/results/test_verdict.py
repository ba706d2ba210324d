import json
import sys

import arviz_stats as azs
import numpy as np
import pytest
import xarray as xr
from edited_tree import edit, put
from synthetic_tree import synthetic_tree

from crossed_jax.results.convergence import convergence
from crossed_jax.results.summaries import effects
from crossed_jax.results.verdict import diagnose
from crossed_jax.sampling.ess import TAILS

LEVELS = {"gene": 4, "cell_line": 10}  # with three, an SD would be told to be its prior


def test_independent_draws_converge():
    tree, _ = synthetic_tree(LEVELS)
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


def test_the_worst_statistics_are_arviz_s_own():
    tree, _ = synthetic_tree(LEVELS, draws=150, seed=3)
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


def test_nothing_of_arviz_is_imported(monkeypatch):
    """That would take longer than to diagnose 4,000 levels."""
    tree, _ = synthetic_tree(LEVELS)
    for name in ("arviz_base", "arviz_stats", "arviz_plots"):
        monkeypatch.setitem(sys.modules, name, None)
    assert diagnose(tree).converged
    assert effects(tree)["r_hat"].null_count() == 0


@pytest.mark.parametrize(("chains", "draws"), [(1, 1), (4, 1), (2, 3), (1, 7)])
def test_too_few_draws_are_said_to_be_too_few(chains, draws):
    tree, _ = synthetic_tree(LEVELS, chains=chains, draws=draws, parameterization="original")
    diagnosis = diagnose(tree)
    assert not diagnosis.converged
    assert f"{draws} draws per chain are too few" in diagnosis.reasons[0]
    json.dumps(diagnosis.to_dict(), allow_nan=False)
    str(diagnosis)


def test_a_fit_that_kept_no_draws_of_effects_is_judged_by_the_rest():
    kinds = {"parameterization": "collapsed", "keep_effects": "summary"}
    tree, _ = synthetic_tree(LEVELS, **kinds)
    assert diagnose(tree).converged
    assert list(convergence(tree).r_hat) == ["intercept", "gene_sd", "cell_line_sd", "sigma"]
    assert diagnose(tree).warnings == ()
    (warning,) = diagnose(synthetic_tree(LEVELS, scale=1e-4, **kinds)[0]).warnings
    assert "thousandth" in warning


def test_design_matrix_is_diagnosed_without_factor_sds():
    tree, _ = synthetic_tree(LEVELS, parameterization="design_matrix")
    assert diagnose(tree).converged


def test_notes_are_passed_on_and_everything_is_json():
    tree, _ = synthetic_tree(LEVELS, parameterization="original", notes=["3 rows had no response."])
    diagnosis = diagnose(tree)
    assert "3 rows had no response." in diagnosis.warnings
    fields = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert fields["ridge"]["factors"] == ["gene", "cell_line"]
    assert fields["converged"] is True
    assert set(fields) == set(diagnosis._fields)


def test_statistics_given_are_not_computed_again(monkeypatch):
    tree, _ = synthetic_tree(LEVELS)
    statistics, expected = convergence(tree), diagnose(tree)
    monkeypatch.setattr("crossed_jax.results.verdict.convergence", None)
    assert diagnose(tree, statistics) == expected


def test_an_interpolation_that_errs_is_a_reason():
    tree, _ = synthetic_tree(LEVELS, parameterization="collapsed")
    errors = {"log_density": 1e-7, "effect_means": 1e-4, "effect_sds": 1e-4}
    tree.attrs["interpolation_error"] = json.dumps(errors)
    assert diagnose(tree).converged
    tree.attrs["interpolation_error"] = json.dumps(errors | {"effect_sds": 0.02})
    (reason,) = diagnose(tree).reasons
    assert "SDs by 2.0e-02 posterior SDs" in reason


def own_tree(shape=(4, 250)):
    """Draws of a log-density of one's own, which knows no factors, no priors and no noise."""
    rng = np.random.default_rng(0)
    dims = ("chain", "draw", "theta_dim_0", "k")
    variables = {
        "theta": (dims, rng.normal(size=(*shape, 3, 2))),
        "tau": (dims[:2], rng.gamma(2, size=shape)),
    }
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(variables, {"k": ["a", "b"]})})
    tree.attrs = {"factors": "[]", "parameterization": "funnel"}
    return tree


def test_draws_of_a_log_density_without_factors_are_diagnosed():
    tree = own_tree()
    statistics = convergence(tree)
    assert statistics.r_hat["theta"].dims == ("theta_dim_0", "k")
    assert diagnose(tree, statistics) == diagnose(tree)
    assert diagnose(tree).converged
    shift = np.zeros((4, 1, 3, 2))
    shift[1, :, 2, 0] = 3
    edit(tree, "posterior", "theta", lambda v: v + shift)
    assert diagnose(tree).max_r_hat_at == "theta[2, a]"
    edit(tree, "posterior", "theta", put((2, slice(None), slice(2)), 0.5))
    reason = diagnose(tree).reasons[0]
    assert "theta[0, a] keeps one value throughout chain 2 (and 3 more of its entries)" in reason


@pytest.mark.parametrize(
    ("mean", "lfsr", "told"), [(0.01, 0.004, False), (0.06, 0.004, True), (0.01, 0.02, True)]
)
def test_interactions_that_err_are_told(mean, lfsr, told):
    tree, _ = synthetic_tree(LEVELS)
    tree.attrs["interaction_error"] = json.dumps({"mean": mean, "lfsr": lfsr})
    diagnosis = diagnose(tree)
    assert diagnosis.converged
    assert any(f"rates by up to {lfsr}" in warning for warning in diagnosis.warnings) is told


def test_the_original_form_without_factors_has_no_ridge():
    tree = own_tree()
    tree.attrs["parameterization"] = "original"
    assert diagnose(tree).ridge is None
