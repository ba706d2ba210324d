import dataclasses
import json

import numpy as np
import pytest
from example_tables import balanced

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.models.offset import add_offset, offset_of, subtract_offset
from crossed_jax.models.priors import scaled_priors

FAR = 2.0**43
STEP = 2.0**-9


def test_an_offset_of_the_response_costs_no_digits():
    data = balanced((6, 5), 600, sds=(1.0, 1.0), sigma=0.3)
    near = dataclasses.replace(data, response=np.round(data.response / STEP) * STEP)
    far = dataclasses.replace(near, response=near.response + FAR)
    fits = [cj.fit(d, priors="scaled", num_warmup=600, num_draws=200) for d in (far, near)]
    standard_error = 0.3 / 18_000**0.5
    intercepts = [tree["posterior"]["intercept"].values for tree in fits]
    assert abs((intercepts[0] - FAR).mean() - intercepts[1].mean()) < 0.2 * standard_error
    for name in ("a", "b"):
        raw = [tree["constant_data"][f"{name}_raw_mean"].values for tree in fits]
        np.testing.assert_allclose(raw[0] - FAR, raw[1], atol=STEP)
        effects = [tree["effect_moments"][f"{name}_effect_mean"] for tree in fits]
        np.testing.assert_allclose(*effects, atol=0.1 * standard_error)
        priors = [json.loads(tree.attrs["priors"])["factor_means"][name] for tree in fits]
        assert priors[0]["loc"] - FAR / 2 == pytest.approx(priors[1]["loc"], abs=2 * STEP)


def test_what_has_the_offset_in_it_gets_it_back():
    """The posted model of y - offset has means, and levels, that are offset / factors lower."""
    data = balanced((3, 4), 2, sds=(1.0, 1.0), sigma=0.3)
    measured, priors = subtract_offset(data, scaled_priors(data), 6.0)
    np.testing.assert_array_equal(measured.response, data.response - 6.0)
    expected = scaled_priors(measured).factor_means
    assert [mean.loc for mean in priors.factor_means] == pytest.approx([m.loc for m in expected])
    levels = np.zeros((1, 3)), np.zeros((1, 4))
    drawn = {
        "intercept": np.zeros(1),
        "{factor}_effect": levels,
        "{factor}_mean": (np.zeros(1), np.zeros(1)),
        "{factor}_intercept": levels,
        "sigma": np.ones(1),
    }
    restored = add_offset(drawn, 6.0)
    np.testing.assert_array_equal(restored["intercept"], [6.0])
    np.testing.assert_array_equal(restored["{factor}_mean"], [[3.0], [3.0]])
    for before, after in zip(levels, restored["{factor}_intercept"], strict=True):
        np.testing.assert_array_equal(after, before + 3.0)
    assert restored["{factor}_effect"] is levels
    assert restored["sigma"] is drawn["sigma"]


def test_a_response_near_zero_is_measured_from_zero():
    rng = np.random.default_rng(0)
    response = rng.normal(size=1000)
    assert offset_of(response) == 0.0
    assert offset_of(response + 900.0) == 0.0
    assert offset_of(np.full(5, 3.0)) == 0.0
    assert offset_of(response - 2000.0) == pytest.approx(-2000.0, abs=0.2)


@pytest.mark.parametrize(("offset", "sd"), [(1e8, 1e-6), (1e15, 1.0), (-1e12, 1e-2)])
def test_a_response_that_float64_cannot_hold_is_refused(offset, sd):
    data = balanced((3, 4), 2, sds=(1.0, 1.0), sigma=0.3)
    data = dataclasses.replace(data, response=offset + sd * data.response)
    with pytest.raises(InputError, match=r"in steps of .* only: subtract a constant near"):
        cj.fit(data, num_warmup=10, num_draws=10)
