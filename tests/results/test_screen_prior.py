"""Draws from the screen model's priors."""

import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr
from example_tables import table
from screen_tables import SCREEN

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.models.distributions import Normal

GENE, LINE = (factor.codes for factor in SCREEN.factors)
NUMBER = 4000
PRIORS = cj.Priors(
    (Normal(1.0, 0.3), Normal(-0.5, 0.4)),
    (dist.LogNormal(np.log(0.7), 1e-6), dist.LogNormal(np.log(0.5), 1e-6)),
    dist.LogNormal(np.log(0.4), 1e-6),
    {
        "line_log_slope_sd": dist.LogNormal(np.log(0.3), 1e-6),
        "line_log_noise_sd_sd": dist.LogNormal(np.log(0.2), 1e-6),
        "gene_log_noise_sd_sd": dist.LogNormal(np.log(0.25), 1e-6),
        "interaction_share": dist.Beta(4e8, 6e8),
    },
)


@pytest.fixture(scope="module")
def prior_tree():
    return cj.prior_predictive(
        xr.DataTree(), SCREEN, model="screen", priors=PRIORS, num_draws=NUMBER, seed=5
    )


def test_prior_draws_have_the_variances_of_their_priors(prior_tree):
    prior = prior_tree["prior"].to_dataset().isel(chain=0)
    slopes = 0.3**2 * (1.0 - 1.0 / 6.0)
    variances = {
        "gene_intercept": 0.7**2,
        "gene_effect": 0.7**2 * (1.0 - 1.0 / 30.0),
        "line_intercept": 0.5**2 + 0.3**2 + 0.4**2,
        "line_mean": 0.3**2 + 0.4**2,
        "line_log_noise_sd": 0.2**2 * (1.0 - 1.0 / 6.0),
        "gene_log_noise_sd": 0.25**2,
    }
    drawn = {name: prior[name] for name in variances} | {"log slope": np.log(prior["line_slope"])}
    for name, variance in (variances | {"log slope": slopes}).items():
        values = drawn[name].values.reshape(NUMBER, -1)
        np.testing.assert_allclose(
            values.var(0), variance, rtol=5.0 * np.sqrt(2.0 / NUMBER), err_msg=name
        )
    np.testing.assert_allclose(prior["gene_intercept"].mean(), 0.0, atol=0.02)
    np.testing.assert_allclose(prior["line_intercept"].mean(), 0.5, atol=0.05)


def test_prior_draws_fit_together(prior_tree):
    prior = prior_tree["prior"].to_dataset()
    mean = prior["gene_intercept"].mean("gene")
    whole = prior["line_intercept"] + prior["line_slope"] * mean
    np.testing.assert_allclose(prior["gene_effect"], prior["gene_intercept"] - mean, atol=1e-12)
    np.testing.assert_allclose(prior["intercept"], whole.mean("line"), atol=1e-12)
    np.testing.assert_allclose(prior["line_effect"], whole - whole.mean("line"), atol=1e-12)


def test_prior_responses_have_the_variance_of_the_model(prior_tree):
    """Per row: fourth moments are a sample's own, as products of Normals are heavier than one."""
    values = prior_tree["prior_predictive"]["y"].values[0]
    slope = np.exp(2.0 * 0.3**2 * (1.0 - 1.0 / 6.0))
    noise = 0.4**2 * np.exp(2.0 * (0.2**2 * (1.0 - 1.0 / 6.0) + 0.25**2))
    expected = 0.3**2 + 0.4**2 + 0.5**2 + 0.7**2 * slope + noise
    squares = (values - 0.5) ** 2
    error = squares.std(0) / np.sqrt(NUMBER)
    assert (abs(squares.mean(0) - expected) / error).max() < 4.5
    first, second = np.flatnonzero((GENE[0] == GENE) & (LINE[0] == LINE))[:2]
    products = (values[:, first] - 0.5) * (values[:, second] - 0.5)
    error = products.std() / np.sqrt(NUMBER)
    assert abs(products.mean() - (expected - 0.6 * noise)) < 4.5 * error


def test_prior_of_a_fit_is_named_as_its_posterior(screen_fit):
    extended = cj.prior_predictive(screen_fit, SCREEN, num_draws=10)
    posterior = cj.original_coordinates(screen_fit)["posterior"].to_dataset()
    prior = extended["prior"].to_dataset()
    assert set(prior.data_vars) == set(posterior.data_vars)
    for name, values in prior.data_vars.items():
        assert values.dims == posterior[name].dims


def test_prior_of_a_fit_wants_its_factors(screen_fit):
    names = ("gene", "plate")
    other = table(SCREEN.response, GENE, LINE, names=names)
    with pytest.raises(InputError, match="the table has the factors gene, plate, but the fit gene"):
        cj.prior_predictive(screen_fit, other)


def test_prior_goes_by_the_noise_that_a_model_names(screen_fit):
    student = cj.Model(noise="student_t")
    prior = cj.prior_predictive(xr.DataTree(), SCREEN, model=student, num_draws=5)["prior"]
    assert "nu" in prior
    with pytest.raises(InputError, match="the screen model cannot have student_t noise"):
        cj.prior_predictive(xr.DataTree(), SCREEN, model="screen", noise="student_t")
