import json

import numpy as np
import numpyro.distributions as dist
import pytest
from tables import balanced

from crossed_jax.data import InputError
from crossed_jax.priors import Priors, describe_priors, post_priors, resolve_priors, scaled_priors

DATA = balanced((3, 4), 2, sds=(1, 1), sigma=1, intercept=100.0)


def test_post_priors_are_those_posted():
    priors = resolve_priors("post", DATA)
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
    ],
)
def test_priors_that_make_no_sense_are_refused(priors, message):
    with pytest.raises(InputError, match=message):
        resolve_priors(priors, DATA)


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
