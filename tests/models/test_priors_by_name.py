"""Priors by the names that the results have: what is replaced, and nothing else."""

import json

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest
from example_tables import balanced, model_data_for
from guide_screen import guide_screen

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.models.distributions import Gamma, log_density_of_log
from crossed_jax.models.model import priors_of, resolved
from crossed_jax.models.noise import NOISES
from crossed_jax.models.parts import parameterization_of
from crossed_jax.models.priors import describe_priors, resolve_priors
from crossed_jax.models.terms import TERMS

DATA = balanced((3, 4), 2, sds=(1, 1), sigma=1, intercept=100.0)
NU = {"nu": Gamma(2.0, 0.1)}


def density(priors, noise="normal"):
    """Log-density of the model as posted at one position, and that position."""
    others = NU if noise == "student_t" else {}
    data = model_data_for(DATA, resolve_priors(priors, DATA, others), (True, True), noise)
    form = parameterization_of(TERMS["original"], NOISES[noise])
    default = model_data_for(DATA, resolve_priors("post", DATA, others), (True, True), noise)
    position = form.start(jax.random.key(1), default)
    return float(form.log_density(position, data)), position


def value_of(name, position):
    """What the prior is of; an SD by its logarithm."""
    terms, noise = position.terms, position.noise
    return {
        "a_mean": terms.factor_means[0],
        "b_mean": terms.factor_means[1],
        "a_sd": terms.log_factor_sds[0],
        "b_sd": terms.log_factor_sds[1],
        "sigma": noise.log_sigma,
        "nu": getattr(noise, "log_nu", None),
    }[name]


REPLACED = {
    "a_mean": cj.Normal(3.0, 2.0),
    "b_mean": dist.Normal(-1.0, 4.0),
    "a_sd": cj.HalfNormal(2.0),
    "b_sd": dist.Uniform(0.0, 50.0),
    "sigma": cj.Exponential(3.0),
    "nu": dist.Exponential(0.2),
}


@pytest.mark.parametrize("name", REPLACED)
def test_a_replaced_prior_changes_its_own_term_alone(name):
    noise = "student_t" if name == "nu" else "normal"
    before, position = density("post", noise)
    prior = REPLACED[name]
    after, _ = density(cj.Priors.post(DATA).replace({name: prior}), noise)
    term = log_density_of_log
    if name.endswith("mean"):
        term = lambda prior, value: prior.log_prob(value)  # noqa: E731
    default = resolve_priors("post", DATA, NU).by_name(("a", "b"))[name]
    value = value_of(name, position)
    assert after - before == pytest.approx(float(term(prior, value) - term(default, value)))


def test_half_normal_is_numpyros():
    ours, theirs = cj.HalfNormal(1.7), dist.HalfNormal(1.7)
    x = jnp.array([0.1, 1.0, 4.0])
    assert ours.log_prob(x) == pytest.approx(theirs.log_prob(x))
    assert ours.icdf(0.3) == pytest.approx(float(theirs.icdf(0.3)), rel=1e-6)
    draws = ours.sample(jax.random.key(0), (4000,))
    assert float(draws.min()) > 0
    assert float((draws**2).mean()) == pytest.approx(1.7**2, rel=0.1)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), "1", None])
def test_a_half_normal_that_makes_no_sense_is_told(scale):
    priors = cj.Priors.post(DATA).replace(a_sd=cj.HalfNormal(scale))
    with pytest.raises(InputError, match="prior of a_sd"):
        resolve_priors(priors, DATA, {})


@pytest.mark.parametrize("name", ["post", "scaled"])
def test_named_priors_are_those_of_the_name(name):
    data = guide_screen()
    defaults = priors_of(resolved("screen", data)[0], data.factor_names)
    given = getattr(cj.Priors, name)(data)
    assert resolve_priors(given, data, defaults) == resolve_priors(name, data, defaults)
    assert given.base == name


def test_every_prior_of_a_screen_has_its_name():
    data = guide_screen()
    defaults = priors_of(resolved("screen", data)[0], data.factor_names)
    named = {name: cj.HalfNormal(0.5) for name in defaults if not name.endswith("share")}
    named["interaction_share"] = dist.Beta(2.0, 2.0)
    priors = resolve_priors(cj.Priors.scaled(data).replace(named), data, defaults)
    assert priors.by_name(data.factor_names).items() >= named.items()


def test_the_last_replacement_counts_and_the_first_is_left_alone():
    first = cj.Priors.post(DATA).replace(a_sd=cj.HalfNormal(1.0))
    second = first.replace(a_sd=cj.HalfNormal(2.0), sigma=cj.HalfNormal(3.0))
    assert resolve_priors(first, DATA, {}).factor_sds[0] == cj.HalfNormal(1.0)
    assert resolve_priors(first, DATA, {}).sigma == cj.Exponential(1.0)
    assert resolve_priors(second, DATA, {}).factor_sds[0] == cj.HalfNormal(2.0)
    assert resolve_priors(second, DATA, {}).sigma == cj.HalfNormal(3.0)


def test_an_unknown_name_is_refused_with_those_there_are():
    told = "no prior of 'c_sd' in this model: it has a_mean, b_mean, a_sd, b_sd, sigma, nu."
    with pytest.raises(InputError, match=f"{told}$"):
        resolve_priors(cj.Priors.post(DATA).replace(c_sd=cj.HalfNormal(1.0)), DATA, NU)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"a_mean": cj.HalfNormal(1.0)}, "prior of a_mean is HalfNormal.*must be Normal"),
        ({"a_sd": cj.Normal(0.0, 1.0)}, "prior of a_sd is Normal"),
        ({"a_sd": dist.Uniform(-1.0, 5.0)}, "not confined to positive numbers"),
        ({"sigma": 2.0}, "prior of sigma is 2.0, not a distribution"),
    ],
)
def test_a_prior_of_the_wrong_kind_is_told(named, message):
    with pytest.raises(InputError, match=message):
        resolve_priors(cj.Priors.post(DATA).replace(named), DATA, {})


@pytest.mark.parametrize("make", [cj.Priors.post, cj.Priors.scaled])
def test_they_are_for_a_table(make):
    with pytest.raises(InputError, match="takes a table"):
        make("screen.csv")


def test_the_record_says_what_they_began_as():
    priors = cj.Priors.scaled(DATA).replace(a_sd=cj.HalfNormal(2.0))
    told = describe_priors(resolve_priors(priors, DATA, {}), DATA, priors)
    assert (told["name"], told["base"]) == ("custom", "scaled")
    assert json.loads(json.dumps(told))["factor_sds"]["a"] == "HalfNormal(scale=2.0)"


def test_a_checkpoint_of_other_priors_is_not_gone_on_with(tmp_path):
    settings = {"num_chains": 2, "num_warmup": 50, "num_draws": 20, "checkpoint": tmp_path / "run"}
    priors = cj.Priors.scaled(DATA)
    cj.fit(DATA, priors=priors.replace(a_sd=cj.HalfNormal(2.0)), **settings)
    cj.fit(DATA, priors=priors.replace(a_sd=cj.HalfNormal(2.0)), **settings)
    with pytest.raises(InputError, match="priors"):
        cj.fit(DATA, priors=priors.replace(a_sd=cj.HalfNormal(2.5)), **settings)
