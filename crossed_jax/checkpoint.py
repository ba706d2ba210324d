"""A run on disk: killed at any moment, it goes on where it was, to the same draws.

A directory holds what the run is (`identity.json`) and a file for each stretch of it: the draws of
those steps and the sampler's state after them, a checksum and NumPy's archive without pickle. Each
file is written aside, flushed and renamed, so that it is whole or not there. Draws do
not depend on where a run was cut (:mod:`crossed_jax.nuts`), so a run that is picked up ends as one
that was never stopped, and asking for more draws than a finished run holds extends it.
"""

import hashlib
import io
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, get_origin, get_type_hints

import numpy as np

from crossed_jax.data import CrossedData, InputError
from crossed_jax.files import read_checked, reason, remove_parts, write_checked, write_whole

IDENTITY = "identity.json"
COMMAND = "command.json"
SUFFIX = ".draws"


class Command(NamedTuple):
    """What was asked of the command line, in plain values that fit into JSON."""

    table: str
    response: str
    factors: tuple[str, ...]
    out: str
    parameterization: str
    priors: str
    num_chains: int
    num_warmup: int
    num_draws: int
    seed: int
    target_accept: float
    keep_effects: str
    chain_method: str
    stream: bool
    figures: bool


class Stretch(NamedTuple):
    """Leaves of the state after some steps, and of what was drawn in them."""

    done: int
    state: list[np.ndarray]
    drawn: list[np.ndarray]


class Checkpoint(NamedTuple):
    """Where a run keeps itself; `attempt` tells apart the runs of one fit."""

    folder: Path
    attempt: int = 0

    def load(self) -> Iterator[Stretch]:
        """Read all that was saved, in order, one at a time.

        Raises
        ------
        InputError
            If a file is damaged.
        """
        found = sorted(self.folder.glob(f"{self.attempt:02d}-*{SUFFIX}"))
        return map(self._read, found)

    def save(self, stretch: Stretch) -> None:
        """Add a stretch of the run."""
        path = self.folder / f"{self.attempt:02d}-{stretch.done:012d}{SUFFIX}"
        arrays = {f"state_{i:03d}": leaf for i, leaf in enumerate(stretch.state)}
        arrays |= {f"drawn_{i:03d}": leaf for i, leaf in enumerate(stretch.drawn)}
        archive = io.BytesIO()
        np.savez(archive, allow_pickle=False, **arrays)
        try:
            write_checked(path, archive.getvalue())
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def _read(self, path: Path) -> Stretch:
        content = read_checked(path)
        if content is None:
            raise InputError(
                f"{str(path)!r} is damaged: delete it and those after it to go on from the steps "
                "before."
            )
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in sorted(archive.files)}
        done = int(path.stem.split("-")[1])
        state = [leaf for name, leaf in arrays.items() if name.startswith("state_")]
        return Stretch(done, state, [v for k, v in arrays.items() if k.startswith("drawn_")])


def open_checkpoint(folder: str | Path, identity: Mapping[str, Any]) -> Checkpoint:
    """Start a checkpoint, or go on with one of the same run.

    Parameters
    ----------
    folder
        A directory of the run's own; made if it is not there.
    identity
        All that decides what the run draws, in plain values.

    Raises
    ------
    InputError
        If the directory holds another run, something else, or cannot be written.
    """
    folder = Path(folder)
    wanted = json.loads(json.dumps(identity))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / IDENTITY
        if path.exists():
            _compare(folder, _load(path), wanted)
        elif list(folder.glob(f"*{SUFFIX}")):
            raise InputError(
                f"{str(folder)!r} holds a checkpoint without its {IDENTITY}: name another "
                "directory for this run's."
            )
        else:
            write_whole(path, json.dumps(wanted, indent=2).encode())
        remove_parts(folder)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return Checkpoint(folder)


def begin(folder: Path, command: Command) -> None:
    """Keep the command of a run that is not yet in the directory, for :func:`load_command`."""
    if not (folder / IDENTITY).exists():
        save_command(folder, command)


def save_command(folder: Path, command: Command) -> None:
    """Keep a command in a checkpoint's directory."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / COMMAND, json.dumps(command._asdict(), indent=2).encode())
    except OSError as error:
        raise _unwritable(folder, error) from None


def load_command(folder: Path) -> Command:
    """Read the command of a checkpoint.

    Raises
    ------
    InputError
        If there is none, or it is damaged.
    """
    path = folder / COMMAND
    if not path.exists():
        raise InputError(
            f"there is no checkpoint of a fit in {str(folder)!r}: name the directory that fit was "
            "given as --checkpoint."
        )
    content = _load(path)
    if isinstance(content.get("factors"), list):
        content["factors"] = tuple(content["factors"])  # JSON has no other
    kinds = {name: get_origin(kind) or kind for name, kind in get_type_hints(Command).items()}
    if {name: type(value) for name, value in content.items()} != kinds:
        raise _damaged(path)
    return Command(**content)


def _load(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        raise _damaged(path) from None
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> InputError:
    return InputError(
        f"cannot read {str(path)!r}: it is damaged, and without it a run cannot go on; name "
        "another directory to start anew."
    )


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot keep a checkpoint in {str(folder)!r} ({reason(error)}): name a "
        "directory that can be written."
    )


def _compare(folder: Path, found: dict, wanted: dict) -> None:
    for name in {**wanted, **found}:
        if found.get(name) != wanted.get(name):
            raise InputError(
                f"the checkpoint in {str(folder)!r} is of another run: its {name} is "
                f"{_short(found.get(name))}, and not {_short(wanted.get(name))}; name another "
                "directory, or ask for what it holds."
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def table_digest(data: CrossedData) -> str:
    """Digest of a table as it is fitted: its response, codes and labels."""
    digest = hashlib.sha256(np.ascontiguousarray(data.response, "<f8").tobytes())
    for factor in data.factors:
        digest.update(json.dumps([factor.name, *factor.levels]).encode())
        digest.update(np.ascontiguousarray(factor.codes, "<i8").tobytes())
    return digest.hexdigest()


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C back in this block, and tell whether it was pressed."""
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        pressed.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread is ever interrupted
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
