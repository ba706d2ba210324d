"""What a fit took: gradients counted, seconds shared out, and effective draws by each."""

import json
from functools import partial

import jax
import numpy as np
import pytest
import xarray as xr
from example_tables import balanced

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.results.convergence import convergence, identified

DATA = balanced((3, 6), 3, sds=(0.5, 0.5), sigma=0.2)
SETTINGS = {"parameterization": "sum_to_zero", "num_chains": 2, "num_warmup": 60}


@pytest.fixture(scope="module")
def tree():
    with jax.enable_x64(True):
        return cj.fit(DATA, num_draws=80, **SETTINGS)


def test_gradients_of_warm_up_are_those_of_its_trajectories(tree, monkeypatch):
    """With nothing to adapt the steps of warm-up are the first draws of a run that has less."""
    monkeypatch.setattr("crossed_jax.sampling.chunks.schedule", unscheduled)
    warmed = cj.fit(DATA, num_draws=20, **SETTINGS)
    drawn = cj.fit(DATA, num_draws=79, **SETTINGS | {"num_warmup": 1})
    steps = drawn["sample_stats"]["n_steps"]
    first, rest = (int(steps.isel(draw=part).sum()) for part in (slice(59), slice(59, None)))
    assert cj.timings(warmed).warmup_gradients == cj.timings(drawn).warmup_gradients + first
    assert cj.timings(warmed).sampling_gradients == rest
    assert cj.timings(tree).warmup_gradients > 2 * 60


def unscheduled(num_warmup):
    from crossed_jax.sampling.warmup import SAMPLE

    return np.full(128, SAMPLE, np.int32)


def test_a_run_that_goes_on_counts_from_its_beginning(tree, tmp_path, monkeypatch):
    monkeypatch.setattr("crossed_jax.sampling.chunks.SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr("crossed_jax.sampling.chunks.SECONDS_BETWEEN_REPORTS", 0.0)  # step by step

    def stop(last, progress):
        if progress.done == last:
            raise RuntimeError

    for last in (40, 60, 100):
        with pytest.raises(RuntimeError):
            cj.fit(DATA, num_draws=80, checkpoint=tmp_path, report=partial(stop, last), **SETTINGS)
    resumed = cj.fit(DATA, num_draws=80, checkpoint=tmp_path, **SETTINGS)
    xr.testing.assert_equal(resumed["posterior"].to_dataset(), tree["posterior"].to_dataset())
    once, again = cj.timings(tree), cj.timings(resumed)
    assert once.warmup_gradients == again.warmup_gradients
    assert once.sampling_gradients == again.sampling_gradients
    assert again.warmup_s > 0
    longer = cj.timings(cj.fit(DATA, num_draws=90, checkpoint=tmp_path, **SETTINGS))
    assert longer.warmup_gradients == once.warmup_gradients
    assert (longer.warmup_s, longer.sampling_s > again.sampling_s) == (again.warmup_s, True)


def test_effective_draws_are_by_seconds_and_gradients(tree):
    found = cj.timings(tree)
    statistics = convergence(tree)
    smallest = min(float(values.min()) for values in statistics.ess_bulk.data_vars.values())
    assert found.min_ess_bulk == smallest
    assert found.min_ess_bulk_at == cj.diagnose(tree).min_ess_bulk_at
    assert found == cj.timings(tree, statistics)
    seconds = json.loads(tree.attrs["seconds"])
    told = (found.compile_s, found.prepare_s, found.warmup_s, found.sampling_s, found.summary_s)
    assert sum(told) == pytest.approx(sum(seconds.values()))
    assert found.ess_per_s == pytest.approx(smallest / seconds["sample"])
    assert found.ess_per_s_with_warmup == pytest.approx(smallest / sum(told[1:4]))
    gradients = int(tree["sample_stats"]["n_steps"].sum())
    assert found.ess_per_gradient == smallest / gradients
    assert found.ess_per_gradient_with_warmup == smallest / (gradients + found.warmup_gradients)
    assert json.loads(json.dumps(found.to_dict())) == found._asdict()


def test_what_the_data_do_not_identify_does_not_count():
    tree = cj.fit(DATA, num_draws=80, **SETTINGS | {"parameterization": "original"})
    assert {"a_mean", "a_intercept"} <= set(tree["posterior"].data_vars)
    assert {"intercept", "sigma", "a_effect", "a_sd"} <= set(identified(tree))
    assert {"a_mean", "b_mean", "a_intercept", "b_intercept"}.isdisjoint(identified(tree))
    assert cj.timings(tree).min_ess_bulk_at.split("[")[0] in identified(tree)


def test_a_file_tells_the_same(tree, tmp_path):
    tree.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "a.nc", engine="h5netcdf") as read:
        assert cj.timings(read) == cj.timings(tree)


def test_a_fit_that_did_not_record_gradients(tree):
    older = tree.copy()
    del older.attrs["warmup_gradients"]
    assert cj.timings(older).warmup_gradients is None
    assert cj.timings(older).ess_per_gradient_with_warmup is None


def test_too_few_draws_have_no_effective_number():
    tree = cj.fit(DATA, num_draws=4, **SETTINGS)
    found = cj.timings(tree.isel(draw=slice(2)))
    assert np.isnan(found.min_ess_bulk)
    assert found.to_dict()["ess_per_s"] is None


def test_other_trees_are_told():
    with pytest.raises(InputError, match="timings takes the tree that fit returns"):
        cj.timings(xr.DataTree())
