"""The directory where compiled programs are kept: where it is, whose it is, and how large it grows.

To load a compiled program is to run it, so the directory is used only if nobody but its user could
have put anything there: it is the user's own and private, nothing in it belongs to another, and
nobody else could exchange one of the directories that lead to it. Otherwise there is none.

Once a day the files that nobody has used for long are removed, and the least recently used of the
others where they take too much room. A file that another process has open stays readable to it.
"""

import functools
import hashlib
import os
import platform
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

import jax

from crossed_jax.files.whole import reason

VARIABLE = "CROSSED_JAX_CACHE"
STAMP = ".crossed_jax_pruned"  # when that was last; what is pruned bears it
DAY = 86_400.0
MOST_SECONDS_UNUSED = 90 * DAY
MOST_BYTES = 2**30


class NoCacheError(Exception):
    """Nothing is kept between runs, and why."""


def cache_directory() -> Path | None:
    """Find the directory of this kind of machine, made if it is not there; None if there is none.

    ``CROSSED_JAX_CACHE`` names where it is, or turns it off with ``off``.
    """
    try:
        return _found()
    except NoCacheError:
        return None


def describe_cache() -> str:
    """Say where programs are kept, or why they are not."""
    try:
        return str(_found())
    except NoCacheError as none:
        return f"none: {none}"


def _found() -> Path:
    chosen = os.environ.get(VARIABLE, "")
    if chosen.lower() in ("off", "0", "no", "none"):
        raise NoCacheError(f"{VARIABLE} is {chosen}")
    if not jax.config.jax_enable_compilation_cache:
        raise NoCacheError("jax_enable_compilation_cache is off")
    try:
        home = Path(chosen).expanduser() if chosen else _user_cache() / "crossed-jax"
    except RuntimeError as error:  # a user without a home
        raise NoCacheError(str(error)) from None
    # links are followed once: what they lead to is looked at, and then used
    folder = Path(os.path.realpath(home)) / _processor()
    if refusal := _prepare(folder):
        raise NoCacheError(refusal)
    return folder


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches"
    return Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache")


@functools.cache
def _processor() -> str:
    """Name the kind of processor: a home may be shared by machines that differ in theirs."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    told = platform.machine() + platform.processor() + features
    return hashlib.sha256(told.encode()).hexdigest()[:12]


@functools.cache
def _prepare(folder: Path) -> str | None:
    """Make a directory ready for use; say why it cannot be used if so."""
    try:
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        refusal = _distrusted(folder)
        if refusal is None:
            _prune(folder)
    except OSError as error:
        return f"{str(folder)!r} cannot be used ({reason(error)})"
    if refusal is None and not os.access(folder, os.W_OK | os.X_OK):
        return f"{str(folder)!r} cannot be written"
    return refusal


def _distrusted(folder: Path) -> str | None:
    """Say who else than the user could have put something into a directory, if anyone."""
    if not hasattr(os, "getuid"):  # Windows keeps a user's own directories to the user
        return None
    user = os.getuid()
    for parent in folder.parents:
        found = parent.lstat()
        # in a directory like /tmp nobody moves what is another's
        exchangeable = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, user) or exchangeable:
            return _told(parent, "others could exchange what is in it")
    if folder.lstat().st_mode & 0o077:
        return _told(folder, "others than its owner may use it")
    for path in (folder, *folder.rglob("*")):
        if path.lstat().st_uid != user:
            return _told(path, "it belongs to another user")
    return None


def _told(path: Path, why: str) -> str:
    way_out = f"mend that, or name another directory in {VARIABLE}"
    return f"{str(path)!r} is not trusted ({why}): {way_out}"


def _prune(folder: Path) -> None:
    """Remove what was not used for long, or takes too much room, at most once a day.

    That of other kinds of machine is looked at too: theirs may never come back.
    """
    stamp = folder / STAMP
    now = time.time()
    if stamp.exists() and now - stamp.stat().st_mtime < DAY:
        return
    stamp.touch()
    found = [
        (path, path.stat())
        for marked in folder.parent.glob(f"*/{STAMP}")
        for path in marked.parent.rglob("*")
        if path.is_file() and path != marked
    ]
    found.sort(key=lambda entry: _last_used(entry[1]), reverse=True)
    room = MOST_BYTES
    for path, status in found:
        room -= status.st_size
        if room < 0 or now - _last_used(status) > MOST_SECONDS_UNUSED:
            with suppress(OSError):
                path.unlink()


def _last_used(status: os.stat_result) -> float:
    return max(status.st_atime, status.st_mtime)
