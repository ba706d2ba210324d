"""Kills, interrupts and fails the publishing of results, and looks at what is left.

    python tests/stress_publishing.py [SEED]

At each system call of the final step, before it and after it, a run is killed or interrupted, or
told in its place that the call failed, with and without a system that can exchange two directories,
and at random at two calls; and processes are sent signals at random moments. What is seen then, and
what is there once another run has begun, must be the earlier result or the new one, whole, and
nothing else.
"""

import errno
import fcntl
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from unittest import mock

from crossed_jax.errors import InputError
from crossed_jax.files import staging
from crossed_jax.files.marker import MARKER, is_marked
from crossed_jax.results.output import staged_directory

OLD = {"effects": "old", "figures": None, "figures/effects": "old", "report": "old"}
NEW = {"effects": "new", "figures": None, "figures/effects": "new"}
CALLS = [
    *((os, name) for name in ("rename", "replace", "mkdir", "rmdir", "unlink", "open", "fsync")),
    *((os, name) for name in ("scandir", "listdir", "stat", "chmod", "chown")),
    (io, "open"),
    (fcntl, "flock"),
    (staging, "_exchange"),
]
KILLED = 9
TROUBLES = {
    "killed": lambda: os._exit(KILLED),
    "interrupted": KeyboardInterrupt,
    "terminated": lambda: SystemExit(143),
    "not permitted": lambda: PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
    "disk full": lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
}
FAILURES = ("not permitted", "disk full")  # instead of a call, not after it
SCENES = ("replaced", "new", "empty", "filled in place")


class Calls:
    """Counts system calls once it is armed, and makes trouble at some of them."""

    def __init__(self, troubles=(), exchanging=True):
        self.troubles = dict(troubles)  # by number: the trouble, and whether it comes first
        self.exchanging = exchanging
        self.count = None

    def __enter__(self):
        self.patches = ExitStack()
        for module, name in CALLS:
            wrapped = self.wrap(name, getattr(module, name))
            self.patches.enter_context(mock.patch.object(module, name, wrapped))
        return self

    def __exit__(self, *_):
        self.count = None
        self.patches.close()

    def arm(self):
        self.count = 0

    def wrap(self, name, call):
        def called(*arguments, **options):
            if name == "_exchange" and not self.exchanging:
                return False
            if self.count is None:
                return call(*arguments, **options)
            self.count += 1
            trouble, first = self.troubles.get(self.count, (None, False))
            if trouble and (first or trouble in FAILURES):
                raise TROUBLES[trouble]()
            result = call(*arguments, **options)
            if trouble:
                raise TROUBLES[trouble]()
            return result

        return called


def write(folder, files):
    for name, text in files.items():
        if text is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_text(text)


def state(folder):
    """Contents of a directory, without what is hidden or left beside; None if it is not there."""
    if not folder.exists():
        return None
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: None if path.is_dir() else path.read_text()
        for name, path in found.items()
        if not name.startswith((".", "out-"))
    }


def set_up(root, scene):
    """Make the place of the results; return it and what it holds at first."""
    out = root / "out"
    if scene == "replaced":
        with staged_directory(out) as made:
            write(made, OLD)
    elif scene != "new":
        out.mkdir()
    os.chdir(out if scene == "filled in place" else root)
    return out, state(out)


def publish(out, files, armed):
    with staged_directory(out) as made:
        write(made, files)
        armed()


def in_child(task):
    """Run a task in a child process; return its id."""
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException):
            task()
            code = 0
        os._exit(code)
    return child


