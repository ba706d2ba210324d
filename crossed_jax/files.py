"""Files that are whole or not there, and that show when they were damaged."""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PART = ".part"


@contextmanager
def set_aside(path: Path) -> Iterator[Path]:
    """Give a name to write a file under that takes its place if the block ends well."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(OSError, ValueError):
            part.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file aside, and put it in its place if the block ends well."""
    with set_aside(path) as part, part.open("xb") as file:
        yield file


def remove_parts(folder: Path) -> None:
    """Remove what writers that were killed have left aside."""
    for part in folder.glob(f".*{PART}"):
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that takes its place once all of it is on the disk."""
    with replacing(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_checked(path: Path, content: bytes) -> None:
    """Write a file that starts with the SHA-256 of its content."""
    write_whole(path, hashlib.sha256(content).digest() + content)


def read_checked(path: Path) -> bytes | None:
    """Read the content of a file that :func:`write_checked` wrote; None if it was damaged."""
    stored = path.read_bytes()
    checksum, content = stored[:32], stored[32:]
    return content if hashlib.sha256(content).digest() == checksum else None


def reason(error: OSError) -> str:
    """Say in a few words why the system refused; libraries say it at length."""
    return os.strerror(error.errno) if error.errno else str(error)


def require_room(path: Path, size: int) -> None:
    """Refuse to write a file where the disk has no room: HDF5 does not bear one that fills up."""
    if size > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
