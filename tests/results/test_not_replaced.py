"""What is not of an earlier result, or cannot be replaced in one step, is left as it is."""

import errno
import os
from pathlib import Path

import pytest
from staged import contents, fail, fill

from crossed_jax.errors import InputError
from crossed_jax.files import staging as staging_module
from crossed_jax.files.marker import MARKER
from crossed_jax.results.output import staged_directory


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
