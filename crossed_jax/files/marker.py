"""The mark on a directory that says it is this package's own, to be replaced or gone on with.

Directories that are given to write into may hold what a user would miss. Only one that is new,
empty or marked is ever written to: the marker, a small JSON file, says what the directory holds
and in which version of the layout. That of results also lists them, so that what a user has put
beside them is seen.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from crossed_jax.files.whole import write_whole

type Kind = Literal["results", "checkpoint"]

MARKER = ".crossed_jax.json"
VERSION = 1
LONGEST = 2**16  # bytes; a marker has some hundreds
LEFT_BY_FILE_MANAGERS = (".DS_Store", "Thumbs.db", "desktop.ini")


def mark(folder: Path, kind: Kind, paths: Iterable[str] = ()) -> None:
    """Mark a directory as this package's own, with the relative paths of what was put in it."""
    record = {
        "made_by": "crossed_jax",
        "holds": kind,
        "version": VERSION,
        "paths": sorted(paths),
    }
    write_whole(folder / MARKER, json.dumps(record).encode())


def is_marked(folder: Path, kind: Kind) -> bool:
    """Whether a directory bears the mark of this kind, in a version that is known."""
    found = _read(folder)
    return (found.get("made_by"), found.get("holds"), found.get("version")) == (
        "crossed_jax",
        kind,
        VERSION,
    )


def listed(folder: Path) -> list[str]:
    """Relative paths, with slashes, that the marker of a directory lists; none without one."""
    paths = _read(folder).get("paths")
    return (
        [path for path in paths if path and isinstance(path, str)]
        if isinstance(paths, list)
        else []
    )


def unlisted(folder: Path) -> str | None:
    """Relative path of something in a marked directory that its marker does not list."""
    ours = {MARKER, *listed(folder)}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if relative not in ours and path.name not in LEFT_BY_FILE_MANAGERS:
            return relative
    return None


def is_free(folder: Path) -> bool:
    """Whether a directory is not there, or holds nothing."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _read(folder: Path) -> dict:
    path = folder / MARKER
    try:
        if path.is_symlink() or not path.is_file():
            return {}
        with path.open("rb") as file:
            found = json.loads(file.read(LONGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
