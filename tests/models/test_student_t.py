"""Student-t noise: its density against SciPy's, its estimate, and whole fits with it."""

import dataclasses
import json
import re
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr
from example_tables import balanced, model_data_for, table, unbalanced
from scipy import stats

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.models import student_t
from crossed_jax.models.noise import NOISES
from crossed_jax.models.parts import parameterization_of
from crossed_jax.models.priors import post_priors, scaled_priors
from crossed_jax.models.terms import TERMS
from crossed_jax.statistics.rows import rows_of
from crossed_jax.tables.names import check_names


def with_response(data, change):
    return dataclasses.replace(data, response=change(data.response))


def without(data, rows):
    kept = np.delete(np.arange(data.num_rows), rows)
    return table(data.response[kept], *(factor.codes[kept] for factor in data.factors))


def with_outliers(response):
    strayed = response.copy()
    strayed[[5, 40, 77]] += [1.5, -1.0, 2.0]
    return strayed


SIZES = {"sds": (0.5, 0.5), "sigma": 0.2}
GAUSSIAN = balanced((10, 12), 3, **SIZES)
TABLES = {
    "rectangle": balanced((7, 4), 2, **SIZES),
    "rectangle with gaps": without(balanced((12, 4), 2, **SIZES), [3, 50, 77]),
    "ragged": unbalanced((9, 5), 40, **SIZES),
    "sparse": unbalanced((80, 60), 170, **SIZES),
    "three factors": unbalanced((3, 6, 5), 40, sds=(0.5, 1.0, 0.2), sigma=0.2),
}
POST = with_response(cj.simulate_screen(seed=0).data, with_outliers)
BRIEFLY = {"noise": "student_t", "num_warmup": 600}
NU = [0.3, 1.0, 2.03, 30.0, 199.0, 201.0, 1e3, 1e5]


def random_effects(data, seed=0):
    rng = np.random.default_rng(seed)
    effects = tuple(rng.normal(size=len(factor.levels)) for factor in data.factors)
    return jnp.asarray(rng.normal()), tuple(map(jnp.asarray, effects))


def expectation(data, intercept, effects):
    return intercept + sum(e[f.codes] for e, f in zip(effects, data.factors, strict=True))


def position_at(sigma, nu):
    return student_t.Position(jnp.log(sigma), jnp.log(nu))


# The density


def in_one_pass(rows, position, intercept, effects):
    data = SimpleNamespace(statistics=rows)
    return student_t.log_likelihood(position, data, intercept, effects)


def row_by_row(response, codes, position, intercept, effects):
    mean = intercept + sum(e[code] for e, code in zip(effects, codes, strict=True))
    nu, sigma = jnp.exp(position.log_nu), jnp.exp(position.log_sigma)
    return jax.scipy.stats.t.logpdf(response, nu, mean, sigma).sum()


IN_ONE_PASS = jax.jit(jax.value_and_grad(in_one_pass, argnums=(1, 2, 3)))
ROW_BY_ROW = jax.jit(jax.grad(row_by_row, argnums=(2, 3, 4)))


@pytest.mark.parametrize("nu", NU)
@pytest.mark.parametrize("name", TABLES)
def test_the_likelihood_is_scipys_and_its_gradient_that_of_the_formula(name, nu):
    data = TABLES[name]
    at = (position_at(0.3, nu), *random_effects(data))
    found, gradient = IN_ONE_PASS(rows_of(data), *at)
    mean = expectation(data, *at[1:])
    expected = stats.t.logpdf(data.response, nu, mean, 0.3).sum()
    assert float(found) == pytest.approx(float(expected), rel=1e-10)
    by_row = ROW_BY_ROW(data.response, [factor.codes for factor in data.factors], *at)
    for of_one, of_other in zip(*map(jax.tree.leaves, (gradient, by_row)), strict=True):
        np.testing.assert_allclose(of_one, of_other, rtol=1e-8, atol=1e-7)


def test_the_variance_is_scipys_and_infinite_for_few_degrees_of_freedom():
    nu = np.array([0.5, 1.0, 2.0, 2.1, 5.0, 1e6])
    found = student_t.variance({"sigma": np.full(6, 0.3), "nu": nu})
    assert np.isinf(found[:3]).all()
    np.testing.assert_allclose(found[3:], stats.t.var(nu[3:], scale=0.3))


