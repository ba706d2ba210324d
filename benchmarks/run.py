"""Run samplers on problems: gate each on the truth, then time it.

Every run is a process of its own, confined to the same cores. Entries take turns within a seed (A
B C A B C), so that whatever the machine does meanwhile falls on all alike. An entry's first run
finds its caches empty, later ones find what it left: what it compiles cold and warm. One file of
results for each problem and call.
"""

import json
import os
import shutil
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import machine, process
from benchmarks.entries import ENTRIES, ESTIMATE, QUICK, Entry, chosen
from benchmarks.measures import measure, read_record
from benchmarks.problems import DATA, PROBLEMS, WORK, Problem, prepare
from benchmarks.truth import Truth, truth_of

RESULTS = Path(__file__).parent / "results"


def run_problem(
    problem: Problem,
    entries: list[Entry],
    *,
    seeds: int,
    cores: int,
    time_limit: float,
    results: Path = RESULTS,
    data: Path = DATA,
    work: Path = WORK,
    in_project: bool = False,
    log: Any = print,
) -> Path:
    """Run entries on a problem and write one file of results; returns its path."""
    folder = prepare(problem, data, work)
    spec = json.loads((folder / "spec.json").read_text())
    truth = truth_of(folder, problem.by_quadrature)
    log(f"{problem.title}; truth by {truth.kind}")
    pythons, runs = _environments(entries, in_project, log)
    now = datetime.now(UTC)
    written = {
        "problem": {"name": problem.name, "title": problem.title, **spec},
        "truth": _spell(truth),
        "settings": {"chains": problem.chains, "warmup": problem.warmup, "draws": problem.draws},
        "cores": cores,
        "machine": machine.describe(),
        "date": now.isoformat(timespec="seconds"),
        "runs": runs,
    }
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{problem.name}-{now:%Y%m%dT%H%M%S}.json"
    _write(path, written)
    for seed, entry in product(range(seeds), entries):
        if entry.name not in pythons:
            continue  # it could not be installed, or has failed before
        cache = work / "caches" / _slug(entry.name)
        if seed == 0:
            shutil.rmtree(cache, ignore_errors=True)
        settings = {
            "problem": str(folder),
            "out": str(work / "runs" / problem.name / _slug(entry.name)),
            "chains": problem.chains,
            "warmup": problem.warmup,
            "draws": problem.draws,
            "seed": seed,
            "cores": cores,
            **entry.changes,
            **entry.options,
        }
        with machine.confined(cores):
            found = _run_once(
                entry, pythons[entry.name], settings, cache, time_limit, (spec, truth)
            )
        runs.append({"entry": entry.name, "seed": seed, "cold": seed == 0, **found})
        log(_line(runs[-1]))
        if "error" in found:
            del pythons[entry.name]
        _write(path, written)  # after every run, so that what is interrupted is not lost
    return path


def _write(path: Path, written: dict) -> None:
    path.write_text(json.dumps(written, indent=1) + "\n")


def _environments(
    entries: list[Entry], in_project: bool, log: Any
) -> tuple[dict[str, str], list[dict]]:
    """Interpreters by entry, and a record for each entry that could not be installed."""
    pythons, failed = {}, []
    for entry in entries:
        try:
            pythons[entry.name] = process.interpreter(entry, in_project)
        except process.PeerError as error:
            failed.append({"entry": entry.name, "error": str(error)})
            log(_line(failed[-1]))
    return pythons, failed


def _run_once(
    entry: Entry,
    python: str,
    settings: dict,
    cache: Path,
    time_limit: float,
    judged_by: tuple[dict, Truth],
) -> dict:
    load = machine.load_average()
    try:
        process.run(entry, python, settings, cache, time_limit)
    except process.PeerError as error:
        return {"error": str(error), "load": load}
    out = Path(settings["out"])
    found = {
        "settings": {k: settings[k] for k in ("chains", "warmup", "draws")},
        "load": load,
        **read_record(out),
    }
    if entry.family != ESTIMATE:
        spec, truth = judged_by
        found |= measure(out, spec, truth, settings["seed"], not entry.own_priors)
        os.remove(out / "draws.npz")  # hundreds of megabytes on a large table
    return found


def _spell(truth: Truth) -> dict:
    """Describe the truth: the scalars as they are, of the effects only how well they are known."""
    scalars = [k for k, name in enumerate(truth.names) if "[" not in name]
    return {
        "kind": truth.kind,
        "largest_error_in_sds": {
            "mean": float((truth.mean_error / truth.sd).max()),
            "sd": float((truth.sd_error / truth.sd).max()),
        },
        "scalars": {
            truth.names[k]: {"mean": float(truth.mean[k]), "sd": float(truth.sd[k])}
            for k in scalars
        },
    }


def _line(run: dict) -> str:
    if "error" in run:
        return f"{run['entry']:<36} {run['error']}"
    if "gate" not in run:
        return f"{run['entry']:<36} estimated in {run['seconds']['process']:.1f} s"
    seconds = run["seconds"]
    verdict = "agrees" if run["gate"]["agrees"] else f"ANOTHER POSTERIOR {run['gate']['of']}"
    return (
        f"{run['entry']:<36} seed {run['seed']}: process {seconds['process']:6.1f} s, "
        f"warm-up {seconds['warmup']:7.2f} s, sampling {seconds['sample']:7.2f} s, "
        f"min ESS {run['identified']['min_ess_bulk']:8,.0f}, {verdict}"
    )


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def add_arguments(parser: Any) -> None:
    """Say what ``python -m benchmarks run`` takes."""
    parser.add_argument("--problem", nargs="+", choices=list(PROBLEMS), default=["post"])
    parser.add_argument("--peer", nargs="+", help="packages or entries, by how they begin")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--time-limit", type=float, default=1800.0, help="seconds for one process")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the shared data")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a minute: the post's data, one seed, crossed_jax and NumPyro as they are installed",
    )


def main(arguments: Any) -> list[Path]:
    """Run what was asked for."""
    common = {
        "cores": arguments.cores,
        "time_limit": arguments.time_limit,
        "results": arguments.results,
        "data": arguments.data,
    }
    if arguments.quick:
        problem = PROBLEMS["post"]._replace(warmup=500, draws=1000)
        entries = [entry for entry in ENTRIES if entry.name in QUICK]
        return [run_problem(problem, entries, seeds=1, in_project=True, **common)]
    return [
        run_problem(PROBLEMS[name], chosen(arguments.peer, name), seeds=arguments.seeds, **common)
        for name in arguments.problem
    ]
