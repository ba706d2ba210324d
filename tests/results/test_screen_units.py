"""What changes no posterior of the screen model: units, an offset, the order of factors."""

import dataclasses

import numpy as np
from screen_tables import SCREEN, SETTINGS, in_other_order, posterior_of

import crossed_jax as cj

# warm-up makes much of roundings: its step sizes follow from them
UNTUNED = SETTINGS | {"num_warmup": 1}


def test_scaled_priors_fit_any_unit_alike():
    big = dataclasses.replace(SCREEN, response=2.0**10 * SCREEN.response)
    small, large = (cj.fit(d, model="screen", priors="scaled", **UNTUNED) for d in (SCREEN, big))
    in_unit = {"intercept", "gene_effect", "line_effect", "gene_sd", "line_sd", "sigma"}
    for name, values in posterior_of(small).data_vars.items():
        unit = 2.0**10 if name in in_unit else 1.0
        np.testing.assert_allclose(
            posterior_of(large)[name], unit * values, rtol=1e-6, atol=1e-6 * unit
        )
    ours, theirs = cj.interactions(small), cj.interactions(large)
    for name in ("raw_residual", "mean", "sd", "lower", "upper"):
        np.testing.assert_allclose(theirs[name], 2.0**10 * ours[name], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(theirs["lfsr"], ours["lfsr"], atol=1e-5)


def test_a_response_far_from_zero_gives_the_same_draws():
    near = dataclasses.replace(SCREEN, response=np.round(SCREEN.response * 2.0**30) / 2.0**30)
    far = dataclasses.replace(near, response=near.response + 2.0**14)
    fits = [cj.fit(data, model="screen", priors="scaled", **UNTUNED) for data in (near, far)]
    first, second = map(posterior_of, fits)
    for name, values in first.data_vars.items():
        offset = 2.0**14 if name == "intercept" else 0.0
        np.testing.assert_allclose(second[name] - offset, values, rtol=1e-6, atol=1e-6)
    one, two = map(cj.interactions, fits)
    assert one.columns == two.columns
    for name in one.columns[2:]:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-5, atol=1e-5)
    predicted = [
        cj.posterior_predictive(tree, data, num_draws=3)["posterior_predictive"]["y"].values
        for tree, data in zip(fits, (near, far), strict=True)
    ]
    np.testing.assert_allclose(predicted[1] - 2.0**14, predicted[0], atol=1e-5)
    original = [posterior_of(cj.original_coordinates(tree)) for tree in fits]
    for name in ("line_mean", "line_intercept"):
        np.testing.assert_allclose(original[1][name] - 2.0**14, original[0][name], atol=1e-5)
    np.testing.assert_allclose(*(each["gene_intercept"] for each in original), atol=1e-5)


def test_either_order_of_the_factors_is_the_same_model(screen_fit):
    first, second = screen_fit, cj.fit(in_other_order(SCREEN), model="screen", **SETTINGS)
    assert second.attrs["factors"] == '["line", "gene"]'
    for group in ("posterior", "sample_stats", "effect_moments", "interactions"):
        assert set(first[group].data_vars) == set(second[group].data_vars)
    for group in ("posterior", "sample_stats", "effect_moments"):
        for name, values in first[group].data_vars.items():
            np.testing.assert_allclose(second[group][name], values, rtol=1e-9, atol=1e-9)
    columns = [n for n in cj.interactions(first).columns if n not in ("gene", "line")]
    one, two = (cj.interactions(tree).sort("gene", "line") for tree in (first, second))
    assert one["gene"].equals(two["gene"])
    np.testing.assert_allclose(one.select(columns), two.select(columns), rtol=1e-6, atol=1e-6)
