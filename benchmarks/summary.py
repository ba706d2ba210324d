"""From files of results to what is compared: medians and ranges over seeds, by entry.

An entry that ran in several files counts with the latest: rerunning one package replaces its rows
alone, and the tables say when each was measured.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.entries import ENTRIES, Entry
from benchmarks.problems import PROBLEMS

ENOUGH = 400  # effective draws: what a reader of intervals is told to have


class Spread(NamedTuple):
    """Median, least and most of a measure over runs."""

    median: float
    least: float
    most: float


class Row(NamedTuple):
    """An entry on a problem.

    Attributes
    ----------
    error
        Why there are no measures, or None.
    runs
        Its runs in the latest file that has any.
    agreeing
        How many of them agree with the truth; the rest of the runs have no speeds.
    """

    entry: Entry
    error: str | None
    runs: list[dict]
    agreeing: int
    date: str
    load: Spread | None

    @property
    def trusted(self) -> bool:
        """Whether every run agrees with the truth, so that its speed means anything."""
        return bool(self.runs) and self.agreeing == len(self.runs)

    def spread(self, measure: Callable[[dict], float | None], cold: bool | None = None) -> Spread:
        """Spread of a measure over runs: all, or those with caches cold or warm alone."""
        chosen = [run for run in self.runs if cold is None or run["cold"] == cold]
        values = [value for value in map(measure, chosen) if value is not None]
        if not values:
            return Spread(np.nan, np.nan, np.nan)
        return Spread(float(np.median(values)), min(values), max(values))


def rows(problem: str, folder: Path) -> list[Row]:
    """Gather all that was measured on a problem, in the order of the entries."""
    latest: dict[str, Row] = {}
    entries = {entry.name: entry for entry in ENTRIES}
    for path in sorted(folder.glob(f"{problem}-2*.json")):
        results = json.loads(path.read_text())
        for name in dict.fromkeys(run["entry"] for run in results["runs"]):
            if name not in entries:
                continue
            mine = [run for run in results["runs"] if run["entry"] == name]
            runs = [run for run in mine if "error" not in run]
            errors = [run["error"] for run in mine if "error" in run]
            loads = [run["load"] for run in runs]
            latest[name] = Row(
                entries[name],
                errors[0] if errors else None,
                runs,
                sum(run.get("gate", {}).get("agrees", False) for run in runs),
                results["date"][:10],
                Spread(float(np.median(loads)), min(loads), max(loads)) if loads else None,
            )
    return [latest[entry.name] for entry in ENTRIES if entry.name in latest]


def measured_problems(folder: Path) -> list[str]:
    """Problems of which there are results."""
    return [name for name in PROBLEMS if any(folder.glob(f"{name}-2*.json"))]


def min_ess(run: dict) -> float:
    """Smallest bulk ESS of the identified quantities."""
    return run["identified"]["min_ess_bulk"]


def sampling_speed(run: dict) -> float:
    """Smallest bulk ESS a second of sampling."""
    return min_ess(run) / run["seconds"]["sample"]


def speed(run: dict) -> float:
    """Smallest bulk ESS a second of warm-up and sampling."""
    return min_ess(run) / (run["seconds"]["warmup"] + run["seconds"]["sample"])


def speed_of_all(run: dict) -> float | None:
    """The same of all quantities, the original coordinates among them, recovering included."""
    if "all" not in run:
        return None
    seconds = run["seconds"]
    recovering = seconds.get("recover", run["all"]["seconds_to_recover"])
    return run["all"]["min_ess_bulk"] / (seconds["warmup"] + seconds["sample"] + recovering)


def process_speed(run: dict) -> float:
    """Smallest bulk ESS a second of the whole process."""
    return min_ess(run) / run["seconds"]["process"]


def gradients(run: dict) -> float | None:
    """Smallest bulk ESS per gradient of sampling."""
    return min_ess(run) / run["counts"]["gradients"]


def process_seconds(run: dict) -> float:
    """Seconds from the start of the process to a summary."""
    return run["seconds"]["process"]


def seconds_to_enough(run: dict) -> float:
    """Seconds of the process had it stopped sampling at an ESS of 400, or gone on to it."""
    sampling = run["seconds"]["sample"]
    return run["seconds"]["process"] - sampling + sampling * ENOUGH / min_ess(run)


def work_to_enough(run: dict) -> float:
    """The same of warm-up and sampling alone."""
    seconds = run["seconds"]
    return seconds["warmup"] + seconds["sample"] * ENOUGH / min_ess(run)


def part(name: str) -> Callable[[dict], float | None]:
    """Give a measure: seconds of a part of the process."""
    return lambda run: run["seconds"].get(name)


def count(name: str) -> Callable[[dict], float | None]:
    """Give a measure: a count."""
    return lambda run: run["counts"].get(name)
