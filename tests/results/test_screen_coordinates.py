"""The screen model's original coordinates, drawn back."""

import json

import numpy as np
import xarray as xr
from screen_tables import posterior_of

import crossed_jax as cj


def test_original_coordinates_are_the_models_own(screen_fit):
    """Given SDs and slopes: (m, a, b) drawn anew from what is reported of them are as they were."""
    number, m0, s0 = 40_000, 0.4, 0.7
    sd_a, sd_b = 0.9, 0.6
    k = np.array([0.4, 2.5, 0.8, 1.25, 1.6, 0.625])
    rng = np.random.default_rng(0)
    m = rng.normal(m0, s0, number)
    a, b = rng.normal(0.0, sd_a, (number, 4)), rng.normal(0.0, sd_b, (number, 6))
    whole = m[:, None] + b + k * a.mean(1, keepdims=True)
    level_mean = a.mean(1, keepdims=True)
    shape = (1, number)
    posterior = xr.Dataset(
        {
            "intercept": (("chain", "draw"), whole.mean(1).reshape(shape)),
            "gene_effect": (("chain", "draw", "gene"), (a - level_mean)[None]),
            "line_effect": (
                ("chain", "draw", "line"),
                (whole - whole.mean(1, keepdims=True))[None],
            ),
            "line_slope": (("chain", "draw", "line"), np.broadcast_to(k, (1, number, 6))),
            "gene_sd": (("chain", "draw"), np.full(shape, sd_a)),
            "line_sd": (("chain", "draw"), np.full(shape, sd_b)),
        }
    )
    fake = xr.DataTree.from_dict({"/": xr.Dataset(attrs=screen_fit.attrs), "posterior": posterior})
    loc = {"gene": {"loc": 0.1, "scale": 0.5}, "line": {"loc": m0 - 0.1}}
    loc["line"]["scale"] = (s0**2 - 0.5**2) ** 0.5
    fake.attrs["priors"] = json.dumps({"factor_means": loc})
    found = cj.original_coordinates(fake, seed=1)["posterior"].isel(chain=0)
    again = found["gene_intercept"].mean("gene").values
    known = whole, a - level_mean
    drawn = np.column_stack([again, found["line_mean"], found["line_intercept"], *known])
    truth = np.column_stack([a.mean(1), m, m[:, None] + b, *known])
    error = truth.std(0) * np.sqrt(2.0 / number)
    assert (abs(drawn.mean(0) - truth.mean(0)) / error).max() < 4.5
    found, expected = np.cov(drawn.T), np.cov(truth.T)
    spread = np.sqrt(np.outer(np.diag(expected), np.diag(expected)) + expected**2)
    assert (abs(found - expected) / (spread * np.sqrt(2.0 / number))).max() < 4.5
    # what the reported determine, exactly
    np.testing.assert_allclose(drawn[:, 2:8] + k * drawn[:, :1], whole, rtol=1e-12, atol=1e-12)


def test_original_coordinates_add_up_to_what_is_reported(screen_fit):
    extended = cj.original_coordinates(screen_fit, seed=4)
    posterior = posterior_of(extended)
    mean = posterior["gene_intercept"].mean("gene")
    whole = posterior["line_intercept"] + posterior["line_slope"] * mean
    reported = posterior["intercept"] + posterior["line_effect"]
    np.testing.assert_allclose(whole, reported, atol=1e-12)
    np.testing.assert_allclose(
        posterior["gene_intercept"] - mean, posterior["gene_effect"], atol=1e-12
    )
    assert "line_mean" in posterior
    assert "gene_mean" not in posterior
    again = cj.original_coordinates(screen_fit, seed=4)
    xr.testing.assert_identical(extended["posterior"].to_dataset(), again["posterior"].to_dataset())
    xr.testing.assert_identical(
        screen_fit["posterior"]["intercept"], extended["posterior"]["intercept"]
    )
