"""Runs that are stopped, killed, extended, damaged or mistaken for another."""

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise

import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.distributions import transforms

import crossed_jax as cj
from crossed_jax import fitting
from crossed_jax.errors import InputError
from crossed_jax.models.collapsed.balanced import Balanced
from crossed_jax.models.collapsed.collapse import OutsideBoxError
from crossed_jax.models.distributions import Exponential
from crossed_jax.models.priors import Priors, describe_priors, exact_priors
from crossed_jax.models.spelling import spell
from crossed_jax.sampling import chunks as sampler
from crossed_jax.sampling import identity
from crossed_jax.sampling.checkpoint import load_note, open_checkpoint

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


def test_the_collapsed_parameterization_goes_on_to_the_same_effects(tmp_path):
    settings = {"parameterization": "collapsed", "num_draws": 60}
    expected = fit(**settings)

    def stop(progress):
        if progress.done >= 170:
            raise StopError

    with pytest.raises(StopError):
        fit(tmp_path, report=stop, **settings)
    assert_same(fit(tmp_path, **settings), expected)
    assert_same(fit(tmp_path, **settings), expected)


def test_extending_the_collapsed_parameterization_keeps_the_effects_it_gave(tmp_path):
    fits = partial(fit, tmp_path / "run", parameterization="collapsed")
    given = [fits(num_draws=number) for number in (60, 90, 95)]
    assert json.loads(given[-1].attrs["effects_drawn_to"]) == [60, 90, 95]
    for shorter, longer in pairwise(given):
        first = longer["posterior"].isel(draw=slice(shorter["posterior"].sizes["draw"]))
        xr.testing.assert_equal(first.dataset, shorter["posterior"].dataset)
    last, at_once = given[-1], fit(parameterization="collapsed", num_draws=95)
    assert json.loads(at_once.attrs["effects_drawn_to"]) == [95]
    for group, name in (("posterior", "gene_sd"), ("effect_moments", "gene_mean")):
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 3}, "its seed is 0, and not 3"),
        ({"num_chains": 3}, "its num_chains is 2, and not 3"),
        ({"priors": "scaled"}, "its priors gene_mean is"),
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


def prior_on_sds(sd):
    return Priors((dist.Normal(0.0, 5.0),) * 2, (sd,) * 2, dist.Exponential(1.0))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (dist.HalfNormal(1.0), dist.HalfNormal(1.0 + 1e-15)),
        (dist.HalfNormal(0.1), dist.HalfNormal(np.float32(0.1))),
        (dist.Exponential(1.0), Exponential(1.0)),
        (
            dist.FoldedDistribution(dist.Normal(0.0, 1.0)),
            dist.FoldedDistribution(dist.Normal(0.0, 3.0)),
        ),
        (dist.TruncatedNormal(0.0, 1.0, low=0.0), dist.TruncatedNormal(0.0, 3.0, low=0.0)),
        (
            dist.TransformedDistribution(dist.Normal(0.0, 1.0), transforms.ExpTransform()),
            dist.TransformedDistribution(dist.Normal(0.0, 3.0), transforms.ExpTransform()),
        ),
    ],
)
def test_priors_that_differ_in_anything_are_told_apart(one, other):
    first, again, second = (exact_priors(prior_on_sds(sd), DATA) for sd in (one, one, other))
    assert first == again
    assert first["gene_sd"] != second["gene_sd"]


def test_what_a_prior_computes_on_use_is_no_part_of_it():
    prior = dist.TruncatedNormal(0.0, 1.0, low=0.0)
    before = spell(prior, exactly=True)
    prior.log_prob(1.0)
    assert spell(prior, exactly=True) == before


def test_a_prior_of_unknown_code_is_refused_with_a_checkpoint(tmp_path):
    class Own(dist.HalfNormal):
        pass

    own = prior_on_sds(Own(1.0))
    assert describe_priors(own, DATA, "custom")["sigma"] == "Exponential(rate=1.0)"
    with pytest.raises(InputError, match="prior of gene_sd cannot be kept in a checkpoint, as a O"):
        fit(tmp_path / "run", priors=own, num_draws=4)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("code", "another"), ("device", "another"), ("settings", {"jax_enable_x64": False})],
)
def test_what_computes_is_a_part_of_what_a_run_is(tmp_path, monkeypatch, name, value):
    fit(tmp_path, num_draws=4)
    held = fitting.computing()
    assert "xarray" not in held["versions"]
    monkeypatch.setattr(fitting, "computing", lambda: held | {name: value})
    with pytest.raises(InputError, match=f"of another run: its {name}"):
        fit(tmp_path, num_draws=4)


def test_code_is_told_without_its_comments_and_docstrings():
    written = '"""A module."""\ndef f(x):\n    """Double."""\n    return 2 * x  # twice\n'
    assert identity._code(written) == identity._code("def f(x):\n    return (2 * x)")
    assert identity._code(written) != identity._code(written.replace("2 *", "3 *"))


def test_a_run_that_drew_nothing_binds_to_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise InputError("the log-density is not a number")

    with monkeypatch.context() as patched:
        patched.setattr(sampler, "_check_start", refuse)
        with pytest.raises(InputError, match="not a number"):
            fit(tmp_path, seed=1)
    fit(tmp_path, num_draws=4)


