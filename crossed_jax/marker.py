"""The mark on a directory that says it is this package's own, to be replaced or gone on with.

Directories that are given to write into may hold what a user would miss. Only one that is new,
empty or marked is ever written to: the marker, a small JSON file, says what the directory holds
and in which version of the layout.
"""

import json
from pathlib import Path
from typing import Literal

from crossed_jax.files import write_whole

type Kind = Literal["results", "checkpoint"]

MARKER = ".crossed_jax.json"
VERSION = 1


def mark(folder: Path, kind: Kind) -> None:
    """Mark a directory as this package's own."""
    record = {"made_by": "crossed_jax", "holds": kind, "version": VERSION}
    write_whole(folder / MARKER, json.dumps(record).encode())


def is_marked(folder: Path, kind: Kind) -> bool:
    """Whether a directory bears the mark of this kind, in a version that is known."""
    path = folder / MARKER
    try:
        if path.is_symlink() or not path.is_file():
            return False
        found = json.loads(path.read_bytes()[:4096])
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and (
        found.get("made_by"),
        found.get("holds"),
        found.get("version"),
    ) == ("crossed_jax", kind, VERSION)


def is_free(folder: Path) -> bool:
    """Whether a directory is not there, or holds nothing."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
