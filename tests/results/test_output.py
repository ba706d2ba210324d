"""Tests of the files of a run: whole or not at all, and readable by other programs."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from crossed_jax.errors import InputError
from crossed_jax.files import staging as staging_module
from crossed_jax.files.marker import MARKER, is_marked
from crossed_jax.files.staging import PREFIX, staging
from crossed_jax.results.output import staged_directory, write_json, write_tree


def contents(folder):
    """Map every path below a folder to its text, None if it is no file; markers are left out."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != MARKER
    }


@pytest.fixture(params=[True, False], ids=["exchange", "no exchange"])
def exchanging(request, monkeypatch):
    """Whether the system can exchange two paths in one step."""
    if not request.param:
        monkeypatch.setattr(staging_module, "_exchange", lambda *_: False)
    return request.param


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


@pytest.mark.skipif(os.name != "posix", reason="the system has no pipes with names")
def test_what_only_has_the_name_of_a_staging_directory_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    os.mkfifo(tmp_path / f"{PREFIX}pipe")
    (tmp_path / f"{PREFIX}link").symlink_to("mine")
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / f"{PREFIX}theirs").mkdir()
    before = contents(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)  # all of it belongs to another
    fill(tmp_path / "out", table="1")
    assert contents(tmp_path) == before | {"out": None, "out/table": "1"}
    monkeypatch.undo()
    fill(tmp_path / "out", table="2")
    assert set(contents(tmp_path)) == set(before) - {f"{PREFIX}theirs"} | {
        "out",
        "out/table",
    }


def test_an_earlier_result_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "out"
    fill(target, table="old", figures__effects="old")
    fill(target, table="new")
    assert contents(tmp_path) == {"out": None, "out/table": "new"}


@pytest.mark.usefixtures("exchanging")
def test_two_runs_that_end_together_do_not_mix(tmp_path):
    fill(tmp_path / "out", a="old", b="old")
    with staged_directory(tmp_path / "out") as first:
        for name in "ab":
            (first / name).write_text("first")
        fill(tmp_path / "out", a="second", b="second")
    assert contents(tmp_path) == {"out": None, "out/a": "first", "out/b": "first"}


# what is not ours to replace


@pytest.mark.parametrize("name", ["notes.txt", "effects.csv", "run.json", "figures", ".hidden"])
def test_a_directory_that_holds_anything_of_the_users_is_refused_before_the_work(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"it holds '{name}', which is not of an earlier result"):
        fail(tmp_path, AssertionError("the block ran"))
    assert contents(tmp_path) == {name: "mine"}


@pytest.mark.parametrize("name", ["notes.txt", "figures/mine.png", "mine/notes.txt"])
def test_what_a_user_put_beside_a_result_is_not_lost(tmp_path, name):
    fill(tmp_path / "out", table="old", figures__effects="old")
    (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "out" / name).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=f"it holds '{name.removesuffix('/notes.txt')}', which"):
        fail(tmp_path / "out", AssertionError("the block ran"))
    assert contents(tmp_path) == before


def test_what_was_put_there_during_the_work_is_not_lost_and_neither_is_the_work(tmp_path):
    target = tmp_path / "out"
    fill(target, table="old")

    def work():
        with staged_directory(target) as folder:
            (folder / "table").write_text("new")
            (target / "notes").write_text("mine")

    with pytest.raises(InputError, match=r"it holds 'notes'.*the results are in '.*'") as refused:
        work()
    beside = Path(str(refused.value).split("'")[-2])
    assert contents(target) == {"table": "old", "notes": "mine"}
    assert contents(beside) == {"table": "new"}
    assert sorted(tmp_path.iterdir()) == [target, beside]
    fill(beside, table="newer")  # as good a result as any


