"""A directory of results is there whole, or not at all, whatever happens on the way."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from staged import contents, fail, fill

from crossed_jax.errors import InputError
from crossed_jax.files import staging as staging_module
from crossed_jax.files.marker import MARKER, is_marked
from crossed_jax.files.staging import PREFIX, staging
from crossed_jax.results.output import staged_directory


@pytest.fixture(params=[True, False], ids=["exchange", "no exchange"])
def exchanging(request, monkeypatch):
    """Whether the system can exchange two paths in one step."""
    if not request.param:
        monkeypatch.setattr(staging_module, "_exchange", lambda *_: False)
    return request.param


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


def test_a_marker_of_nested_json_marks_nothing(tmp_path):
    (tmp_path / MARKER).write_text("[" * 4096)
    assert not is_marked(tmp_path, "results")
