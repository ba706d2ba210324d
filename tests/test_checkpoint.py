"""Runs that are stopped, killed, extended, damaged or mistaken for another."""

import io
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import crossed_jax as cj
from crossed_jax import sampler
from crossed_jax.checkpoint import deferred_interrupt
from crossed_jax.data import InputError
from crossed_jax.files import write_checked

DATA = cj.simulate_screen(seed=0).data
SETTINGS = {"parameterization": "original", "num_chains": 2, "num_warmup": 150, "num_draws": 200}
KILLS = int(os.environ.get("CROSSED_JAX_KILLS", "2"))


def fit(checkpoint=None, **settings):
    return cj.fit(DATA, checkpoint=checkpoint, **(SETTINGS | settings))


def assert_same(tree, expected):
    for group in ("posterior", "sample_stats"):
        for name, values in expected[group].items():
            np.testing.assert_array_equal(tree[group][name].to_numpy(), values.to_numpy())


@pytest.fixture(scope="module")
def whole():
    return fit()


@pytest.fixture(autouse=True)
def _often_saved(monkeypatch):
    monkeypatch.setattr(sampler, "SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr(sampler, "SECONDS_BETWEEN_REPORTS", 0.05)


class StopError(Exception):
    pass


@pytest.mark.parametrize("steps", [1, 100, 200, 340])
def test_a_stopped_run_goes_on_to_the_same_draws(tmp_path, steps, whole):
    def stop(progress):
        if progress.done >= steps:
            raise StopError

    with pytest.raises(StopError):
        fit(tmp_path, report=stop)
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


def test_the_collapsed_form_goes_on_to_the_same_effects(tmp_path):
    settings = {"parameterization": "collapsed", "num_draws": 100}
    expected = fit(**settings)
    fit(tmp_path, **settings | {"num_draws": 40})
    assert_same(fit(tmp_path, **settings), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 3}, "its seed is 0, and not 3"),
        ({"num_chains": 3}, "its num_chains is 2, and not 3"),
        ({"priors": "scaled"}, "its priors is"),
        ({"parameterization": "sum_to_zero"}, 'its parameterization is "original", and not'),
        ({"target_accept": 0.9}, "its target_accept is 0.8, and not 0.9"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change, message):
    fit(tmp_path, num_draws=4)
    with pytest.raises(InputError, match=message):
        fit(tmp_path, **change)


def test_a_checkpoint_of_another_table_is_refused(tmp_path):
    fit(tmp_path, num_draws=4)
    other = cj.simulate_screen(seed=1).data
    with pytest.raises(InputError, match="of another run: its table is"):
        cj.fit(other, checkpoint=tmp_path, **SETTINGS)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and then nothing", None])
def test_a_damaged_file_is_named(tmp_path, damage):
    fit(tmp_path, num_draws=4)
    path = max(tmp_path.glob("*.draws"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content if damage is None else damage)
    with pytest.raises(InputError, match=f"{path.name}.*is damaged: delete it"):
        fit(tmp_path)
    path.unlink()
    fit(tmp_path)


def test_a_gap_is_told(tmp_path):
    fit(tmp_path, num_draws=50)
    last_of_these = max(tmp_path.glob("*.draws"))
    fit(tmp_path)
    last_of_these.unlink()
    with pytest.raises(InputError, match="missing between others"):
        fit(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_identity_is_named(tmp_path, content):
    fit(tmp_path, num_draws=4)
    (tmp_path / "identity.json").write_text(content)
    with pytest.raises(InputError, match=r"identity.json.*damaged"):
        fit(tmp_path)


def test_a_pickle_in_place_of_numbers_is_not_loaded(tmp_path):
    fit(tmp_path, num_draws=4)
    archive = io.BytesIO()
    np.savez(archive, state_000=np.array([print], dtype=object))
    write_checked(max(tmp_path.glob("*.draws")), archive.getvalue())
    with pytest.raises(ValueError, match="allow_pickle=False"):
        fit(tmp_path)


def test_a_place_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot keep a checkpoint in .*file"):
        fit(tmp_path / "file")


def test_interrupts_wait_for_the_end_of_the_block():
    with deferred_interrupt() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


CHILD = """
import sys
import crossed_jax as cj
from crossed_jax import sampler
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
    assert not list(tmp_path.glob(".*"))
