"""Every form of the model against quadrature, the recovered original coordinates included."""

import numpy as np
import pytest
from example_tables import balanced, unbalanced
from truth import posterior_by_quadrature, standardized_errors

from crossed_jax.fitting import fit
from crossed_jax.models.priors import post_priors
from crossed_jax.results.original_coordinates import original_coordinates

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
    tree = fit(data, parameterization="sum_to_zero", num_draws=10_000, target_accept=0.95, seed=1)
    errors = standardized_errors(original_coordinates(tree, seed=2), truth)
    assert max(errors.values()) < MAX_ERROR, errors


def test_collapsed_parameterization_and_the_recovered_original_coordinates(case):
    _, data, truth = case
    tree = fit(data, parameterization="collapsed", num_draws=16_000, seed=1)
    errors = standardized_errors(original_coordinates(tree, seed=2), truth)
    assert max(errors.values()) < MAX_ERROR, errors
    for factor in data.factors:
        draws = tree["posterior"][f"{factor.name}_effect"]
        moments = tree["effect_moments"].to_dataset()
        # the moments average over the draws of the SDs, whose error they share with the draws
        error = draws.std() * 5 / np.sqrt(draws.sizes["chain"] * draws.sizes["draw"] / 4)
        assert abs(draws.mean(("chain", "draw")) - moments[f"{factor.name}_mean"]).max() < error
        expected = truth.mean[f"{factor.name}_effect"], truth.sd[f"{factor.name}_effect"]
        np.testing.assert_allclose(moments[f"{factor.name}_mean"], expected[0], atol=error)
        np.testing.assert_allclose(moments[f"{factor.name}_sd"], expected[1], rtol=0.05)


def test_original_form_run_long(case):
    name, data, truth = case
    # centred trees fall into the funnel of a weakly informed SD
    centered = {factor.name: name == "balanced" for factor in data.factors}
    tree = fit(
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
    tree = original_coordinates(fit(data, parameterization="sum_to_zero", seed=3))
    posterior = tree["posterior"].to_dataset()
    means = [posterior[f"{f.name}_intercept"].mean(f.name) for f in data.factors]
    np.testing.assert_allclose(means[0] + means[1], posterior["intercept"], atol=1e-12)
    assert np.corrcoef(means[0].to_numpy().ravel(), means[1].to_numpy().ravel())[0, 1] < -0.9
