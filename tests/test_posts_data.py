"""The post's data: with the ridge and without it, and what changes no posterior."""

import numpy as np
import pytest
from example_tables import table
from truth import disagreement

import crossed_jax as cj
from crossed_jax.results.convergence import convergence, identified

LONG = {"num_chains": 2, "num_draws": 4000, "seed": 1}


@pytest.fixture(scope="module")
def post():
    return cj.simulate_screen(seed=0).data


@pytest.fixture(scope="module")
def post_collapsed(post):
    return cj.fit(post, **LONG)


def test_the_posts_data_without_the_ridge(post):
    tree = cj.fit(
        post, parameterization="sum_to_zero", num_chains=2, num_warmup=1000, num_draws=4000
    )
    diagnosis = cj.diagnose(tree)
    assert diagnosis.converged
    assert diagnosis.divergences <= 8
    assert diagnosis.max_tree_depth_hits == 0
    statistics = convergence(tree, identified(tree))
    assert min(float(x.min()) for x in statistics.ess_bulk.data_vars.values()) > 5000


def test_the_posts_data_on_the_ridge(post):
    tree = cj.fit(post, parameterization="original", num_chains=2, num_warmup=600, num_draws=500)
    diagnosis = cj.diagnose(tree)
    assert not diagnosis.converged
    assert diagnosis.ridge is not None
    assert diagnosis.max_tree_depth_hits > 100
    assert any("sum_to_zero" in reason for reason in diagnosis.reasons)


@pytest.mark.parametrize("form", ["sum_to_zero", "original"])
def test_forms_agree_on_the_posts_data(post, post_collapsed, form):
    assert post_collapsed.attrs["parameterization"] == "collapsed"
    assert disagreement(post_collapsed, cj.fit(post, parameterization=form, **LONG)) < 4.5


def test_the_same_seed_gives_the_same_draws(post):
    first, again = (
        cj.fit(post, parameterization="sum_to_zero", num_chains=2, num_draws=50, seed=3)
        for _ in range(2)
    )
    assert first["posterior"].identical(again["posterior"])


def test_a_summary_of_the_effects_is_exact_and_small(post):
    tree = cj.fit(post, keep_effects="summary", seed=1)
    assert "gene_effect" not in tree["posterior"]
    drawn = cj.effects(cj.fit(post, seed=1))
    summary = cj.effects(tree)
    np.testing.assert_allclose(summary["mean"], drawn["mean"], atol=1e-12)
    np.testing.assert_allclose(summary["sd"], drawn["sd"], rtol=1e-9)
    assert summary["ess_bulk"].null_count() == len(summary)
    for needs_draws in (cj.original_coordinates, lambda t: cj.posterior_predictive(t, post)):
        with pytest.raises(cj.InputError, match="kept a summary"):
            needs_draws(tree)


def test_scaled_priors_do_not_mind_the_unit(post):
    """An affine change of the response changes the draws by the same, but for rounding."""
    settings = {"parameterization": "sum_to_zero", "priors": "scaled", "num_chains": 2}
    moved = table(3e4 + 1e3 * post.response, *(f.codes for f in post.factors))
    here = cj.fit(post, **settings, num_draws=1000)["posterior"]
    there = cj.fit(moved, **settings, num_draws=1000)["posterior"]
    for name, other in (("gene_effect", "a_effect"), ("sigma", "sigma")):
        ours, theirs = here[name].to_numpy(), there[other].to_numpy() / 1e3
        error = 5 * ours.std((0, 1)) * np.sqrt(2 / 1000)
        assert np.all(np.abs(ours.mean((0, 1)) - theirs.mean((0, 1))) < error)
