"""Files that are whole or not there, and that show when they were damaged."""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PART = ".part"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file aside, and put it in its place if the block ends well."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        with suppress(OSError, ValueError):
            part.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[bool | None]:
    """Hold the lock of a directory of this user's, which ends with the process if not before.

    Gives whether it was had: False says that another holds it, None that there is none to be had.
    What is not a directory, a link to one or another user's is not waited for: anybody may put it
    there.
    """
    held = None
    with ExitStack() as stack:
        if fcntl is not None:
            alone = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK
            try:
                descriptor = os.open(folder, os.O_RDONLY | alone)
                stack.callback(os.close, descriptor)
                if os.fstat(descriptor).st_uid == os.geteuid():
                    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
                    fcntl.flock(descriptor, how)
                    held = True
            except BlockingIOError:
                held = False
            except OSError:  # the file system has no locks
                pass
        yield held


def whose_part(path: Path) -> str | None:
    """Name the file that a writer, perhaps killed, had begun in this one; None if it is no part."""
    found = re.fullmatch(rf"\.(.+)\.[0-9a-f]{{8}}{re.escape(PART)}", path.name)
    return found[1] if found else None


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
