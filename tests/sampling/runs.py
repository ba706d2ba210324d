"""Runs of the post's data in checkpoints, and runs that are stopped."""

import numpy as np
import pytest

import crossed_jax as cj

DATA = cj.simulate_screen(seed=0).data
SETTINGS = {"parameterization": "original", "num_chains": 2, "num_warmup": 150, "num_draws": 200}


def fit(checkpoint=None, **settings):
    return cj.fit(DATA, checkpoint=checkpoint, **(SETTINGS | settings))


def assert_same(tree, expected, groups=("posterior", "sample_stats")):
    for group in groups:
        assert set(tree[group].data_vars) == set(expected[group].data_vars)
        for name, values in expected[group].data_vars.items():
            np.testing.assert_array_equal(tree[group][name], values)


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
