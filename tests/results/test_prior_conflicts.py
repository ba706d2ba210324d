import json

import numpy as np
import pytest
from heavy_noise import with_heavy_noise
from synthetic_tree import post_priors, synthetic_tree

from crossed_jax.results.verdict import diagnose

LEVELS = {"gene": 4, "cell_line": 10}  # with three, an SD would be told to be its prior


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
    tree, _ = synthetic_tree(LEVELS, scale=scale)
    warnings = diagnose(tree).warnings
    assert len(warnings) == bool(named)
    assert all(name in warnings[0] for name in named)


@pytest.mark.parametrize(("shift", "trusted"), [(60.0, True), (90.0, False)])
def test_an_intercept_that_breaks_out_of_its_prior_is_a_reason(shift, trusted):
    tree, _ = synthetic_tree(LEVELS, shift=shift)
    diagnosis = diagnose(tree)
    assert diagnosis.converged is trusted
    said = diagnosis.warnings if trusted else diagnosis.reasons
    assert "quarrel with the priors" in said[0]


def test_scaled_priors_are_not_sent_to_scaled_priors():
    tree, _ = synthetic_tree(LEVELS, shift=60)
    priors = post_priors(["gene", "cell_line"]) | {"name": "scaled"}
    tree.attrs["priors"] = json.dumps(priors)
    (warning,) = diagnose(tree).warnings
    assert "priors='scaled'" not in warning


def test_noise_of_infinite_variance_hides_no_response_that_is_too_small(monkeypatch):
    small, _ = synthetic_tree(LEVELS, scale=1e-4)
    nu = np.random.default_rng(0).uniform(1, 2, size=(4, 250))
    tree = with_heavy_noise(small, nu)
    (warning,) = diagnose(tree).warnings
    assert "thousandth" in warning
