"""Files that are whole or not there, and that show when they were damaged."""

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
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
def staging(home: Path) -> Iterator[Path]:
    """Give a hidden directory in a directory, to write in; it is removed at the end.

    Those of this machine's processes that were killed are removed too: nobody holds their lock.
    """
    prefix = f".crossed_jax-{platform.node()}-"
    for left in home.iterdir():
        if left.name.startswith(prefix):
            with locked(left, wait=False) as abandoned:
                if abandoned:
                    shutil.rmtree(left, ignore_errors=True)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
        stack.callback(lambda: shutil.rmtree(folder, ignore_errors=True))
        stack.enter_context(locked(folder))
        # it goes by the name that others look for once they can see that it is in use
        folder = folder.rename(home / f"{prefix}{folder.name.removeprefix('.new-')}")
        yield folder


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[bool | None]:
    """Hold a directory's lock, which ends with the process if not before; tell if it was had.

    False says that another holds it, None that the file system has no locks.
    """
    held = None
    with ExitStack() as stack:
        if fcntl is not None:
            try:
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
            except BlockingIOError:
                held = False
            except OSError:
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


def require_room(path: Path, size: int) -> None:
    """Refuse to write a file where the disk has no room: HDF5 does not bear one that fills up."""
    if size > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
