"""Tests of predictions: their moments against theory, and whose levels and draws they are of."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr
from example_tables import table

from crossed_jax.errors import InputError
from crossed_jax.models.priors import Priors
from crossed_jax.results.posterior_predictive import posterior_predictive
from crossed_jax.results.prior_predictive import prior_predictive
from crossed_jax.results.record import describe_table
from crossed_jax.results.tree import to_datatree
from crossed_jax.sampling.chunks import Statistics
from crossed_jax.tables.crossed_data import CrossedData, Factor

GENE = np.array([0, 0, 1, 1, 2, 2])
LINE = np.array([0, 1, 0, 1, 0, 1])
DATA = table(np.arange(6.0) ** 2, GENE, LINE, names=("gene", "line"))


def fitted(num_chains=2, num_draws=5000, noise=True, seed=0):
    """Wrap draws that need not be of any posterior."""
    rng = np.random.default_rng(seed)
    shape = (num_chains, num_draws)

    def centred(size):
        draws = rng.normal(size=(*shape, size))
        return draws - draws.mean(-1, keepdims=True)

    draws = {
        "intercept": rng.normal(size=shape),
        "{factor}_effect": (centred(3), centred(2)),
        "sigma": np.exp(rng.normal(size=shape)) if noise else np.zeros(shape),
        "{factor}_sd": tuple(np.exp(rng.normal(size=(2, *shape)))),
    }
    statistics = Statistics(*(np.zeros(shape) for _ in Statistics._fields))
    attributes = {"parameterization": "sum_to_zero"} | describe_table(DATA, ())
    return to_datatree(draws, statistics, attributes, DATA)


def expectation(tree, gene=GENE, line=LINE):
    posterior = tree["posterior"]
    total = posterior["intercept"].values[..., None]
    total = total + posterior["gene_effect"].values[..., gene]
    return total + posterior["line_effect"].values[..., line]


# The posterior's


def test_posterior_predictions_are_normal_about_intercept_plus_effects():
    tree = fitted()
    predicted = posterior_predictive(tree, DATA, seed=1)["posterior_predictive"]["y"]
    sigma = tree["posterior"]["sigma"].values[..., None]
    z = ((predicted.values - expectation(tree)) / sigma).reshape(-1, 6)
    n = len(z)
    np.testing.assert_allclose(z.mean(0), 0, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(np.cov(z.T), np.eye(6), atol=5 * np.sqrt(2 / n))
    np.testing.assert_allclose((z**4).mean(), 3, atol=5 * np.sqrt(96 / z.size))


def test_posterior_predictions_are_by_chain_draw_and_row():
    tree = posterior_predictive(fitted(2, 10), DATA)
    predicted = tree["posterior_predictive"]["y"]
    assert predicted.dims == ("chain", "draw", "row")
    assert predicted.shape == (2, 10, 6)
    for dim in ("chain", "draw"):
        np.testing.assert_array_equal(predicted[dim], tree["posterior"][dim])


def test_the_tree_given_stays_as_it_is():
    tree = fitted(1, 10)
    before = tree.copy(deep=True)
    extended = posterior_predictive(tree, DATA)
    xr.testing.assert_identical(tree, before)
    xr.testing.assert_identical(extended["posterior"].to_dataset(), tree["posterior"].to_dataset())
    assert extended.attrs == tree.attrs


def test_the_seed_is_that_of_the_noise():
    tree = fitted(1, 10)
    first, again, other = (
        posterior_predictive(tree, DATA, seed=seed)["posterior_predictive"]["y"].values
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_another_table_may_have_fewer_levels_rows_and_another_order():
    tree = fitted(2, 10, noise=False)
    gene = Factor("gene", ("gene2", "gene0"), np.array([0, 1, 1, 0], np.int32))
    line = Factor("line", ("line1", "line0"), np.array([0, 0, 1, 1], np.int32))
    other = CrossedData(np.arange(4.0), "y", (line, gene), num_missing=0, notes=())
    predicted = posterior_predictive(tree, other)["posterior_predictive"]["y"]
    expected = expectation(tree, np.array([2, 0, 0, 2]), np.array([1, 1, 0, 0]))
    np.testing.assert_allclose(predicted, expected, rtol=1e-14)


def test_predictions_stand_beside_the_rows_that_they_are_of():
    tree = fitted(2, 10, noise=False)
    gene = Factor("gene", ("gene2", "gene0"), np.array([0, 1, 1, 0], np.int32))
    line = Factor("line", ("line1", "line0"), np.array([0, 0, 1, 1], np.int32))
    other = CrossedData(np.arange(4.0), "y", (line, gene), num_missing=0, notes=())
    predicted = posterior_predictive(tree, other)
    assert predicted["posterior_predictive"].sizes["row"] == 4
    np.testing.assert_array_equal(predicted["observed_data"]["y"], other.response)
    constant = predicted["constant_data"].to_dataset()
    for name, codes in (("gene", [2, 0, 0, 2]), ("line", [1, 1, 0, 0])):
        np.testing.assert_array_equal(constant[f"{name}_code"], codes)
    by_level = tree["constant_data"].to_dataset().drop_dims("row")
    xr.testing.assert_identical(constant.drop_dims("row"), by_level)


def test_a_level_that_was_not_fitted_is_told():
    gene = Factor("gene", ("gene2", "gene7"), np.array([0, 1, 1], np.int32))
    other = CrossedData(np.arange(3.0), "y", (gene, DATA.factors[1]), num_missing=0, notes=())
    with pytest.raises(InputError, match="level 'gene7' of gene was not in the fitted table"):
        posterior_predictive(fitted(1, 10), other)


@pytest.mark.parametrize("names", [("gene", "plate"), ("gene", "line", "plate")])
def test_other_factors_than_those_fitted_are_told(names):
    codes = (GENE, LINE, LINE)[: len(names)]
    other = table(np.arange(6.0), *codes, names=names)
    with pytest.raises(InputError, match=r"gene, .*plate, but the fit gene, line: "):
        posterior_predictive(fitted(1, 10), other)


@pytest.mark.parametrize(
    ("num_draws", "expected"),
    [(None, range(10)), (10, range(10)), (99, range(10)), (4, [0, 3, 6, 9]), (1, [0])],
)
def test_draws_are_thinned_evenly_and_keep_their_numbers(num_draws, expected):
    tree = fitted(2, 10, noise=False)
    predicted = posterior_predictive(tree, DATA, num_draws=num_draws)["posterior_predictive"]["y"]
    np.testing.assert_array_equal(predicted["draw"], list(expected))
    np.testing.assert_allclose(predicted, expectation(tree)[:, list(expected)], rtol=1e-14)
    assert tree["posterior"].sizes["draw"] == 10


# The prior's

PRIORS = Priors(
    factor_means=(dist.Normal(3.0, 0.5), dist.Normal(-1.0, 2.0)),
    factor_sds=(dist.LogNormal(np.log(1.5), 1e-6), dist.LogNormal(np.log(0.7), 1e-6)),
    sigma=dist.LogNormal(np.log(0.4), 1e-6),
)
NUM_DRAWS = 20_000


@pytest.fixture(scope="module")
def prior_tree():
    return prior_predictive(xr.DataTree(), DATA, priors=PRIORS, num_draws=NUM_DRAWS, seed=1)


def test_prior_predictions_have_the_moments_of_theory(prior_tree):
    response = prior_tree["prior_predictive"]["y"].values[0]
    same_gene, same_line = (c[:, None] == c for c in (GENE, LINE))
    covariance = 0.5**2 + 2.0**2 + 1.5**2 * same_gene + 0.7**2 * same_line + 0.4**2 * np.eye(6)
    variance = np.diag(covariance)
    np.testing.assert_allclose(
        response.mean(0), 3.0 - 1.0, atol=5 * np.sqrt(variance.max() / NUM_DRAWS)
    )
    error = np.abs(np.cov(response.T) - covariance)
    se = np.sqrt((np.outer(variance, variance) + covariance**2) / NUM_DRAWS)
    assert (error / se).max() < 5


def test_prior_is_named_as_the_posterior_in_original_coordinates(prior_tree):
    assert set(prior_tree.children) == {"prior", "prior_predictive"}
    prior = prior_tree["prior"].to_dataset()
    expected = {"intercept", "sigma"}
    for factor in ("gene", "line"):
        expected |= {f"{factor}{part}" for part in ("_effect", "_sd", "_mean", "_intercept")}
    assert set(prior.data_vars) == expected
    assert prior["gene_effect"].dims == ("chain", "draw", "gene")
    assert prior["gene"].values.tolist() == ["gene0", "gene1", "gene2"]
    assert prior_tree["prior_predictive"]["y"].dims == ("chain", "draw", "row")


def test_prior_draws_fit_together(prior_tree):
    prior = prior_tree["prior"].to_dataset()
    total = 0
    for factor in ("gene", "line"):
        mean = prior[f"{factor}_intercept"].mean(factor)
        total = total + mean
        np.testing.assert_allclose(prior[f"{factor}_effect"].sum(factor), 0, atol=1e-13)
        np.testing.assert_allclose(
            prior[f"{factor}_effect"], prior[f"{factor}_intercept"] - mean, atol=1e-13
        )
    np.testing.assert_allclose(prior["intercept"], total, atol=1e-13)


def test_prior_draws_follow_the_priors():
    prior = prior_predictive(xr.DataTree(), DATA, num_draws=NUM_DRAWS)["prior"].to_dataset()
    drawn = [prior[name].values.ravel() for name in ("gene_sd", "line_sd", "sigma")]
    for sd in drawn:  # Exponential(1)
        assert sd.mean() == pytest.approx(1, abs=5 / np.sqrt(NUM_DRAWS))
        assert np.median(sd) == pytest.approx(np.log(2), abs=5 / np.sqrt(NUM_DRAWS))
    means = [prior[name].values.ravel() for name in ("gene_mean", "line_mean")]
    for mean in means:  # Normal(0, 5)
        assert mean.mean() == pytest.approx(0, abs=5 * 5 / np.sqrt(NUM_DRAWS))
        assert mean.std() == pytest.approx(5, rel=5 / np.sqrt(2 * NUM_DRAWS))
    correlations = np.corrcoef([*drawn, *means])[~np.eye(5, dtype=bool)]
    assert np.abs(correlations).max() < 5 / np.sqrt(NUM_DRAWS)


def test_scaled_priors_follow_the_response():
    big = CrossedData(1000 * DATA.response, "y", DATA.factors, num_missing=0, notes=())
    small, large = (
        prior_predictive(xr.DataTree(), data, priors="scaled", num_draws=100, seed=2)
        for data in (DATA, big)
    )
    np.testing.assert_allclose(
        large["prior_predictive"]["y"], 1000 * small["prior_predictive"]["y"], rtol=1e-9
    )


def test_prior_is_added_to_a_fit():
    tree = fitted(1, 10)
    extended = prior_predictive(tree, DATA, num_draws=7)
    assert set(extended.children) == {*tree.children, "prior", "prior_predictive"}
    assert "prior" not in tree.children
    assert extended["prior"].sizes["draw"] == 7


def test_the_seed_is_that_of_the_prior_draws(prior_tree):
    again = prior_predictive(xr.DataTree(), DATA, priors=PRIORS, num_draws=NUM_DRAWS, seed=1)
    xr.testing.assert_identical(again, prior_tree)
    other = prior_predictive(xr.DataTree(), DATA, priors=PRIORS, num_draws=10, seed=2)
    assert (other["prior"]["gene_sd"].values != prior_tree["prior"]["gene_sd"][:, :10]).all()


def test_prior_draws_are_float64_whatever_the_caller_computes_in():
    with jax.enable_x64(False):
        tree = prior_predictive(xr.DataTree(), DATA, num_draws=10)
    for group in tree.children.values():
        assert {str(draws.dtype) for draws in group.data_vars.values()} == {"float64"}


def test_prior_predictive_refuses_an_unknown_noise():
    with pytest.raises(InputError, match="unknown noise 'cauchy'"):
        prior_predictive(xr.DataTree(), DATA, noise="cauchy")