# Where chains start


AWKWARD = {
    "Gaussian": GAUSSIAN,
    "outliers": POST,
    "Cauchy": with_response(
        GAUSSIAN, lambda y: y + 0.2 * np.random.default_rng(1).standard_cauchy(len(y))
    ),
    "an outlier a million times the noise": with_response(
        GAUSSIAN, lambda y: np.where(np.arange(len(y)) == 7, 1e6, y)
    ),
    "3 x 3": balanced((3, 3), 1, **SIZES),
    "2 x 2, twice": balanced((2, 2), 2, **SIZES),
    "sparse": TABLES["sparse"],
    "rounded": with_response(POST, lambda y: y.round(1)),
    "two values": with_response(GAUSSIAN, lambda y: (y > 0.5).astype(float)),
    "a third zero": with_response(GAUSSIAN, lambda y: np.where(np.arange(len(y)) % 3, y, 0.0)),
    "millions": with_response(GAUSSIAN, lambda y: 1e6 * y),
    "millionths": with_response(GAUSSIAN, lambda y: 1e-6 * y),
}


FORM = parameterization_of(TERMS["sum_to_zero"], NOISES["student_t"])
DENSITY = jax.jit(jax.value_and_grad(FORM.log_density))
START, SCALE = jax.jit(FORM.start), jax.jit(FORM.scale)


@pytest.mark.parametrize("name", AWKWARD)
def test_chains_can_start_whatever_the_table(name):
    data = AWKWARD[name]
    model_data = model_data_for(data, scaled_priors(data), noise="student_t")
    start = START(jax.random.key(0), model_data)
    density = DENSITY(start, model_data)
    for leaf in jax.tree.leaves((model_data.estimate, start, density)):
        assert np.isfinite(leaf).all()
    assert all((leaf > 0).all() for leaf in jax.tree.leaves(SCALE(model_data)))


def test_the_estimate_follows_the_units():
    """Reweighting knows no unit but through the priors, which follow it as well."""
    estimates = [
        model_data_for(data, scaled_priors(data), noise="student_t").estimate
        for data in (POST, with_response(POST, lambda y: 1e6 * y))
    ]
    for plain, scaled in zip(*(e.effects for e in estimates), strict=True):
        np.testing.assert_allclose(scaled, 1e6 * plain, rtol=1e-3, atol=1.0)
    assert float(estimates[1].sigma) == pytest.approx(1e6 * float(estimates[0].sigma), rel=1e-3)
    nus = [float(e.others["nu"]) for e in estimates]
    assert nus[1] == pytest.approx(nus[0], rel=1e-3)


def test_one_outlier_moves_the_estimate_by_less_than_the_noise():
    clean, strayed = (
        model_data_for(AWKWARD[name], post_priors(2), noise="student_t").estimate
        for name in ("Gaussian", "an outlier a million times the noise")
    )
    assert abs(float(strayed.intercept) - float(clean.intercept)) < 0.1 * SIZES["sigma"]
    for effects, others in zip(strayed.effects, clean.effects, strict=True):
        assert np.abs(effects - others).max() < SIZES["sigma"]
    assert 0.5 < float(strayed.sigma) / float(clean.sigma) < 1.1


@pytest.fixture(scope="module")
def whole():
    return cj.fit(POST, num_draws=250, **BRIEFLY)


def test_the_estimate_is_near_the_posterior(whole):
    model_data = model_data_for(POST, post_priors(2), noise="student_t")
    estimate, scale = model_data.estimate, student_t.scale(model_data)
    posterior = whole["posterior"]
    found = {
        "intercept": estimate.intercept,
        "gene_effect": estimate.effects[0],
        "cell_line_effect": estimate.effects[1],
    }
    for name, values in found.items():
        drawn = posterior[name]
        assert (abs(values - drawn.mean(("chain", "draw"))) < drawn.std(("chain", "draw"))).all()
    of_noise = {
        "sigma": (estimate.sigma, scale.log_sigma),
        "nu": (estimate.others["nu"], scale.log_nu),
    }
    for name, (value, rough_sd) in of_noise.items():
        drawn = np.log(posterior[name])
        assert abs(np.log(value) - float(drawn.mean())) < 2 * float(drawn.std())
        assert 0.5 < float(drawn.std() / rough_sd) < 2