def troubled(root, scene, exchanging, troubles):
    """Publish once, with trouble, and check what is left; tell how it ended."""
    out, old = set_up(root, scene)
    killed = any(trouble == "killed" for trouble, _ in troubles.values())
    ended = "killed"
    with Calls(troubles, exchanging) as calls:
        if killed:
            child = in_child(lambda: publish(out, NEW, calls.arm))
            os.waitpid(child, 0)
        else:
            try:
                publish(out, NEW, calls.arm)
                ended = "published"
            except BaseException as error:
                ended = type(error).__name__
    # with one trouble only a process that is killed may leave the place half done, and seen so
    half_done = killed and (scene == "filled in place" or not exchanging)
    seen = state(out)
    if ended == "published":
        assert seen == NEW
    elif len(troubles) == 1 and not half_done:
        assert seen in (old, NEW), seen
    if seen != NEW and seen is not None and is_marked(out, "results"):
        assert seen == OLD
    check_recovery(root, out, old)
    return ended


def check_recovery(root, out, old, new=NEW):
    """Begin another run, and check that it finds the old or the new result, and nothing else."""
    with suppress(InputError, ZeroDivisionError), staged_directory(out):
        raise ZeroDivisionError
    assert state(out) in (old, new), state(out)
    beside = list(root.rglob("out-*"))
    assert {*root.iterdir()} <= {out, *beside}
    assert {*root.rglob(".*")} <= {path / MARKER for path in (out, *beside)}
    for path in beside:
        assert state(path) == new, (path, state(path))
        assert is_marked(path, "results")
    assert len(beside) <= (state(out) == old)


def fresh(root):
    os.chdir(root.parent)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    return root


def at_each_call(root):
    told = Counter()
    for scene in SCENES:
        for exchanging in (True, False) if scene == "replaced" else (True,):
            out, _ = set_up(fresh(root), scene)
            with Calls(exchanging=exchanging) as calls:
                publish(out, NEW, calls.arm)
                number = calls.count
            assert state(out) == NEW
            for trouble in (
                TROUBLES if scene == "replaced" else ("killed", "interrupted", "disk full")
            ):
                for k in range(1, number + 1):
                    for first in (True,) if trouble in FAILURES else (True, False):
                        ended = troubled(fresh(root), scene, exchanging, {k: (trouble, first)})
                        told[f"{scene}, {'' if exchanging else 'no '}exchange: {ended}"] += 1
    return told


def at_two_calls(root, chance, times):
    for _ in range(times):
        first, second = sorted(chance.sample(range(1, 60), 2))
        troubled(
            fresh(root),
            chance.choice(SCENES),
            chance.random() < 0.5,
            {
                first: (chance.choice(list(TROUBLES)[1:]), chance.random() < 0.5),
                second: (chance.choice(list(TROUBLES)), chance.random() < 0.5),
            },
        )
    return times


def signalled(root, chance, times):
    """Send signals to processes that publish a larger directory."""
    many = {f"file{i:03}": chr(65 + i % 26) * 20_000 for i in range(100)}
    others = {name: text.lower() for name, text in many.items()} | {"figures": None}
    told = Counter()
    longest = None
    for _ in range(times):
        out = fresh(root) / "out"
        exchanging = chance.random() < 0.5
        publish(out, many, lambda: None)
        ready, tell = os.pipe()

        def task(out=out, exchanging=exchanging, tell=tell):
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            with Calls(exchanging=exchanging):
                publish(out, others, lambda: os.write(tell, b"!"))

        child = in_child(task)
        os.read(ready, 1)
        begun = time.perf_counter()
        if longest is not None:
            time.sleep(chance.uniform(0, longest))
            sent = chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
            os.kill(child, sent)
        os.waitpid(child, 0)
        longest = longest or 1.2 * (time.perf_counter() - begun)
        os.close(ready)
        os.close(tell)
        assert state(out) in (many, others) or (not exchanging and not out.exists())
        check_recovery(root, out, many, others)
        told["old" if state(out) == many else "new"] += 1
    return told


def main(seed):
    chance = random.Random(seed)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        root = Path(folder) / "root"
        began = time.perf_counter()
        told = at_each_call(root)
        for what, number in sorted(told.items()):
            print(f"{number:6} {what}")
        print(f"{at_two_calls(root, chance, 100):6} at two calls")
        print(f"{dict(signalled(root, chance, 15))} after signals")
        print(f"{time.perf_counter() - began:.1f} s")
        os.chdir("/")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
