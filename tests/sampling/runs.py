"""Runs of the post's data in checkpoints, and runs that are stopped."""

import pytest
import xarray as xr

import crossed_jax as cj

DATA = cj.simulate_screen(seed=0).data
SETTINGS = {"parameterization": "original", "num_chains": 2, "num_warmup": 150, "num_draws": 200}


def fit(checkpoint=None, **settings):
    return cj.fit(DATA, checkpoint=checkpoint, **(SETTINGS | settings))


def assert_same(tree, expected, groups=("posterior", "sample_stats")):
    for group in groups:
        xr.testing.assert_identical(tree[group].to_dataset(), expected[group].to_dataset())


def segments(folder):
    return sorted(folder.glob("*.draws"))


class StopError(Exception):
    pass


def stopped(fits, folder, steps):
    """Begin a run, and stop it once it has done so many steps."""

    def stop(progress):
        if progress.done >= steps:
            raise StopError

    with pytest.raises(StopError):
        fits(folder, report=stop)
