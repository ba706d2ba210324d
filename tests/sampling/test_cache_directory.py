import os
import time
from pathlib import Path

import jax
import pytest

from crossed_jax.sampling import cache_directory as cache

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="directories have no owners")


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = tmp_path / "above" / "home"
    monkeypatch.setenv("CROSSED_JAX_CACHE", str(home))
    yield home
    cache._prepare.cache_clear()


def looked_at_again():
    cache._prepare.cache_clear()
    return cache.cache_directory()


def test_the_directory_and_those_made_on_the_way_are_private_whatever_the_umask(home):
    before = os.umask(0)
    try:
        folder = cache.cache_directory()
    finally:
        os.umask(before)
    assert folder.parent == home
    assert {path.stat().st_mode & 0o777 for path in (home.parent, home, folder)} == {0o700}
    assert cache.describe_cache() == str(folder)


@pytest.mark.parametrize("mode", [0o770, 0o703])
def test_no_directory_is_used_that_others_could_exchange(home, mode):
    cache.cache_directory()
    home.parent.chmod(mode)
    assert looked_at_again() is None
    assert cache.describe_cache() == (
        f"none: {str(home.parent)!r} is not trusted (others could exchange what is in it): mend "
        "that, or name another directory in CROSSED_JAX_CACHE"
    )
    home.parent.chmod(mode | 0o1000)  # as /tmp is
    assert looked_at_again() is not None


@pytest.mark.parametrize("mode", [0o750, 0o702])
def test_a_directory_that_others_may_use_is_not_used(home, mode):
    cache.cache_directory().chmod(mode)
    assert looked_at_again() is None


@pytest.mark.parametrize("which", ["above", "directory", "program", "compilation"])
def test_what_belongs_to_another_is_not_used(home, monkeypatch, which):
    folder = cache.cache_directory()
    theirs = {
        "above": home,
        "directory": folder,
        "program": folder / "1234.stablehlo",
        "compilation": folder / "below" / "jit_call-1234-cache",
    }[which]
    if not theirs.exists():
        theirs.parent.mkdir(exist_ok=True)
        theirs.write_bytes(b"code")
    told = Path.lstat

    def lstat(path):
        found = told(path)
        owner = found.st_uid + 1 if path == theirs else found.st_uid
        return os.stat_result((*found[:4], owner, *found[5:10]))

    assert looked_at_again() == folder
    monkeypatch.setattr(Path, "lstat", lstat)
    assert looked_at_again() is None
    assert str(theirs) in cache.describe_cache()


def test_links_are_followed_to_what_is_then_looked_at_and_used(home, tmp_path, monkeypatch):
    folder = cache.cache_directory()
    (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("CROSSED_JAX_CACHE", str(tmp_path / "link"))
    assert looked_at_again() == folder
    home.chmod(0o777)
    assert looked_at_again() is None


def test_a_relative_name_is_of_the_directory_that_the_process_started_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROSSED_JAX_CACHE", "relative")
    assert cache.cache_directory().parent == tmp_path / "relative"


@pytest.mark.parametrize("below", [False, True])
def test_a_file_in_its_place_is_told(home, monkeypatch, below):
    home.parent.mkdir()
    home.write_text("")
    monkeypatch.setenv("CROSSED_JAX_CACHE", str(home / "below" if below else home))
    assert cache.cache_directory() is None
    assert cache.describe_cache().endswith("cannot be used (Not a directory)")
    assert home.read_text() == ""


def test_a_place_that_cannot_be_written_is_told(home, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # to root everything can
    assert cache.cache_directory() is None
    assert cache.describe_cache().endswith("cannot be written")


def test_a_user_without_a_home_has_none(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("CROSSED_JAX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert cache.cache_directory() is None


def used(folder, name, *, days_ago=0.0, size=1):
    path = folder / name
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - days_ago * cache.DAY,) * 2)
    return path


def pruned(folder):
    os.utime(folder / cache.STAMP, (0, 0))
    looked_at_again()


def test_what_was_not_used_for_long_is_removed(home):
    folder = cache.cache_directory()
    (folder / "below").mkdir()
    stays = used(folder, "1.stablehlo", days_ago=89)
    read = used(folder, "jit_call-1-cache", days_ago=91)
    os.utime(read, (time.time(), read.stat().st_mtime))  # written long ago, read today
    old = [
        used(folder, name, days_ago=91)
        for name in ("2.stablehlo", "jit_call-2-cache", ".3.stablehlo.1a2b.part", "below/tuning")
    ]
    looked_at_again()
    assert all(path.exists() for path in old)  # that was done today
    pruned(folder)
    assert stays.exists()
    assert read.exists()
    assert not any(path.exists() for path in old)


def test_the_least_recently_used_are_removed_where_all_take_too_much_room(home, monkeypatch):
    monkeypatch.setattr(cache, "MOST_BYTES", 1000)
    folder = cache.cache_directory()
    paths = [used(folder, f"{days}.stablehlo", days_ago=days, size=400) for days in (3, 1, 2)]
    pruned(folder)
    assert [path.exists() for path in paths] == [False, True, True]


def test_other_kinds_of_machine_are_pruned_too_and_nothing_else(home, monkeypatch):
    folder = cache.cache_directory()
    old = []
    for name in ("other-machine", "unmarked"):
        (home / name).mkdir()
        old.append(used(home / name, "1.stablehlo", days_ago=91))
    (home / "other-machine" / cache.STAMP).touch()
    old.append(used(home, "beside", days_ago=91))
    pruned(folder)
    assert [path.exists() for path in old] == [False, True, True]


@pytest.mark.parametrize("word", ["off", "0", "None"])
def test_it_can_be_turned_off(home, monkeypatch, word):
    monkeypatch.setenv("CROSSED_JAX_CACHE", word)
    assert cache.cache_directory() is None
    assert cache.describe_cache() == f"none: CROSSED_JAX_CACHE is {word}"


def test_jax_can_turn_it_off(home):
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert cache.describe_cache() == "none: jax_enable_compilation_cache is off"
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