def segments(folder):
    return sorted(folder.glob("*.draws"))


@pytest.fixture
def in_stretches(tmp_path, monkeypatch):
    """A checkpoint of several files, and one of another seed whose files have the same names."""
    monkeypatch.setattr(sampler, "SECONDS_BETWEEN_SAVES", 1e6)
    for name, seed in (("run", 0), ("other", 1)):
        for number in (10, 20, 30):
            fit(tmp_path / name, num_draws=number, seed=seed)
    return segments(tmp_path / "run"), segments(tmp_path / "other")


@pytest.mark.parametrize(
    "what", ["other", "swapped", "repeated", "renamed", "missing", "first missing"]
)
def test_files_that_are_not_where_they_belong_are_named(in_stretches, what):
    run, other = in_stretches
    assert [path.name for path in run] == [path.name for path in other]
    named = run[1]
    if what == "other":
        named.write_bytes(other[1].read_bytes())
    elif what == "swapped":
        contents = [path.read_bytes() for path in run]
        run[1].write_bytes(contents[2])
        run[2].write_bytes(contents[1])
    elif what == "repeated":
        named = run[2].with_name("00-000000000175-000000000180.draws")
        named.write_bytes(run[1].read_bytes())
    elif what == "renamed":
        named = run[2].rename(run[2].with_name("00-000000000175-000000000180.draws"))
    elif what == "missing":
        run[1].unlink()
        named = run[2]
    else:
        run[0].unlink()
    with pytest.raises(InputError, match=rf"{named.name}' is damaged, or not what follows there"):
        fit(run[0].parent, num_draws=30)


def test_all_files_of_another_run_are_refused(in_stretches):
    run, other = in_stretches
    for path, copied in zip(run, other, strict=True):
        path.write_bytes(copied.read_bytes())
    with pytest.raises(InputError, match=f"{run[0].name}' is damaged, or not what follows"):
        fit(run[0].parent, num_draws=30)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and then nothing", None])
def test_a_damaged_file_is_named(in_stretches, damage):
    path = in_stretches[0][-1]
    whole = fit(path.parent, num_draws=30)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content if damage is None else damage)
    with pytest.raises(InputError, match=f"{path.name}' is damaged, or .*: delete it"):
        fit(path.parent, num_draws=30)
    path.unlink()
    assert_same(fit(path.parent, num_draws=30), whole)


def put_nothing_of_a_file(path, what):
    path.unlink(missing_ok=True)
    if what == "a link":
        path.symlink_to("/dev/zero")
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a directory":
        path.mkdir()
    elif what == "nested":
        path.write_text("[" * 100_000)
    elif what == "huge":
        with path.open("wb") as file:
            file.truncate(2**42)
    else:
        path.write_text(what)


HOSTILE = ["a link", "a pipe", "a directory", "nested", "huge"]


@pytest.mark.parametrize("what", ["", "[]", "{", *HOSTILE])
def test_a_damaged_identity_is_named(tmp_path, what):
    fit(tmp_path, num_draws=4)
    put_nothing_of_a_file(tmp_path / "identity.json", what)
    with pytest.raises(InputError, match=r"identity.json.*damaged"):
        fit(tmp_path)


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_file_of_draws_is_named(tmp_path, what):
    fit(tmp_path, num_draws=4)
    (path,) = segments(tmp_path)[-1:]
    put_nothing_of_a_file(path, what)
    with pytest.raises(InputError, match=f"{path.name}' is damaged"):
        fit(tmp_path)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_note_that_is_no_file_is_named(tmp_path, what):
    fit(tmp_path, num_draws=4)
    put_nothing_of_a_file(tmp_path / "command.json", what)
    with pytest.raises(InputError, match=r"command.json.*damaged"):
        load_note(tmp_path)


def test_a_pickle_in_place_of_numbers_is_not_loaded(tmp_path):
    name = "00-000000000004-000000000004.draws"
    archive = io.BytesIO()
    np.savez(archive, state_000=np.array([print], dtype=object))
    with open_checkpoint(tmp_path, {"num_warmup": 0}, 4) as kept:
        digest = hashlib.sha256(kept.identity + name.encode() + archive.getvalue()).digest()
        (tmp_path / name).write_bytes(digest + archive.getvalue())
        with pytest.raises(InputError, match="is damaged"):
            list(kept.load())


@pytest.mark.parametrize("name", ["notes.txt", ".notes.part", "command.json", "identity.json"])
def test_a_directory_of_something_else_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="holds files that are no checkpoint: name a new or an"):
        fit(tmp_path, num_draws=4)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_parts_of_killed_writers_are_removed_and_no_others(tmp_path):
    (tmp_path / "..crossed_jax.json.0123abcd.part").write_text("{")  # killed as it claimed it
    fit(tmp_path, num_draws=4)
    ours = tmp_path / ".identity.json.0123abcd.part"
    theirs = tmp_path / ".thesis.doc.part"
    for path in (ours, theirs):
        path.write_text("begun")
    fit(tmp_path, num_draws=4)
    assert [path.name for path in tmp_path.glob(".*.part")] == [theirs.name]


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


def test_a_place_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot keep a checkpoint in .*file"):
        fit(tmp_path / "file")


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
