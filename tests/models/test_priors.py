import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from example_tables import balanced

from crossed_jax.errors import InputError
from crossed_jax.models import priors as priors_module
from crossed_jax.models.distributions import inside_support, log_density_of_log
from crossed_jax.models.priors import (
    Priors,
    describe_priors,
    post_priors,
    resolve_priors,
    scaled_priors,
)

DATA = balanced((3, 4), 2, sds=(1, 1), sigma=1, intercept=100.0)


def test_post_priors_are_those_posted():
    priors = resolve_priors("post", DATA, {})
    assert [(p.loc, p.scale) for p in priors.factor_means] == [(0.0, 5.0)] * 2
    assert all(p.rate == 1.0 for p in (*priors.factor_sds, priors.sigma))


def test_scaled_priors_are_the_post_ones_of_the_standardized_response():
    priors = scaled_priors(DATA)
    mean, sd = DATA.response.mean(), DATA.response.std(ddof=1)
    standard = post_priors(2)
    for x in (-1.0, 0.3):
        scaled = priors.intercept(np.array([0.5, 2.0]) * sd, (3, 4)).log_prob(mean + sd * x)
        expected = standard.intercept(np.array([0.5, 2.0]), (3, 4)).log_prob(x) - np.log(sd)
        assert float(scaled) == pytest.approx(float(expected))
    found = priors.sigma.log_prob(0.7 * sd)
    assert float(found) == pytest.approx(float(standard.sigma.log_prob(0.7)) - np.log(sd))


def test_intercept_prior_counts_the_levels():
    prior = post_priors(2).intercept(np.array([0.6, 2.0]), (3, 10))
    assert float(prior.scale) == pytest.approx(np.sqrt(50 + 0.36 / 3 + 4 / 10))


NORMAL, EXPONENTIAL = dist.Normal(0.0, 1.0), dist.Exponential(1.0)


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ("flat", "choose 'post' or 'scaled'"),
        (Priors((NORMAL,), (EXPONENTIAL,) * 2, EXPONENTIAL), "1 distributions for 2 factors"),
        (Priors((NORMAL,) * 2, (EXPONENTIAL,) * 3, EXPONENTIAL), "3 distributions for 2 factors"),
        (Priors((EXPONENTIAL,) * 2, (EXPONENTIAL,) * 2, EXPONENTIAL), "must be Normal"),
        (Priors((NORMAL,) * 2, (EXPONENTIAL,) * 2, NORMAL), "prior of sigma is Normal"),
        (Priors((NORMAL,) * 2, (EXPONENTIAL, NORMAL), EXPONENTIAL), "prior of b_sd is Normal"),
        (Priors(NORMAL, (EXPONENTIAL,) * 2, EXPONENTIAL), "a tuple of one distribution"),
        (Priors(None, (EXPONENTIAL,) * 2, EXPONENTIAL), "factor_means is None"),
        (Priors((NORMAL,) * 2, {"a": EXPONENTIAL}, EXPONENTIAL), "a tuple of one distribution"),
    ],
)
def test_priors_that_make_no_sense_are_refused(priors, message):
    with pytest.raises(InputError, match=message):
        resolve_priors(priors, DATA, {})


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "prior",
    [
        *map(priors_module.Exponential, (0, -1.0, NAN, INF, 1e-200, np.ones(2), "1", None)),
        *(dist.Exponential(rate, validate_args=False) for rate in (0.0, -1.0, NAN, INF)),
        dist.Gamma(0.0, 1.0, validate_args=False),
        dist.HalfNormal(np.ones(2)),
        dist.Uniform(-1.0, 1.0),
        dist.Uniform(1.0, 1.0),
        dist.TruncatedNormal(0.0, 1.0, low=-1.0),
        dist.Poisson(1.0),
        dist.Delta(1.0),
        dist.HalfNormal,
        1.0,
    ],
)
def test_priors_of_an_sd_that_make_no_sense_are_told(prior):
    priors = Priors((NORMAL,) * 2, (EXPONENTIAL, prior), EXPONENTIAL)
    with pytest.raises(InputError, match=r"prior of b_sd is .*: [^:]+\.$"):
        resolve_priors(priors, DATA, {})


@pytest.mark.parametrize(
    ("loc", "scale"),
    [
        (0, 0),
        (0, -1.0),
        (0, NAN),
        (0, INF),
        (NAN, 1),
        (INF, 1),
        (0, 1e200),
        (np.ones(2), 1),
        ("0", 1),
    ],
)
def test_priors_of_a_mean_that_make_no_sense_are_told(loc, scale):
    means = (priors_module.Normal(loc, scale), NORMAL)
    with pytest.raises(InputError, match=r"prior of a_mean is .*: [^:]+\.$"):
        resolve_priors(Priors(means, (EXPONENTIAL,) * 2, EXPONENTIAL), DATA, {})


