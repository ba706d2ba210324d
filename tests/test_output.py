"""Tests of the files of a run: whole or not at all, and readable by other programs."""

import errno
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import xarray as xr

from crossed_jax.data import InputError
from crossed_jax.files import staging
from crossed_jax.marker import MARKER, is_marked
from crossed_jax.output import staged_directory, write_json, write_tree


def contents(folder):
    """Map every path below a folder, hidden ones included, to its text, or None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_text()
        for path in folder.rglob("*")
    }


def fill(target, **files):
    with staged_directory(target) as folder:
        for name, text in files.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


def fail(target, error):
    with staged_directory(target) as folder:
        (folder / "table").write_text("new")
        raise error


# staged_directory


def test_files_and_folders_are_published(tmp_path):
    fill(tmp_path / "out", table="1", figures__effects="2")
    assert contents(tmp_path) == {
        "out": None,
        "out/table": "1",
        "out/figures": None,
        "out/figures/effects": "2",
    }


def test_nothing_is_seen_before_the_end(tmp_path):
    target = tmp_path / "out"
    with staged_directory(target) as folder:
        (folder / "table").write_text("1")
        assert not target.exists()
    assert contents(target) == {"table": "1"}


def test_missing_parents_are_made(tmp_path):
    fill(tmp_path / "a" / "b" / "out", table="1")
    assert contents(tmp_path / "a" / "b" / "out") == {"table": "1"}


@pytest.mark.skipif(os.name != "posix", reason="the system has no locks of directories")
def test_what_killed_runs_left_is_removed_and_what_others_write_is_not(tmp_path):
    left = tmp_path / "left"
    with staging(tmp_path) as other:
        (other / "table").write_text("half")
        shutil.copytree(other, other.with_name(f"{other.name}x"))  # whose owner is dead
        (tmp_path / ".crossed_jax-another machine-abc").mkdir()
        left.mkdir()
        fill(tmp_path / "out", table="1")
        assert contents(tmp_path) == {
            "left": None,
            "out": None,
            "out/table": "1",
            other.name: None,
            f"{other.name}/table": "half",
            ".crossed_jax-another machine-abc": None,
        }


@pytest.mark.skipif(os.name != "posix", reason="the system has no locks of directories")
def test_the_files_of_two_runs_that_end_together_do_not_mix(tmp_path, monkeypatch):
    put, first_is_half_done, second_is_done = os.replace, Event(), Event()

    def put_slowly(source, destination):
        put(source, destination)
        if destination.read_text() == "first" and not first_is_half_done.is_set():
            first_is_half_done.set()
            second_is_done.wait(0.5)

    def second():
        first_is_half_done.wait()
        fill(tmp_path, a="second", b="second")
        second_is_done.set()

    monkeypatch.setattr("os.replace", put_slowly)
    with ThreadPoolExecutor() as pool:
        last = pool.submit(second)
        fill(tmp_path, a="first", b="first")
        last.result()
    assert contents(tmp_path) == {"a": "second", "b": "second"}


def test_same_names_are_replaced_and_others_left_alone(tmp_path):
    target = tmp_path / "out"
    fill(target, table="old", figures__effects="old", figures__mine="mine")
    (target / "notes").write_text("mine")
    fill(target, table="new", figures__effects="new")
    assert contents(target) == {
        "table": "new",
        "notes": "mine",
        "figures": None,
        "figures/effects": "new",
        "figures/mine": "mine",
    }


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, InputError])
def test_a_failure_changes_nothing(tmp_path, error):
    fill(tmp_path / "out", table="old")
    before = contents(tmp_path)
    with pytest.raises(error):
        fail(tmp_path / "out", error)
    assert contents(tmp_path) == before


def test_a_failure_makes_no_directory(tmp_path):
    with pytest.raises(RuntimeError):
        fail(tmp_path / "a" / "out", RuntimeError)
    assert contents(tmp_path) == {}


def test_a_full_disk_is_told_and_changes_nothing(tmp_path):
    fill(tmp_path / "out", table="old")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"out' \(No space left on device\): name a directory"):
        fail(tmp_path / "out", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert contents(tmp_path) == before


def test_a_directory_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(InputError, match=r"out' \(Permission denied\): name a directory"):
        fail(tmp_path / "out", AssertionError("the block ran"))


@pytest.mark.parametrize("target", ["taken", "taken/out", "taken/a/out"])
def test_a_file_in_the_way_is_told_before_the_work(tmp_path, target):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(InputError, match="taken"):
        fail(tmp_path / target, AssertionError("the block ran"))
    assert contents(tmp_path) == {"taken": "mine"}


@pytest.mark.parametrize("taken", ["table", "figures"])
def test_a_name_taken_by_another_kind_leaves_all_old_files(tmp_path, taken):
    target = tmp_path / "out"
    fill(target, before="old")
    if taken == "table":
        (target / taken).mkdir()
    else:
        (target / taken).write_text("mine")
    old = contents(tmp_path)
    with pytest.raises(InputError, match=f"{taken}'.* is in its place; move it"):
        fill(target, before="new", table="new", figures__effects="new")
    assert contents(tmp_path) == old


def test_an_existing_directory_is_staged_within(tmp_path):
    """Files cannot be moved in from its parent if it is a mounted volume."""
    with staged_directory(tmp_path) as folder:
        assert folder.parent == tmp_path
    assert contents(tmp_path) == {}


def test_the_current_directory_may_be_the_target(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(".", table="1")
    assert contents(tmp_path) == {"table": "1"}


def test_a_link_is_followed_even_to_a_directory_yet_to_be_made(tmp_path):
    (tmp_path / "link").symlink_to("real")
    fill(tmp_path / "link", table="1")
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "real") == {"table": "1"}


def test_others_may_read_the_directory_as_any_other(tmp_path):
    (tmp_path / "usual").mkdir()
    fill(tmp_path / "out", figures__effects="1")
    for made in ("out", "out/figures"):
        assert (tmp_path / made).stat().st_mode == (tmp_path / "usual").stat().st_mode


# write_json


def test_json_reads_back(tmp_path):
    record = {"converged": True, "reasons": ['μ, "β"\n'], "r_hat": 1.003, "ridge": None}
    write_json(record, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == record
    assert (tmp_path / "a.json").read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_what_is_not_a_number(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"nested": [value]}, tmp_path / "a.json")
    assert contents(tmp_path) == {}


# write_tree

LABELS = ["p53", "007", 'a "quoted", label', "two\nlines", "β-actin", "日本", "$x^2$", "", " "]


@pytest.fixture
def tree():
    rng = np.random.default_rng(0)
    shape = (2, 5)
    draws = {
        "intercept": (("chain", "draw"), rng.normal(size=shape)),
        "gene_effect": (("chain", "draw", "gene"), rng.normal(size=(*shape, len(LABELS)))),
    }
    coords = {"chain": [0, 1], "draw": np.arange(5), "gene": LABELS}
    stats = {
        "diverging": (("chain", "draw"), rng.random(shape) < 0.5),
        "n_steps": (("chain", "draw"), rng.integers(0, 9, shape)),
    }
    root = xr.Dataset(attrs={"factors": '["gene"]', "seed": "0", "source": "β\n.csv", "empty": ""})
    return xr.DataTree.from_dict(
        {"/": root, "posterior": xr.Dataset(draws, coords), "sample_stats": xr.Dataset(stats)}
    )


def test_tree_reads_back(tmp_path, tree):
    write_tree(tree, tmp_path / "a.nc")
    with xr.open_datatree(tmp_path / "a.nc", engine="h5netcdf") as found:
        assert found.attrs == tree.attrs
        assert found["posterior"]["gene"].values.tolist() == LABELS
        assert found["sample_stats"]["diverging"].dtype == bool
        xr.testing.assert_identical(found.load(), tree)


def test_tree_does_not_need_crossed_jax_to_be_read(tmp_path, tree):
    import h5py

    write_tree(tree, tmp_path / "a.nc")
    with h5py.File(tmp_path / "a.nc") as file:
        np.testing.assert_array_equal(
            file["posterior/intercept"][:], tree["posterior"]["intercept"].values
        )


def test_a_marker_of_nested_json_marks_nothing(tmp_path):
    (tmp_path / MARKER).write_text("[" * 4096)
    assert not is_marked(tmp_path, "results")
