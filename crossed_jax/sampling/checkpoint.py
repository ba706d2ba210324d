"""A run on disk: killed at any moment, it goes on where it was, to the same draws.

A directory of the run's own, marked as such and locked while the run goes on, holds what the run is
(`identity.json`), a caller's note, and a file for each segment of the run: the draws of those steps
and the sampler's state after them, NumPy's archive without pickle. Each file is written aside,
flushed and renamed, so that it is whole or not there. Its name says how many steps were done after
it and of how many asked for, and it starts with the digest

    SHA-256(digest of the file before it, or of the identity; its name; its archive),

by which files that are damaged, missing, in another's place or of another run are found out.

Draws do not depend on where a run was cut (:mod:`crossed_jax.sampling.nuts`), so a run that is
picked up ends as one that was never stopped, and asking for more draws than a finished run holds
extends it.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.files.marker import MARKER, is_marked, mark
from crossed_jax.files.whole import locked, reason, whose_part, write_whole

IDENTITY = "identity.json"
NOTE = "command.json"  # the command line's is its command
SEGMENT = re.compile(r"\d{2}-\d{12}-\d{12}\.draws", re.ASCII)
SPENT = "spent"  # beside the leaves in an archive
MOST_JSON = 2**20

# the command line leaves it here, so that a fit, which is all it calls, need not hand it down
_NOTE: ContextVar[Mapping[str, Any] | None] = ContextVar("note", default=None)


class Segment(NamedTuple):
    """A stretch of a run, which may be its last.

    Attributes
    ----------
    done, asked
        Steps done after it, of those asked for.
    state
        Leaves of the state after it.
    drawn
        Leaves of what was drawn in it.
    spent
        What the run had taken until then, shape (amounts,).
    """

    done: int
    asked: int
    state: list[np.ndarray]
    drawn: list[np.ndarray]
    spent: np.ndarray


class Checkpoint:
    """Where a run keeps itself.

    Parameters
    ----------
    folder
        That :func:`open_checkpoint` has opened.
    identity
        Digest of all that decides what the run draws.
    attempt
        Tells apart the runs of one fit.
    """

    def __init__(self, folder: Path, identity: bytes, attempt: int = 0) -> None:
        self.folder = folder
        self.identity = identity
        self.attempt = attempt
        self.last = identity  # digest of what the next segment goes on from

    def again(self, attempt: int, differing_in: bytes) -> "Checkpoint":
        """Give the place of another of the fit's runs, and tell what sets it apart."""
        identity = hashlib.sha256(self.identity + differing_in).digest()
        return Checkpoint(self.folder, identity, attempt)

    def ends(self) -> list[int]:
        """Steps after which the run was as long as it had been asked to be, in order."""
        found = [_place(path) for path in _segments(self.folder)]
        return [done for attempt, done, asked in found if attempt == self.attempt and done == asked]

    def load(self) -> Iterator[Segment]:
        """Read all that was saved, in order, one at a time.

        Raises
        ------
        InputError
            If a file is damaged, or not the one that belongs there.
        """
        self.last = self.identity
        for path in _segments(self.folder):
            attempt, done, asked = _place(path)
            if attempt == self.attempt:
                arrays = self._read(path)
                state = [leaf for name, leaf in arrays.items() if name.startswith("state_")]
                drawn = [leaf for name, leaf in arrays.items() if name.startswith("drawn_")]
                yield Segment(done, asked, state, drawn, arrays[SPENT])

    def save(self, segment: Segment) -> None:
        """Add a segment of the run."""
        path = self.folder / f"{self.attempt:02d}-{segment.done:012d}-{segment.asked:012d}.draws"
        arrays = {f"state_{i:03d}": leaf for i, leaf in enumerate(segment.state)}
        arrays |= {f"drawn_{i:03d}": leaf for i, leaf in enumerate(segment.drawn)}
        arrays[SPENT] = segment.spent
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        archive = file.getvalue()
        self.last = _digest(self.last, path.name, archive)
        try:
            write_whole(path, self.last + archive)
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def _read(self, path: Path) -> dict[str, np.ndarray]:
        try:
            content = memoryview(_regular(path).read_bytes())
            digest, archive = bytes(content[:32]), content[32:]
            if digest == _digest(self.last, path.name, archive):
                with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
                    read = {name: arrays[name] for name in sorted({*arrays.files, SPENT})}
                    self.last = digest
                    return read
        except Exception:  # whatever it is, the file is not as it was saved
            pass
        raise InputError(
            f"{str(path)!r} is damaged, or not what follows there in this run: delete it and those "
            "after it to go on from the steps before."
        )


