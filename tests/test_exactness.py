"""Every form of the model against quadrature, the recovered original coordinates included."""

import numpy as np
import numpyro.distributions as dist
import pytest
from arviz_stats.base import array_stats
from example_tables import balanced, table, unbalanced
from scipy.interpolate import CubicSpline
from truth import log_sd_grid, posterior_by_quadrature, standardized_errors

import crossed_jax as cj
from crossed_jax.models.distributions import Exponential, Normal
from crossed_jax.models.priors import Priors, post_priors

pytestmark = pytest.mark.usefixtures("optimized")

# well informed; unbalanced and weak (3 x 4 levels, one row a cell or none); an SD that is zero
CASES = {
    "balanced": (
        balanced((4, 3), 3, sds=(0.5, 0.5), sigma=0.2, seed=1, intercept=-1.0),
        [np.arange(-4.0, 3.3, 0.2), np.arange(-3.5, 3.0, 0.2), np.arange(-2.3, -0.7, 0.08)],
    ),
    "weak": (
        unbalanced((3, 4), 10, sds=(0.5, 0.5), sigma=0.5, seed=2),
        [np.arange(-11.0, 3.4, 0.3), np.arange(-11.0, 3.4, 0.3), np.arange(-3.0, 1.6, 0.15)],
    ),
    "an SD of zero": (
        balanced((4, 3), 2, sds=(1.0, 0.0), sigma=0.3, seed=3),
        [np.arange(-3.0, 3.3, 0.2), np.arange(-12.0, 2.7, 0.25), np.arange(-2.3, 0.3, 0.1)],
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    data, grids = CASES[request.param]
    return request.param, data, posterior_by_quadrature(data, post_priors(2), grids)


# Monte Carlo standard errors: some forty moments, each beyond five once in two million tries
MAX_ERROR = 5.0


def test_sum_to_zero_and_the_recovered_original_coordinates(case):
    _, data, truth = case
    tree = cj.fit(
        data, parameterization="sum_to_zero", num_draws=10_000, target_accept=0.95, seed=1
    )
    errors = standardized_errors(cj.original_coordinates(tree, seed=2), truth)
    assert max(errors.values()) < MAX_ERROR, errors


def test_collapsed_parameterization_and_the_recovered_original_coordinates(case):
    _, data, truth = case
    tree = cj.fit(data, parameterization="collapsed", num_draws=16_000, seed=1)
    errors = standardized_errors(cj.original_coordinates(tree, seed=2), truth)
    assert max(errors.values()) < MAX_ERROR, errors
    for factor in data.factors:
        draws = tree["posterior"][f"{factor.name}_effect"]
        moments = tree["effect_moments"].to_dataset()
        # the moments average over the draws of the SDs, whose error they share with the draws
        error = draws.std() * 5 / np.sqrt(draws.sizes["chain"] * draws.sizes["draw"] / 4)
        assert (
            abs(draws.mean(("chain", "draw")) - moments[f"{factor.name}_effect_mean"]).max() < error
        )
        expected = truth.mean[f"{factor.name}_effect"], truth.sd[f"{factor.name}_effect"]
        np.testing.assert_allclose(moments[f"{factor.name}_effect_mean"], expected[0], atol=error)
        np.testing.assert_allclose(moments[f"{factor.name}_effect_sd"], expected[1], rtol=0.05)


def test_original_form_run_long(case):
    name, data, truth = case
    # centred trees fall into the funnel of a weakly informed SD
    centered = {factor.name: name == "balanced" for factor in data.factors}
    tree = cj.fit(
        data,
        parameterization="original",
        num_draws=4_000,
        target_accept=0.95,
        centered=centered,
        seed=1,
    )
    errors = standardized_errors(tree, truth)
    assert max(errors.values()) < MAX_ERROR, errors


def test_original_coordinates_have_the_posterior_correlation_of_the_ridge(case):
    _, data, _ = case
    tree = cj.original_coordinates(cj.fit(data, parameterization="sum_to_zero", seed=3))
    posterior = tree["posterior"].to_dataset()
    means = [posterior[f"{f.name}_intercept"].mean(f.name) for f in data.factors]
    np.testing.assert_allclose(means[0] + means[1], posterior["intercept"], atol=1e-12)
    assert np.corrcoef(means[0].to_numpy().ravel(), means[1].to_numpy().ravel())[0, 1] < -0.9


def test_a_bounded_prior_of_an_sd_agrees_with_quadrature():
    data = balanced((12, 10), 2, sds=(0.5, 0.5), sigma=0.3, seed=1)
    priors = Priors(
        (Normal(0.0, 5.0),) * 2, (dist.Uniform(0.0, 2.0), Exponential(1.0)), dist.HalfNormal(1.0)
    )
    tree = cj.fit(data, priors=priors, seed=1)
    assert cj.diagnose(tree).converged
    truth = posterior_by_quadrature(
        data,
        priors,
        [np.arange(-1.6, np.log(2.0), 0.1), np.arange(-2, 1.2, 0.15), np.arange(-1.5, -0.8, 0.05)],
    )
    errors = standardized_errors(cj.original_coordinates(tree, seed=2), truth)
    assert max(errors.values()) < 4.5, errors


BLOCKS = np.repeat(np.arange(2), 12)
WITHIN = np.tile(np.arange(12) // 3, 2)
TWICE = np.repeat(np.arange(6), 4)
MAY_BE_ZERO = {
    "two levels": lambda rng: crossed(rng, *np.indices((2, 8, 2)).reshape(3, -1)[:2], (0.2, 0.5)),
    "two blocks": lambda rng: crossed(rng, BLOCKS, 4 * BLOCKS + WITHIN, (0.5, 0.5)),
    "one factor twice": lambda rng: crossed(rng, TWICE, TWICE, (0.5, 0.5)),
}


def crossed(rng, a, b, sds):
    effects = [sd * rng.normal(size=code.max() + 1)[code] for sd, code in zip(sds, (a, b))]  # noqa: B905
    return table(sum(effects) + 0.3 * rng.normal(size=len(a)), a, b)


@pytest.mark.parametrize("design", MAY_BE_ZERO)
def test_sum_to_zero_draws_reach_down_to_an_sd_of_zero(design):
    """Centred, as their levels' reliability has it, the lower tail was half missing."""
    data = MAY_BE_ZERO[design](np.random.default_rng(6))
    grids = [np.arange(-12.0, 4.2, 0.25)] * 2 + [np.arange(-3.5, 1.2, 0.1)]
    mass = log_sd_grid(data, post_priors(2), grids)
    tree = cj.fit(data, parameterization="sum_to_zero", num_draws=4000, target_accept=0.95, seed=1)
    for axis, name in enumerate(("a_sd", "b_sd")):
        density = mass.sum(tuple({0, 1, 2} - {axis})) / 0.25
        # it may rise steeply between two nodes, where sums of rectangles err by a tenth
        below = CubicSpline(grids[axis], density).antiderivative()
        tenth = grids[axis][np.searchsorted(below(grids[axis]), 0.1)]
        low = np.log(tree["posterior"][name].to_numpy()) < tenth
        error = array_stats.mcse(low.astype(float), chain_axis=0, draw_axis=1, method="mean")
        assert abs(low.mean() - below(tenth)) < 4 * error, name
