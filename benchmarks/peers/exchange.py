"""What every peer script reads and writes, so that one program can judge them all.

A script is called with the path of a JSON file of settings, which names the folder of the problem
(``input.npz``: the response and the factors' codes; ``spec.json``: factors and priors) and the
folder for results. It writes ``draws.npz`` and ``run.json``. Runs on NumPy alone and on any Python
from 3.8, because PyMC3 does.

Draws have the shape (chains, draws, ...) and these names: ``{factor}_level``, the levels'
intercepts as the script's form has them, offset by anything; ``{factor}_sd``; ``sigma``;
``intercept`` if the form has one; ``{factor}_mean`` if it has those.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Iterator, NamedTuple  # noqa: UP035

import numpy as np

# when the parent started this process: what a person waits for begins at the shell prompt
STARTED = float(os.environ.get("BENCHMARK_STARTED", time.time()))
MAX_TREE_DEPTH = 10


class Problem(NamedTuple):
    """A table and its priors: Normal means, Exponential SDs whose mean is their scale."""

    folder: Path
    response: np.ndarray
    codes: list[np.ndarray]
    factors: list[str]
    num_levels: list[int]
    mean_loc: float
    mean_scale: float
    sd_scale: float


class Job:
    """One run of a peer: its problem, its settings, its clock, and where its results go."""

    def __init__(self) -> None:
        self.settings = json.loads(Path(sys.argv[1]).read_text())
        self.out = Path(self.settings["out"])
        self.seconds: dict[str, float] = {}
        with self.clock("read"):
            self.problem = _read(Path(self.settings["problem"]))

    def __getattr__(self, name: str):
        try:
            return self.settings[name]
        except KeyError:
            raise AttributeError(name) from None

    @contextmanager
    def clock(self, part: str) -> Iterator[None]:
        """Add what happens inside to the seconds of a part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start

    def split_by_gradients(self, total: float, warmup: float, sample: float) -> None:
        """Divide the seconds of a sampler that does not say into warm-up and sampling."""
        self.seconds["warmup"] = total * warmup / (warmup + sample)
        self.seconds["sample"] = total - self.seconds["warmup"]

    def stamp(self) -> None:
        """Note that all a person would wait for is done."""
        self.seconds["process"] = time.time() - STARTED

    def write(self, draws: dict, counts: dict, packages: list[str], **more: object) -> None:
        """Write draws (single precision would do, but ties would not) and the record of the run."""
        if draws:
            np.savez(self.out / "draws.npz", **{k: np.asarray(v, float) for k, v in draws.items()})
        python = ".".join(str(part) for part in sys.version_info[:3])
        record = {
            "seconds": self.seconds,
            "counts": {name: int(count) for name, count in counts.items()},
            "peak_memory": _peak_memory(),
            "versions": {"python": python, **{p: metadata.version(p) for p in packages}},
            **more,
        }
        (self.out / "run.json").write_text(json.dumps(record))


def counts_of(n_steps, diverging, depth, warmup_steps=None) -> dict:
    """Count what NUTS did from its statistics, shape (chains, draws) each."""
    counts = {
        "gradients": np.sum(n_steps),
        "divergences": np.sum(diverging),
        "max_tree_depth_hits": np.sum(np.asarray(depth) >= MAX_TREE_DEPTH),
    }
    if warmup_steps is not None:
        counts["warmup_gradients"] = np.sum(warmup_steps)
    return counts


def _peak_memory() -> int | None:
    """Most bytes this process has held; not by ``getrusage``, which counts what forked it, too."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def _read(folder: Path) -> Problem:
    spec = json.loads((folder / "spec.json").read_text())
    arrays = np.load(folder / "input.npz")
    return Problem(
        folder,
        arrays["response"],
        [arrays["codes"][k] for k in range(len(spec["factors"]))],
        spec["factors"],
        spec["num_levels"],
        spec["mean_loc"],
        spec["mean_scale"],
        spec["sd_scale"],
    )
