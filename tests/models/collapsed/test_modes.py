"""Modes of collapsed posteriors, against quadrature of the model written out densely."""

import dataclasses

import numpy as np
import numpyro.distributions as dist
import pytest
from example_tables import balanced, estimate_of, unbalanced
from truth import log_sd_grid

import crossed_jax as cj
from crossed_jax.models.collapsed.collapse import collapse
from crossed_jax.models.collapsed.modes import Modes, find_modes, start_in
from crossed_jax.models.priors import post_priors
from crossed_jax.sampling.evaluation import evaluate
from crossed_jax.statistics.cells import cells_of

SPIKE = post_priors(2)._replace(factor_sds=(dist.HalfCauchy(1e-6), dist.Exponential(1.0)))
POST = cj.simulate_screen(seed=0).data
FAR_OFF = dataclasses.replace(POST, response=POST.response + 1000.0)


def modes_of(data, priors):
    cells = cells_of(data)
    collapsed = collapse(cells, priors, estimate_of(cells))
    return find_modes(
        collapsed.parameterization, collapsed.model_data, evaluate
    ), collapsed.model_data


@pytest.mark.parametrize(
    "data",
    [
        POST,
        unbalanced((8, 30), 300, sds=(0.5, 0.5), sigma=0.3),
        unbalanced((40, 30), 600, sds=(0.5, 0.0), sigma=0.3),
        unbalanced((6, 7, 30), 300, sds=(0.5, 0.5, 0.1), sigma=0.3),
    ],
    ids=["balanced", "border", "dense block", "three factors"],
)
def test_an_ordinary_posterior_has_one_mode(data):
    assert modes_of(data, post_priors(len(data.factors)))[0] is None


@pytest.mark.parametrize("seed", [0, 4, 10])
def test_the_shares_of_two_modes_are_those_of_quadrature(seed):
    data = balanced((4, 3), 2, sds=(0.6, 0.3), sigma=0.3, seed=seed)
    grids = [np.arange(-30.0, 4.2, 0.3), np.arange(-12.0, 4.2, 0.3), np.arange(-3.5, 1.2, 0.12)]
    near_zero = log_sd_grid(data, SPIKE, grids)[grids[0] < -7.0].sum()
    modes, _ = modes_of(data, SPIKE)
    assert len(modes.shares) == 2
    found = modes.shares[modes.log_sds[:, 0] < -7.0].sum()
    # Laplace's approximation of skewed modes errs by a tenth or so of log-odds of some units
    assert np.log(found / (1 - found)) == pytest.approx(
        np.log(near_zero / (1 - near_zero)), abs=0.5
    )


def test_a_table_with_a_dense_block_far_from_its_prior_is_not_trusted():
    data = unbalanced((40, 30), 900, sds=(0.5, 0.5), sigma=0.3, intercept=300.0)
    verdict = cj.diagnose(cj.fit(data, num_warmup=600, num_draws=200))
    assert not verdict.converged
    assert "priors='scaled'" in verdict.reasons[-1]


def test_chains_start_in_the_highest_mode_of_a_response_far_from_its_prior():
    trees = [cj.fit(FAR_OFF, num_warmup=600, num_draws=300, seed=seed) for seed in range(4)]
    lp = [float(tree["sample_stats"]["lp"].mean()) for tree in trees]
    assert np.ptp(lp) < 1.0  # other modes lie 36 and more below
    verdict = cj.diagnose(trees[0])
    assert not verdict.converged
    assert "quarrel" in " ".join(verdict.reasons)


def test_modes_between_which_no_chain_walks_are_told():
    data = balanced((4, 3), 2, sds=(0.6, 0.3), sigma=0.3, seed=4)
    for seed in range(3):
        verdict = cj.diagnose(cj.fit(data, priors=SPIKE, num_draws=500, seed=seed))
        assert not verdict.converged
        assert "2 separate modes (a_sd 1e-06: about 7" in " ".join(verdict.reasons)


def test_chains_are_shared_out_by_mass_and_each_mode_has_one():
    _, model_data = modes_of(POST, post_priors(2))
    center = np.log([*model_data.estimate.factor_sds, model_data.estimate.sigma])
    modes = Modes(np.stack([center, center + 1.0, center - 9.0]), np.array([0.7, 0.28, 0.02]))
    started, shifts = start_in(modes, model_data, 10)
    np.testing.assert_allclose(shifts[:, -1], [0.0] * 7 + [1.0] * 2 + [-9.0])
    np.testing.assert_allclose(shifts[:7], 0.0, atol=1e-9)
    assert np.all(started.anchors < model_data.anchors - 10)  # a mode lay behind them
    assert len(start_in(modes, model_data, 2)[1]) == 2