def _digest(before: bytes, name: str, archive: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(before + name.encode())
    digest.update(archive)
    return digest.digest()


def _segments(folder: Path) -> list[Path]:
    """Files of segments, in the order that they were written in."""

    def order(path: Path) -> tuple[int, int, int]:
        attempt, done, asked = _place(path)
        # that no more is asked for than is there was noted after that more had been
        return attempt, done, -asked

    return sorted(filter(_is_stretch, folder.glob("*")), key=order)


def _is_stretch(path: Path) -> bool:
    return SEGMENT.fullmatch(path.name) is not None


def _place(path: Path) -> tuple[int, int, int]:
    """Attempt, steps done and steps asked for, of a segment's file."""
    attempt, done, asked = map(int, path.stem.split("-"))
    return attempt, done, asked


@contextmanager
def noting(note: Mapping[str, Any]) -> Iterator[None]:
    """Leave a note in the checkpoints that are opened in this block.

    Parameters
    ----------
    note
        Plain values that :func:`load_note` gives once a run is accepted. Their `num_draws` is
        always that of the run.
    """
    token = _NOTE.set(note)
    try:
        yield
    finally:
        _NOTE.reset(token)


@contextmanager
def open_checkpoint(
    place: str | Path, identity: Mapping[str, Any], num_steps: int
) -> Iterator[Checkpoint]:
    """Start a checkpoint, or go on with one of the same run; no other run has it meanwhile.

    Parameters
    ----------
    place
        A directory of the run's own; made if it is not there.
    identity
        All that decides what the run draws, in plain values.
    num_steps
        How long each chain is to be, warm-up included.

    Raises
    ------
    InputError
        If the directory holds another run, a longer one or something else, is in use by another
        run, or cannot be written.
    """
    from crossed_jax.sampling.devices import in_first_process  # late: a note needs no JAX

    folder = Path(place)
    wanted = json.loads(json.dumps(identity))
    with ExitStack() as held:

        def take() -> None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if held.enter_context(locked(folder.resolve(), wait=False)) is False:
                    raise InputError(
                        f"another run is using the checkpoint in {str(folder)!r}: wait for its "
                        "end, or name another directory."
                    )
                _claim(folder)
                found = _segments(folder)
                if found:
                    _compare(folder, _load(folder / IDENTITY), wanted)
                    longest = max(done for _, done, _ in map(_place, found))
                    _check_length(folder, longest, num_steps, identity["num_warmup"])
                else:  # nothing was drawn that another identity would have to answer for
                    write_whole(folder / IDENTITY, json.dumps(wanted, indent=2).encode())
                _keep_note(folder, _NOTE.get(), num_steps - identity["num_warmup"])
            except OSError as error:
                raise _unwritable(folder, error) from None

        in_first_process(take)
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).digest()
        yield Checkpoint(folder, digest)


def _claim(folder: Path) -> None:
    """Mark a directory as a checkpoint's, or refuse one that holds something else."""
    parts = [path for path in folder.iterdir() if _is_ours(whose_part(path))]
    if not is_marked(folder, "checkpoint"):
        if len(parts) < len(list(folder.iterdir())):
            raise InputError(
                f"{str(folder)!r} holds files that are no checkpoint: name a new or an empty "
                "directory for the run to keep itself in."
            )
        mark(folder, "checkpoint")
    for part in parts:
        part.unlink()


def _is_ours(name: str | None) -> bool:
    return name is not None and (
        name in (MARKER, IDENTITY, NOTE) or SEGMENT.fullmatch(name) is not None
    )


def _check_length(folder: Path, held: int, num_steps: int, num_warmup: int) -> None:
    if held > num_steps:
        raise InputError(
            f"the checkpoint in {str(folder)!r} holds {held - num_warmup} draws of each chain, "
            f"more than the {num_steps - num_warmup} asked for: ask for {held - num_warmup} or "
            "more."
        )


def _keep_note(folder: Path, note: Mapping[str, Any] | None, num_draws: int) -> None:
    """Keep a note, or the one that is there, with how many draws the run is now to give."""
    if note is None:
        with suppress(InputError):  # a run need not have one
            note = load_note(folder)
    if note is not None:
        content = json.dumps({**note, "num_draws": num_draws}, indent=2)
        write_whole(folder / NOTE, content.encode())


def load_note(folder: Path) -> dict[str, Any]:
    """Read what a caller has kept in a checkpoint.

    Raises
    ------
    InputError
        If there is nothing, or it is damaged.
    """
    path = folder / NOTE
    if not (is_marked(folder, "checkpoint") and path.exists()):
        raise InputError(
            f"there is no checkpoint of a fit in {str(folder)!r}: name the directory that fit was "
            "given as checkpoint=."
        )
    return _load(path)


def _load(path: Path) -> dict:
    try:
        with _regular(path).open("rb") as file:
            content = json.loads(file.read(MOST_JSON))
    except (OSError, ValueError, RecursionError):
        raise damaged(path) from None
    if not isinstance(content, dict):
        raise damaged(path)
    return content


def _regular(path: Path) -> Path:
    """Refuse what may not end, or lies elsewhere: devices, pipes and links."""
    if path.is_symlink() or not path.is_file():
        raise OSError(f"{path} is not a file")
    return path


def damaged(path: Path) -> InputError:
    """Say that a file without which a run cannot go on is not as it was written."""
    return InputError(
        f"cannot read {str(path)!r}: it is damaged, and without it a run cannot go on; name "
        "another directory to start anew."
    )


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot keep a checkpoint in {str(folder)!r} ({reason(error)}): name a "
        "directory that can be written."
    )


def _compare(folder: Path, found: dict, wanted: dict, within: str = "") -> None:
    for name in {**wanted, **found}:
        held, asked = found.get(name), wanted.get(name)
        if isinstance(held, dict) and isinstance(asked, dict):
            _compare(folder, held, asked, f"{within}{name} ")
        elif held != asked:
            raise InputError(
                f"the checkpoint in {str(folder)!r} is of another run: its {within}{name} is "
                f"{_short(held)}, and not {_short(asked)}; name another directory, or ask for "
                "what it holds."
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
