"""Directories that are made aside and take their place in one step.

A *staging directory* is hidden, stands where what is made in it will be put, and is locked for as
long as its process lives. It holds

    what is made;
    `aside`, what was in the place before, where the system cannot exchange the two in one step;
    `moving`, what is being moved into a place that can be filled but not itself be replaced.

A process that is killed leaves its staging directory, unlocked. The next one that comes there
undoes what was half done and removes it.
"""

import ctypes
import errno
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from crossed_jax.files.marker import MARKER, is_free, listed
from crossed_jax.files.whole import locked

PREFIX = f".crossed_jax-{platform.node()}-"
ASIDE, MOVING = "aside", "moving"
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h and linux/fs.h
NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def staging(home: Path) -> Iterator[Path]:
    """Give a staging directory in a directory; it is removed at the end."""
    remove_abandoned(home)
    while True:
        with ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
            stack.enter_context(locked(folder))
            stack.callback(_remove, folder)
            if folder.exists():  # else another process saw it before it was locked
                yield folder
                return


def remove_abandoned(home: Path) -> None:
    """Remove the staging directories that killed processes of this user and machine have left."""
    with suppress(OSError):  # what cannot be listed holds none that could be removed
        for left in list(home.iterdir()):
            if left.name.startswith(PREFIX):
                with locked(left, wait=False) as abandoned:
                    if abandoned:
                        _remove(left)


def put(made: Path, place: Path) -> None:
    """Put a directory in a place; what was there is in the staging directory afterwards.

    Parameters
    ----------
    made
        In a staging directory that stands next to the place.
    place
        Not there, or a directory.
    """
    if not place.exists():
        made.rename(place)
    elif not _exchange(made, place):
        aside = made.with_name(ASIDE)
        aside.mkdir()
        place.rename(aside / place.name)
        made.rename(place)


def move_in(made: Path, place: Path) -> None:
    """Move what a directory holds into the empty one that its staging directory stands in.

    The marker comes last: without it the place is not taken for whole.
    """
    moving = made.rename(made.with_name(MOVING))
    for path in sorted(moving.iterdir(), key=lambda path: path.name == MARKER):
        path.rename(place / path.name)


def _remove(folder: Path) -> None:
    """Remove a staging directory, or leave it if what was half done cannot be undone."""
    with suppress(OSError):
        _undo(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _undo(folder: Path) -> None:
    home, aside, moving = folder.parent, folder / ASIDE, folder / MOVING
    for old in list(aside.iterdir()) if aside.is_dir() else ():
        if is_free(home / old.name):
            old.rename(home / old.name)
    for name in {Path(path).parts[0] for path in listed(moving)}:
        if not os.path.lexists(moving / name):
            with suppress(FileNotFoundError):
                os.rename(home / name, moving / name)


def _exchange(first: Path, second: Path) -> bool:
    """Let two paths change places in one step; tell if the system could."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or an old C library
        return False
    paths = (AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second))
    if renameat2(*paths, RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in NOT_SUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(second))