def test_outliers_are_told_from_the_noise(whole):
    """The data have noise of SD 0.05, and effects that three outliers in ninety would move."""
    posterior = whole["posterior"]
    assert 0.02 < float(posterior["sigma"].mean()) < 0.06
    assert float(posterior["nu"].median()) < 5


# Whole fits


@pytest.mark.parametrize("form", ["collapsed", "design_matrix"])
def test_a_form_that_cannot_have_it_is_told(form):
    with pytest.raises(InputError, match=f"{form} form cannot have student_t noise: choose param"):
        cj.fit(POST, noise="student_t", parameterization=form)


def test_unknown_noise_is_told():
    with pytest.raises(InputError, match="unknown noise 'cauchy': choose one of normal, student_t"):
        cj.fit(POST, noise="cauchy")


def test_priors_of_what_the_model_has_not_are_told():
    priors = post_priors(2)._replace(others={"mu": dist.Gamma(2.0, 0.1)})
    with pytest.raises(InputError, match=r"no prior of 'mu' in this model: .*sigma, nu\.$"):
        cj.fit(POST, noise="student_t", priors=priors)
    priors = post_priors(2)._replace(others={"nu": dist.Gamma(2.0, 0.1)})
    with pytest.raises(InputError, match=r"no prior of 'nu' in this model: .*sigma\.$"):
        cj.fit(POST, priors=priors)
    priors = post_priors(2)._replace(others={"nu": dist.Normal(2.0, 0.1)})
    with pytest.raises(InputError, match="prior of nu is Normal, which is not confined to positiv"):
        cj.fit(POST, noise="student_t", priors=priors)


NAMED_NU = table(GAUSSIAN.response, *(f.codes for f in GAUSSIAN.factors), names=("nu", "b"))


@pytest.mark.parametrize("call", [cj.fit, partial(cj.prior_predictive, xr.DataTree())])
def test_a_factor_called_nu_is_refused_where_the_noise_is_student_t(call):
    told = (
        "factor 'nu' would need the name 'nu' in the results, which belongs to the model itself: "
        "rename the column."
    )
    with pytest.raises(InputError, match=f"^{re.escape(told)}$"):
        call(NAMED_NU, noise="student_t")
    check_names("y", NAMED_NU.factor_names)  # of Gaussian noise


def test_a_run_goes_on_to_the_same_draws(whole, tmp_path):
    cj.fit(POST, num_draws=100, checkpoint=tmp_path / "run", **BRIEFLY)
    resumed = cj.fit(POST, num_draws=250, checkpoint=tmp_path / "run", **BRIEFLY)
    for group in ("posterior", "sample_stats"):
        xr.testing.assert_equal(resumed[group].to_dataset(), whole[group].to_dataset())


def test_a_checkpoint_of_other_noise_or_another_prior_of_nu_is_not_gone_on_with(tmp_path):
    folder = tmp_path / "run"
    cj.fit(POST, num_draws=100, checkpoint=folder, **BRIEFLY)
    gaussian = BRIEFLY | {"noise": "normal", "parameterization": "sum_to_zero"}
    priors = post_priors(2)._replace(others={"nu": dist.Gamma(2.0, 0.2)})
    for other in (gaussian, BRIEFLY | {"priors": priors}):
        with pytest.raises(InputError):
            cj.fit(POST, num_draws=100, checkpoint=folder, **other)


def test_a_streamed_fit_is_the_fit(whole, tmp_path):
    with cj.fit(POST, num_draws=250, stream_to=tmp_path / "draws.nc", **BRIEFLY) as streamed:
        assert cj.effects(streamed).equals(cj.effects(whole))
        for group in ("posterior", "sample_stats"):
            expected = whole[group].to_dataset()
            xr.testing.assert_equal(streamed[group].to_dataset().load(), expected)


