"""Checkpoints whose files are damaged, or where others have files."""

import hashlib
import io
import os
import shutil

import numpy as np
import pytest
from runs import assert_same, fit, segments

from crossed_jax.errors import InputError
from crossed_jax.sampling import chunks as sampler
from crossed_jax.sampling.checkpoint import load_note, open_checkpoint


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkpoint of several files, and one of another seed whose files have the same names."""
    folder = tmp_path_factory.mktemp("stretches")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sampler, "SECONDS_BETWEEN_SAVES", 1e6)
        for name, seed in (("run", 0), ("other", 1)):
            for number in (10, 20, 30):
                fit(folder / name, num_draws=number, seed=seed)
    return folder


@pytest.fixture
def in_stretches(made, tmp_path):
    return [segments(shutil.copytree(made / name, tmp_path / name)) for name in ("run", "other")]


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
def test_a_damaged_identity_is_named(checkpoint, what):
    put_nothing_of_a_file(checkpoint / "identity.json", what)
    with pytest.raises(InputError, match=r"identity.json.*damaged"):
        fit(checkpoint)


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_file_of_draws_is_named(checkpoint, what):
    (path,) = segments(checkpoint)[-1:]
    put_nothing_of_a_file(path, what)
    with pytest.raises(InputError, match=f"{path.name}' is damaged"):
        fit(checkpoint)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_note_that_is_no_file_is_named(checkpoint, what):
    put_nothing_of_a_file(checkpoint / "command.json", what)
    with pytest.raises(InputError, match=r"command.json.*damaged"):
        load_note(checkpoint)


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


def test_a_place_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot keep a checkpoint in .*file"):
        fit(tmp_path / "file")
