"""One peer in one process: its environment, its caches, its limits, and what it left behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from functools import cache
from pathlib import Path

from benchmarks.entries import Entry

PEERS = Path(__file__).parent / "peers"


class PeerError(Exception):
    """A peer that could not be installed or did not finish; the message goes into the results."""


def interpreter(entry: Entry, in_project: bool = False) -> str:
    """Make or find a peer's environment; returns its interpreter."""
    if in_project:
        return sys.executable
    if entry.in_project:
        _compile_project()
        return sys.executable
    script = str(PEERS / entry.script)
    make = ["sync", "--quiet", "--compile-bytecode", "--python", _base_interpreter(entry.python)]
    for command in (make, ["python", "find"]):
        try:
            done = subprocess.run(
                ["uv", *command, "--no-python-downloads", "--script", script],
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise PeerError(f"uv is needed to make environments: {error.strerror}") from None
        if done.returncode:
            raise PeerError(f"not installed: {tail(done.stderr)}")
    return done.stdout.strip().splitlines()[-1]


@cache
def _compile_project() -> None:
    """Compile the project's packages to bytecode, as uv does the peers'."""
    packages = sysconfig.get_path("purelib")
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", "-j", "0", packages],
        capture_output=True,  # files of a package that are not for this Python
        check=False,
    )


def _base_interpreter(version: str) -> str:
    """Find an interpreter by its own path: version managers hide them behind scripts."""
    if sys.version.startswith(f"{version}."):
        return sys._base_executable  # type: ignore[attr-defined]
    candidates = [shutil.which(f"python{version}")]
    if shutil.which("pyenv"):
        listed = subprocess.run(
            ["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False
        )
        for found in listed.stdout.split():
            if found.startswith(f"{version}."):
                prefix = subprocess.run(
                    ["pyenv", "prefix", found], capture_output=True, text=True, check=False
                )
                candidates.append(str(Path(prefix.stdout.strip()) / "bin" / f"python{version}"))
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "--version"], capture_output=True, check=False)
        if done.returncode == 0:
            return candidate
    return version  # uv may know one


def caches(folder: Path) -> dict[str, str]:
    """Environment variables that keep all that a peer might compile in a folder of its own."""
    kept = {
        "XDG_CACHE_HOME": "cache",
        "JAX_COMPILATION_CACHE_DIR": "jax",
        "NUMBA_CACHE_DIR": "numba",
        "MPLCONFIGDIR": "matplotlib",
    }
    variables = {name: str(folder / place) for name, place in kept.items()}
    return variables | {
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTENSOR_FLAGS": f"base_compiledir={folder / 'pytensor'}",
        "THEANO_FLAGS": f"base_compiledir={folder / 'theano'}",
    }


def run(entry: Entry, python: str, settings: dict, cache_folder: Path, time_limit: float) -> None:
    """Run a peer to its end.

    Parameters
    ----------
    entry
        What to run.
    python
        Interpreter of its environment.
    settings
        What the script reads; `out` is emptied before.
    cache_folder
        Folder for everything it compiles; what is there already it need not compile again.
    time_limit
        Seconds after which it is stopped.

    Raises
    ------
    PeerError
        If it ends badly, with the last lines it wrote, or takes too long.
    """
    out = Path(settings["out"])
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    cache_folder.mkdir(parents=True, exist_ok=True)
    (out / "settings.json").write_text(json.dumps(settings))
    environment = os.environ | caches(cache_folder)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or some would compile at every import
    with (out / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [python, str(PEERS / entry.script), str(out / "settings.json")],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=out,
            env=environment | {"BENCHMARK_STARTED": repr(time.time())},
            start_new_session=True,
        )
        try:
            process.wait(time_limit)
        except BaseException as end:
            os.killpg(process.pid, signal.SIGKILL)  # and all that it started
            process.wait()
            if isinstance(end, subprocess.TimeoutExpired):
                raise PeerError(f"stopped after {time_limit:.0f} s") from None
            raise
    if process.returncode:
        raise PeerError(tail((out / "output.txt").read_text(errors="replace")))


def tail(text: str, lines: int = 4) -> str:
    """The end of what a program said, without the paths and addresses of this machine."""
    said = " / ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])
    said = re.sub(r"https?://\S+", "(address)", said)
    return re.sub(r"(?:/[\w.+@-]+)+/([\w.+-]+)", r"\1", said)[-600:]
