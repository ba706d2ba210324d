"""Draws streamed to a file: the same draws, tables and verdict as of those held in memory."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import xarray as xr
from example_tables import balanced, unbalanced
from xarray.backends.h5netcdf_ import H5NetCDFArrayWrapper

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.results import draws_file
from crossed_jax.results.output import write_tree
from crossed_jax.sampling import ess as effective_sample_size

SETTINGS = {"num_warmup": 600, "num_draws": 130, "seed": 3}
TABLES = {
    "balanced": balanced((3, 40), 2, sds=(1, 1), sigma=0.5),
    "missing cells": unbalanced((30, 40), 900, sds=(1, 1), sigma=0.5),
}


@pytest.fixture
def small_slabs(monkeypatch):
    """Blocks and chunks so small that even these tables have several."""
    monkeypatch.setattr(effective_sample_size, "SLAB_BYTES", 8 * 4 * 130 * 7)
    monkeypatch.setattr(effective_sample_size, "BLOCK_BYTES", 8 * 4 * 130 * 2)
    monkeypatch.setattr(draws_file, "DRAWS_IN_CHUNK", 50)


@pytest.mark.parametrize("form", ["collapsed", "sum_to_zero"])
@pytest.mark.parametrize("name", TABLES)
def test_a_streamed_fit_is_the_fit(form, name, small_slabs, tmp_path):
    del small_slabs
    data = TABLES[name]
    path = tmp_path / "posterior.nc"
    streamed = cj.fit(data, parameterization=form, stream_to=path, **SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == ["posterior.nc"]
    write_tree(cj.fit(data, parameterization=form, **SETTINGS), tmp_path / "held.nc")
    held = xr.open_datatree(tmp_path / "held.nc")
    assert cj.diagnose(streamed) == cj.diagnose(held)
    assert cj.effects(streamed).equals(cj.effects(held))
    assert cj.variance_components(streamed).equals(cj.variance_components(held))
    recovered = [cj.original_coordinates(tree, seed=1) for tree in (streamed, held)]
    xr.testing.assert_identical(*(tree["posterior"].to_dataset() for tree in recovered))
    assert set(streamed.children) == set(held.children)
    for group in streamed.children:
        xr.testing.assert_identical(streamed[group].to_dataset(), held[group].to_dataset())
    streamed.close()
    held.close()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room")
def test_all_room_is_taken_at_the_start(tmp_path):
    data = TABLES["missing cells"]
    with draws_file.drawing_to(tmp_path / "posterior.nc", data, 2, 1000) as file:
        assert file.path.stat().st_blocks * 512 >= 8 * 2 * 1000 * (30 + 40)


def test_an_error_that_is_not_of_the_file_is_left_as_it_is(tmp_path):
    def unreachable(_):
        raise ConnectionError("no server")

    path = tmp_path / "posterior.nc"
    with pytest.raises(ConnectionError, match="no server"):
        cj.fit(cj.penicillin(), priors="scaled", stream_to=path, report=unreachable)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room")
def test_a_disk_without_that_room_is_told_before_the_work(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "posterior.nc"
    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr("crossed_jax.sampling.nuts._advance", None)  # sampling would call it
    with pytest.raises(InputError, match="No space left on device"):
        cj.fit(cj.penicillin(), priors="scaled", stream_to=path)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """Give a disk of 4 MiB, or None where none can be had."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.parametrize("kind", ["held", "streamed"])
def test_no_process_dies_of_a_full_disk(kind, small_disk, tmp_path):
    where = [tmp_path / "limited"]
    where[0].mkdir()
    if kind == "held" and small_disk is not None:
        where = [small_disk, small_disk / "ballast"]
    script = Path(__file__).with_name("full_disk.py")
    command = [sys.executable, "-W", "ignore::DeprecationWarning", script, kind, *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ends = done.stdout.split()
    assert ends[:3] == ["2"] * 3
    assert set(ends[3:-1]) <= {"0", "2"}
    assert ends[-1] == "0"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep_effects": "summary"}, "leaves no draws to stream"),
        ({"parameterization": "original"}, "cannot stream its draws"),
        ({"stream_to": "nowhere/posterior.nc"}, "'nowhere' is not a directory"),
    ],
)
def test_what_cannot_be_streamed_is_told(tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        cj.fit(cj.penicillin(), **{"stream_to": tmp_path / "posterior.nc"} | settings)
    assert not list(tmp_path.iterdir())


def test_draws_that_the_disk_has_no_room_for_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "crossed_jax.results.draws_file.shutil.disk_usage", lambda _: Disk(free=2**20)
    )
    with pytest.raises(InputError, match=r"40,000 draws of 30 effects need .* GiB on the disk"):
        cj.fit(cj.penicillin(), stream_to=tmp_path / "posterior.nc", num_draws=10_000)
    assert not list(tmp_path.iterdir())


def test_a_table_is_not_replaced_by_draws(tmp_path):
    path = tmp_path / "screen.csv"
    path.write_text("gene,line,y\nA,x,1\nA,w,2.5\nB,x,3\nB,w,4\n")
    before = path.read_bytes()
    with pytest.raises(InputError, match="holds no draws"):
        cj.fit(cj.penicillin(), stream_to=path)
    assert path.read_bytes() == before


class Disk(NamedTuple):
    free: int


def test_a_directory_that_cannot_be_searched_is_told(tmp_path, monkeypatch):
    def unsearchable(_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("crossed_jax.fitting.Path.is_dir", unsearchable)
    with pytest.raises(InputError, match=r"posterior.nc' \(Permission denied\)"):
        cj.fit(cj.penicillin(), stream_to=tmp_path / "posterior.nc")


def test_no_more_is_read_at_once_than_a_slab(small_slabs, tmp_path, monkeypatch):
    del small_slabs
    read = []
    original = H5NetCDFArrayWrapper._getitem

    def note(self, key):
        values = original(self, key)
        read.append(values.nbytes)
        return values

    path = tmp_path / "posterior.nc"
    data = TABLES["missing cells"]
    with cj.fit(data, parameterization="sum_to_zero", stream_to=path, **SETTINGS) as tree:
        monkeypatch.setattr(H5NetCDFArrayWrapper, "_getitem", note)
        cj.diagnose(tree)
        cj.effects(tree)
        cj.variance_components(tree)
    assert max(read) == effective_sample_size.SLAB_BYTES