def assert_student_t(predicted, group, data):
    """Residuals of predictions, put through the distribution function of their draw, are even."""
    drawn = {name: predicted[group][name].to_numpy()[..., None] for name in ("sigma", "nu")}
    names = [f"{factor.name}_effect" for factor in data.factors]
    effects = [predicted[group][name].to_numpy() for name in names]
    mean = predicted[group]["intercept"].to_numpy()[..., None] + sum(
        e[..., f.codes] for e, f in zip(effects, data.factors, strict=True)
    )
    response = predicted[f"{group}_predictive"][data.response_name].to_numpy()
    even = stats.t.cdf((response - mean) / drawn["sigma"], drawn["nu"])
    assert stats.kstest(even.ravel(), "uniform").pvalue > 1e-3


def test_predictions_are_student_t_about_their_expectation(whole):
    assert_student_t(cj.posterior_predictive(whole, POST, seed=1), "posterior", POST)
    predicted = cj.prior_predictive(whole, POST, num_draws=1000, seed=1)
    assert_student_t(predicted, "prior", POST)
    nu = predicted["prior"]["nu"].to_numpy().ravel()
    assert stats.kstest(nu, stats.gamma(2.0, scale=10.0).cdf).pvalue > 1e-3


def test_a_prior_of_nu_of_ones_own():
    data = TABLES["ragged"]
    default = model_data_for(data, post_priors(2), noise="student_t")
    prior = dist.Gamma(3.0, 0.2)
    own = default._replace(priors=default.priors._replace(others={"nu": prior}))
    position = position_at(0.3, 4.0)
    nu_default, nu_own = (list(student_t.log_priors(position, d))[1] for d in (default, own))
    assert float(nu_own) == pytest.approx(float(prior.log_prob(4.0) + jnp.log(4.0)))
    assert float(nu_default) == pytest.approx(stats.gamma(2.0, scale=10.0).logpdf(4.0) + np.log(4))

    priors = cj.Priors(*post_priors(2)[:3], others={"nu": dist.LogNormal(np.log(7.0), 0.01)})
    tree = cj.fit(data, priors=priors, num_draws=50, **BRIEFLY)
    nu = tree["posterior"]["nu"].to_numpy()
    assert (abs(nu / 7.0 - 1.0) < 0.06).all()
    assert "LogNormal" in tree.attrs["priors"]
    with pytest.raises(InputError, match="priors of its own: give them again"):
        cj.prior_predictive(tree, data)
    drawn = cj.prior_predictive(tree, data, priors=priors)["prior"]["nu"].to_numpy()
    assert (abs(drawn / 7.0 - 1.0) < 0.06).all()


def test_draws_without_a_finite_variance_count_as_noise(whole):
    infinite = float((whole["posterior"]["nu"] <= 2).mean())
    assert infinite > 0
    components = cj.variance_components(whole)
    assert components["component"].to_list() == ["gene", "cell_line", "sigma"]
    assert components["share_of_variance"].sum() == pytest.approx(1.0)
    assert components["share_of_variance"][2] > infinite
    finite = whole.copy(deep=True)
    finite["posterior"]["nu"] += 2.0
    assert cj.variance_components(finite)["share_of_variance"].sum() == pytest.approx(1.0)


def test_gross_outliers_do_not_decide_how_the_others_are_sampled():
    """Under Gaussian noise these levels' SDs could be zero; weighed down, they could not."""
    data = cj.simulate_screen(seed=0).data
    data.response[[5, 40, 77]] += [30.0, -30.0, 25.0]
    tree = cj.fit(data, noise="student_t")
    assert json.loads(tree.attrs["centered"]) == {"gene": True, "cell_line": True}
    assert cj.diagnose(tree).converged
    assert float(tree["sample_stats"]["n_steps"].mean()) < 20


def test_prior_draws_of_nu_are_independent_of_the_others():
    prior = cj.prior_predictive(xr.DataTree(), cj.penicillin(), noise="student_t")["prior"]
    for name in ("plate_sd", "sample_sd", "sigma", "plate_mean"):
        found = stats.spearmanr(prior["nu"].values[0], prior[name].values[0]).statistic
        assert abs(found) < 4 / np.sqrt(500), name
