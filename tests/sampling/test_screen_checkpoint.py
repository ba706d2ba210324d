"""Runs of the screen model that are stopped or extended, and how their chains share the machine."""

import json

import numpy as np
import pytest
import xarray as xr
from runs import assert_same, stopped
from screen_tables import SCREEN, SETTINGS

import crossed_jax as cj
from crossed_jax.errors import InputError

pytestmark = pytest.mark.usefixtures("often_saved")

GROUPS = ("posterior", "sample_stats", "interactions", "effect_moments")


def fit(checkpoint=None, **settings):
    return cj.fit(SCREEN, checkpoint=checkpoint, **({"model": "screen"} | SETTINGS | settings))


@pytest.mark.parametrize("steps", [100, 200])
def test_a_stopped_run_goes_on_to_the_same_draws(tmp_path, steps, screen_fit):
    stopped(fit, tmp_path, steps)
    assert_same(fit(tmp_path), screen_fit, GROUPS)
    told = []
    assert_same(fit(tmp_path, report=told.append), screen_fit, GROUPS)
    assert told == []


def test_an_extended_run_keeps_what_it_gave_and_is_one_longer_run(tmp_path, screen_fit):
    """Draws of genes too, which are not in step with the pieces that they are drawn in."""
    shorter, middle = (fit(tmp_path, num_draws=number) for number in (50, 97))
    longer = fit(tmp_path)
    assert_same(longer, screen_fit, GROUPS)
    for part in (shorter, middle):
        number = part["posterior"].sizes["draw"]
        first = longer["posterior"].to_dataset().isel(draw=slice(number))
        xr.testing.assert_identical(first, part["posterior"].to_dataset())
    assert json.loads(longer.attrs["effects_drawn_to"]) == [150]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("additive", 'of another run: its model is "screen", and not "additive"'),
        (cj.Model(slopes="line"), "of another run: its parts"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(tmp_path, model, message):
    fit(tmp_path, num_draws=4)
    with pytest.raises(InputError, match=message):
        fit(tmp_path, model=model)


def test_all_parts_by_name_are_the_screen_model(tmp_path):
    first = fit(tmp_path, num_draws=4)
    every = cj.Model(slopes="line", noise_by=("line", "gene"), interaction=True)
    assert_same(fit(tmp_path, num_draws=4, model=every), first, GROUPS)


def test_chain_methods_agree_to_rounding():
    """With little warm-up, which makes much of roundings: step sizes follow from them."""
    one, two = (fit(num_warmup=1, chain_method=how) for how in ("vectorized", "sequential"))
    for group in ("posterior", "interactions"):
        for name, values in one[group].data_vars.items():
            np.testing.assert_allclose(two[group][name], values, rtol=1e-6, atol=1e-6)