@pytest.mark.parametrize(
    "prior", [priors_module.Exponential, dist.HalfNormal, lambda x: dist.Uniform(0, x)]
)
def test_a_traced_parameter_is_told(prior):
    def resolve(parameter):
        resolve_priors(
            Priors((NORMAL,) * 2, (prior(parameter), EXPONENTIAL), EXPONENTIAL), DATA, {}
        )
        return parameter

    with pytest.raises(InputError, match="prior of a_sd"):
        jax.jit(resolve)(1.0)


def test_numbers_of_numpy_and_jax_are_parameters():
    ours, means = priors_module.Exponential(np.float32(2)), priors_module.Normal(jnp.zeros(()), 5)
    resolved = resolve_priors(Priors((means,) * 2, [ours, EXPONENTIAL], EXPONENTIAL), DATA, {})
    assert resolved.factor_sds[0] == (2.0,)
    assert [type(x) for x in (*resolved.factor_means[0], *resolved.factor_sds[0])] == [float] * 3
    json.dumps(describe_priors(resolved, DATA, "custom"))


BOUNDED = {
    "uniform": (dist.Uniform(0.2, 1.0), 0.2, 1.0),
    "beta": (dist.Beta(2.0, 2.0), 0.0, 1.0),
    "not a number beyond": (dist.Kumaraswamy(2.0, 2.0), 0.0, 1.0),
    "pareto": (dist.Pareto(0.5, 3.0), 0.5, INF),
    "truncated": (dist.TwoSidedTruncatedDistribution(dist.Normal(0.0, 1.0), 0.0, 2.0), 0.0, 2.0),
}


@pytest.mark.parametrize(("prior", "low", "high"), BOUNDED.values(), ids=BOUNDED.keys())
def test_a_density_ends_where_its_support_does(prior, low, high):
    resolve_priors(Priors((NORMAL,) * 2, (prior, EXPONENTIAL), prior), DATA, {})
    log_density = jax.jit(jax.value_and_grad(partial(log_density_of_log, prior)))
    for sd in (1e-8, 0.1, 0.3, 0.7, 0.9, 1.5, 3.0):
        value, slope = log_density(np.log(sd))
        if low <= sd <= high:
            assert float(value) == pytest.approx(float(prior.log_prob(sd)) + np.log(sd))
            assert np.isfinite(slope)
        else:
            assert float(value) == -INF
            assert slope == 1.0


@pytest.mark.parametrize("sd", [1e-9, 0.3, 0.7, 50.0])
def test_the_nearest_sd_within_a_support(sd):
    for prior, low, high in BOUNDED.values():
        assert low < inside_support(prior, sd) < high
    assert inside_support(EXPONENTIAL, sd) == inside_support(dist.Uniform(0.0, 1e4), sd) == sd


def test_description_fits_into_json():
    priors = Priors((NORMAL,) * 2, (dist.HalfNormal(2.0), dist.Gamma(2.0, 1.0)), EXPONENTIAL)
    described = json.loads(json.dumps(describe_priors(priors, DATA, "custom")))
    assert described["factor_sds"] == {
        "a": "HalfNormal(scale=2.0)",
        "b": "Gamma(concentration=2.0, rate=1.0)",
    }
    assert described["sigma_median"] == pytest.approx(np.log(2), rel=1e-6)
    assert described["factor_sd_medians"]["a"] == pytest.approx(2.0 * 0.67449, rel=1e-4)


@pytest.mark.parametrize(
    ("prior", "written"),
    [
        (
            dist.FoldedDistribution(dist.Normal(0.0, 3.0)),
            "FoldedDistribution(base_dist=Normal(loc=0.0, scale=3.0), transforms=[AbsTransform()])",
        ),
        (
            dist.TruncatedNormal(0.0, 0.1 + 0.2, low=0.0),
            "LeftTruncatedDistribution("
            "base_dist=Normal(loc=0.0, scale=0.30000000000000004), low=0.0)",
        ),
        (dist.LogNormal(0.5, 2.0), "LogNormal(loc=0.5, scale=2.0)"),
    ],
)
def test_description_loses_no_parameter(prior, written):
    priors = Priors((NORMAL,) * 2, (prior,) * 2, prior)
    assert describe_priors(priors, DATA, "custom")["sigma"] == written