def test_a_result_that_cannot_be_put_in_its_place_is_left_beside_it(tmp_path, monkeypatch):
    def busy(*_):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    fill(tmp_path / "out", table="old")
    monkeypatch.setattr(staging_module, "_exchange", busy)
    with pytest.raises(InputError, match=r"\(Device or resource busy\): the results are in"):
        fill(tmp_path / "out", table="new")
    assert sorted(contents(tmp_path).values(), key=str) == [None, None, "new", "old"]


def test_the_table_is_not_replaced_by_what_is_made_of_it(tmp_path):
    fill(tmp_path / "out", screen="mine")
    table = tmp_path / "out" / "screen"
    (tmp_path / "link").symlink_to(table)
    os.link(table, tmp_path / "hard")
    before = contents(tmp_path)
    for name in (table, tmp_path / "link", tmp_path / "hard"):
        with (
            pytest.raises(InputError, match=f"'{name}' lies in it and would be replaced"),
            staged_directory(tmp_path / "out", table=name),
        ):
            raise AssertionError("the block ran")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("out", "checkpoint"), [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_neither_of_results_and_checkpoint_lies_in_the_other(tmp_path, out, checkpoint):
    with (
        pytest.raises(InputError, match=r"checkpoint .* is there|lies in it and would be replaced"),
        staged_directory(tmp_path / out, checkpoint=tmp_path / checkpoint),
    ):
        raise AssertionError("the block ran")


@pytest.mark.parametrize(
    "marker", ["", "{}", '{"made_by": "crossed_jax", "version": 99}', "[" * 99]
)
def test_a_marker_of_another_version_or_none_is_not_taken_for_ours(tmp_path, marker):
    fill(tmp_path / "out", table="old")
    (tmp_path / "out" / MARKER).write_text(marker)
    with pytest.raises(InputError, match="which is not of an earlier result"):
        fill(tmp_path / "out", table="new")
    assert (tmp_path / "out" / "table").read_text() == "old"


# places that cannot be replaced themselves


@pytest.fixture(params=["current directory", "mount point", "closed parent"])
def fixed(request, tmp_path, monkeypatch):
    """A directory that can be filled and not be replaced."""
    place = tmp_path / "out"
    place.mkdir()
    if request.param == "current directory":
        monkeypatch.chdir(place)
    elif request.param == "mount point":
        monkeypatch.setattr(os.path, "ismount", lambda path: path == place)
    else:
        monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    return place


def test_a_fixed_place_is_filled_and_not_filled_again(fixed):
    fill(fixed, table="1", figures__effects="2")
    after = {"table": "1", "figures": None, "figures/effects": "2"}
    assert contents(fixed) == after
    with pytest.raises(InputError, match=r"in one step \(.*\): name another .*'.*out/results'"):
        fail(fixed, AssertionError("the block ran"))
    assert contents(fixed) == after
    fill(fixed / "results", table="3")


def test_a_fixed_place_that_cannot_be_filled_stays_empty(fixed, monkeypatch):
    def full(path, target):
        if path.name == "table":
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return rename(path, target)

    rename = Path.rename
    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(InputError, match="quota"):
        fill(fixed, table="1", figures__effects="2")
    assert contents(fixed) == {}


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


def test_who_may_enter_a_directory_is_who_might_before(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o750)
    for _ in range(2):
        fill(tmp_path / "out", table="1")
        assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


def test_ctrl_c_at_the_very_end_comes_too_late(tmp_path, monkeypatch):
    """What was put in its place is told as written, and the earlier result is removed."""

    def interrupted(made, place):
        put(made, place)
        signal.raise_signal(signal.SIGINT)

    put = staging_module.put
    fill(tmp_path / "out", table="old")
    monkeypatch.setattr("crossed_jax.results.output.put", interrupted)
    fill(tmp_path / "out", table="new")
    assert contents(tmp_path) == {"out": None, "out/table": "new"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_whatever_happens_there_is_the_earlier_result_or_the_new_one():
    script = Path(__file__).with_name("stress_publishing.py")
    command = [sys.executable, "-W", "ignore::DeprecationWarning", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


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
