import json

import arviz_stats as azs
import numpy as np
import pytest
import xarray as xr
from edited_tree import edit, put
from synthetic_tree import synthetic_tree

from crossed_jax.results.convergence import convergence
from crossed_jax.results.verdict import diagnose
from crossed_jax.sampling.ess import TAILS


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


def test_one_chain_is_held_against_itself():
    tree, _ = synthetic_tree(chains=1, draws=1000)
    assert diagnose(tree).converged
    edit(tree, "posterior", "intercept", lambda v: v + np.linspace(0, 1, v.size))
    diagnosis = diagnose(tree)
    assert diagnosis.max_r_hat > 1.5
    assert diagnosis.max_r_hat_at == "intercept"
