"""Runs that are stopped, killed or extended go on to the draws of one run."""

import json
import os
import random
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from runs import SETTINGS, StopError, assert_same, fit, stopped

from crossed_jax.errors import InputError
from crossed_jax.models.collapsed.balanced import Balanced
from crossed_jax.models.collapsed.collapse import OutsideBoxError

pytestmark = pytest.mark.usefixtures("often_saved")
KILLS = int(os.environ.get("CROSSED_JAX_KILLS", "2"))


@pytest.fixture(scope="module")
def whole():
    return fit()


@pytest.mark.parametrize("steps", [1, 100, 200, 340])
def test_a_stopped_run_goes_on_to_the_same_draws(tmp_path, steps, whole):
    stopped(fit, tmp_path, steps)
    assert_same(fit(tmp_path), whole)


def test_a_finished_run_is_read_and_not_sampled(tmp_path, whole):
    fit(tmp_path)
    told = []
    assert_same(fit(tmp_path, report=told.append), whole)
    assert told == []


def test_an_extended_run_is_one_longer_run(tmp_path, whole):
    fit(tmp_path, num_draws=50)
    assert_same(fit(tmp_path), whole)


def test_fewer_draws_than_were_made_are_refused(tmp_path):
    fit(tmp_path, num_draws=60)
    with pytest.raises(InputError, match="holds 60 draws of each chain, more than the 20"):
        fit(tmp_path, num_draws=20)


def test_the_collapsed_parameterization_goes_on_to_the_same_effects(tmp_path):
    fits = partial(fit, parameterization="collapsed", num_draws=60)
    expected = fits()
    stopped(fits, tmp_path, 170)
    assert_same(fits(tmp_path), expected)
    assert_same(fits(tmp_path), expected)


def test_extending_the_collapsed_parameterization_keeps_the_effects_it_gave(tmp_path):
    fits = partial(fit, tmp_path / "run", parameterization="collapsed")
    given = [fits(num_draws=number) for number in (60, 90, 95)]
    assert json.loads(given[-1].attrs["effects_drawn_to"]) == [60, 90, 95]
    for shorter, longer in pairwise(given):
        first = longer["posterior"].isel(draw=slice(shorter["posterior"].sizes["draw"]))
        xr.testing.assert_equal(first.dataset, shorter["posterior"].dataset)
    last, at_once = given[-1], fit(parameterization="collapsed", num_draws=95)
    assert json.loads(at_once.attrs["effects_drawn_to"]) == [95]
    for group, name in (("posterior", "gene_sd"), ("effect_moments", "gene_effect_mean")):
        np.testing.assert_array_equal(last[group][name], at_once[group][name])
    streamed = fits(num_draws=95, stream_to=tmp_path / "posterior.nc")
    xr.testing.assert_equal(streamed["posterior"].dataset.load(), last["posterior"].dataset)
    streamed.close()


def test_draws_that_a_shorter_fit_gave_out_are_kept_by_a_longer(tmp_path):
    """The shorter fit is of all draws that a longer, which was stopped, had made."""
    drawn = []
    fits = partial(fit, tmp_path, parameterization="collapsed", num_warmup=150)

    def stop(progress):
        drawn.append(progress.warming_up)
        if drawn.count(False) == 3:  # the end of warm-up is the first
            raise StopError

    with pytest.raises(StopError):
        fits(num_draws=10_000, report=stop)
    held = int(max(tmp_path.glob("*.draws")).name.split("-")[1]) - 150
    assert 0 < held < 10_000
    shorter = fits(num_draws=held)
    longer = fits(num_draws=held + 10)
    first = longer["posterior"].isel(draw=slice(held))
    xr.testing.assert_equal(first.dataset, shorter["posterior"].dataset)


def test_an_extension_that_leaves_the_box_is_told_to_be_drawn_anew(tmp_path, monkeypatch):
    fits = partial(fit, tmp_path, parameterization="collapsed")
    fits(num_draws=60)
    inside = Balanced.given
    refused = []

    def given(self, sds):
        if sds.sigma.shape[1] == 90 and not refused:
            refused.append(True)
            raise OutsideBoxError(np.zeros((1, 2)))
        return inside(self, sds)

    monkeypatch.setattr(Balanced, "given", given)
    assert json.loads(fits(num_draws=90).attrs["effects_drawn_to"]) == [90]
    assert refused


def test_two_runs_cannot_use_one_checkpoint(tmp_path):
    told = []

    def second(progress):
        if not told:
            with pytest.raises(InputError, match="another run is using the checkpoint") as refused:
                fit(tmp_path)
            told.append(refused)

    fit(tmp_path, num_draws=4, report=second)
    assert told
    fit(tmp_path, num_draws=4)


CHILD = """
import sys
import crossed_jax as cj
from crossed_jax.sampling import chunks as sampler
sampler.SECONDS_BETWEEN_SAVES = 0.02
sampler.SECONDS_BETWEEN_REPORTS = 0.02
def report(progress):
    print(progress.done, flush=True)
cj.fit(cj.simulate_screen(seed=0).data, checkpoint=sys.argv[1], report=report, **{settings})
"""


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_goes_on_to_the_same_draws(tmp_path, number, whole):
    script = CHILD.format(settings=SETTINGS)
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(random.Random(number).uniform(0.0, 1.5))
    child.kill()
    child.communicate()
    assert_same(fit(tmp_path), whole)
    assert not list(tmp_path.glob(".*.part"))
