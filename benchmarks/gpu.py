"""Many chains side by side on whatever accelerator JAX sees: ``python -m benchmarks gpu``.

The post's data, Avana (where its table is at hand) and a genome-scale screen, in the collapsed and
the sum-to-zero form, with 4 to 4,096 vectorized chains, on the accelerator and on the CPU of the
same machine. Each is fitted twice, and the second fit, which compiles nothing, is the one that
counts. Says from how many chains on the accelerator is the faster one, and whether float64 means
the same on both: the first few draws of the same seed must agree nearly to the last digit, before
chaos takes over, and the means of all draws within their Monte Carlo errors.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import jax
import numpy as np

import crossed_jax as cj
from benchmarks import machine
from benchmarks.measures import mcse
from benchmarks.problems import DATA, PROBLEMS, WORK, prepare
from crossed_jax.sampling.ess import rank_diagnostics

RESULTS = Path(__file__).parent / "results"
CHAINS = (4, 16, 64, 256, 1024, 4096)
GENOME = {"num_genes": 18_000, "num_cell_lines": 1_100, "num_replicates": 2, "missing": 0.02}
FEW = {"num_warmup": 20, "num_draws": 4}
FIRST_DRAWS_TOLERANCE = 1e-6  # relative to the spread of the draws
MOST_BYTES = 4 * 2**30  # of effects' draws: larger runs keep a summary or are left out


def tables(wanted: list[str], data: Path, genome: dict) -> dict[str, cj.CrossedData]:
    """Load the tables that are at hand."""
    found = {}
    for name in wanted:
        if name == "genome":
            found[name] = cj.simulate_screen(**genome, noise_sd=0.3, seed=1).data
            continue
        problem = PROBLEMS[name]
        try:
            folder = prepare(problem, data, WORK)
        except FileNotFoundError:
            print(f"{name}: its table is not at hand, and is left out")
            continue
        table = folder / "table.csv"
        found[name] = cj.read_table(table, response=problem.response, factors=problem.factors)
    return found


def fit(data: cj.CrossedData, form: str, device: jax.Device, chains: int, **settings: int):
    """Fit on a device; of a large table the effects are summarized, where the form can."""
    size = 8 * chains * settings["num_draws"] * sum(len(f.levels) for f in data.factors)
    keep = "summary" if size > MOST_BYTES and form == "collapsed" else "draws"
    with jax.default_device(device):
        return cj.fit(data, parameterization=form, num_chains=chains, keep_effects=keep, **settings)


def measure(
    data: cj.CrossedData, form: str, device: jax.Device, chains: int, settings: dict
) -> dict:
    """Fit twice and time the second."""
    for seed in (0, 1):
        tree = fit(data, form, device, chains, seed=seed, **settings)
    parts = json.loads(tree.attrs["seconds"])
    scalars = _scalars(tree)
    found = rank_diagnostics(scalars)
    work = sum(parts.get(part, 0.0) for part in ("collapse", "warmup", "sample", "effects"))
    error = mcse(scalars)
    return {
        "form": form,
        "device": device.device_kind,
        "platform": device.platform,
        "chains": chains,
        "seconds": parts,
        "work": work,
        "min_ess_bulk": float(found.ess_bulk.min()),
        "max_r_hat": float(found.r_hat.max()),
        "ess_per_second": float(found.ess_bulk.min() / work),
        "mean": scalars.mean((0, 1)).tolist(),
        "mean_error": error.mean.tolist(),
    }


def _scalars(tree) -> np.ndarray:
    """Draws of intercept and SDs, shape (chains, draws, quantities)."""
    posterior = tree["posterior"]
    names = [name for name, values in posterior.data_vars.items() if values.ndim == 2]
    return np.stack([posterior[name].to_numpy() for name in sorted(names)], axis=-1)


def first_draws_difference(data: cj.CrossedData, form: str, devices: list[jax.Device]) -> float:
    """Largest difference of the first draws of one seed, in units of their spread."""
    draws = [_scalars(fit(data, form, device, 4, seed=3, **FEW)) for device in devices]
    return float(np.max(abs(draws[0] - draws[1]) / draws[1].std((0, 1))))


def compare(data: cj.CrossedData, form: str, rows: list[dict], devices: list[jax.Device]) -> dict:
    """Whether devices agree, and where the one overtakes the other."""
    by_platform = {
        device.platform: {r["chains"]: r for r in rows if r["platform"] == device.platform}
        for device in devices
    }
    fast, cpu = (by_platform[device.platform] for device in devices)
    both = sorted(set(fast) & set(cpu))
    z = [
        abs(np.subtract(fast[c]["mean"], cpu[c]["mean"]))
        / np.hypot(fast[c]["mean_error"], cpu[c]["mean_error"])
        for c in both
    ]
    faster = [c for c in both if fast[c]["work"] < cpu[c]["work"]]
    slower = [c for c in both if c not in faster]
    difference = first_draws_difference(data, form, devices)
    return {
        "form": form,
        "first_draws_difference": difference,
        "float64_agrees": bool(difference < FIRST_DRAWS_TOLERANCE),
        "largest_z_of_means": float(np.max(z)),
        # from here on, at every number of chains that was tried
        "accelerator_wins_from_chains": min(
            (c for c in faster if c > max(slower, default=0)), default=None
        ),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what ``python -m benchmarks gpu`` takes."""
    parser.add_argument(
        "--table",
        nargs="+",
        choices=["post", "avana", "genome"],
        default=["post", "avana", "genome"],
    )
    parser.add_argument(
        "--form",
        nargs="+",
        choices=["collapsed", "sum_to_zero"],
        default=["collapsed", "sum_to_zero"],
    )
    parser.add_argument("--chains", nargs="+", type=int, default=CHAINS)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--genome-genes", type=int, default=GENOME["num_genes"])
    parser.add_argument("--genome-lines", type=int, default=GENOME["num_cell_lines"])
    parser.add_argument("--most-cpu-chains", type=int, default=4096, help="more are left out there")
    parser.add_argument("--most-work", type=float, default=60.0, help="seconds; larger runs stop")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the shared data")
    parser.add_argument("--results", type=Path, default=RESULTS)


def main(arguments: argparse.Namespace) -> Path:
    """Climb the ladder and write one file of results; returns its path."""
    cpu = jax.devices("cpu")[0]
    accelerator = jax.devices()[0]
    devices = [accelerator] if accelerator.platform == "cpu" else [accelerator, cpu]
    genome = GENOME | {
        "num_genes": arguments.genome_genes,
        "num_cell_lines": arguments.genome_lines,
    }
    settings = {"num_warmup": arguments.warmup, "num_draws": arguments.draws}
    results: dict = {
        "settings": settings,
        "machine": machine.describe(),
        "devices": [device.device_kind for device in devices],
        "jax": jax.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "tables": {},
    }
    for name, data in tables(arguments.table, arguments.data, genome).items():
        print(f"{name}: {data!r}")
        rows, comparisons = [], []
        for form in arguments.form:
            if name == "genome" and form == "sum_to_zero":
                continue  # minutes a chain: the collapsed form is there for this
            mine = _climb(data, form, devices, arguments, settings)
            rows += mine
            if len(devices) == 2:
                comparisons.append(compare(data, form, mine, devices))
                print(f"  {comparisons[-1]}")
        results["tables"][name] = {
            "rows": data.num_rows,
            "levels": [len(factor.levels) for factor in data.factors],
            "fits": rows,
            "comparisons": comparisons,
        }
    if len(devices) == 1:
        print("JAX sees no accelerator: there is no crossover to find, and nothing to compare.")
    arguments.results.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = arguments.results / f"gpu-{stamp}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    return path


def _climb(
    data: cj.CrossedData,
    form: str,
    devices: list[jax.Device],
    arguments: argparse.Namespace,
    settings: dict,
) -> list[dict]:
    """Fit with more and more chains on each device, until one takes too long."""
    rows = []
    for device in devices:
        for chains in sorted(arguments.chains):
            if device.platform == "cpu" and chains > arguments.most_cpu_chains:
                break
            rows.append(measure(data, form, device, chains, settings))
            row = rows[-1]
            print(
                f"  {form:<12} {row['device']:<24} {chains:>5} chains: {row['work']:8.3f} s, "
                f"{row['ess_per_second']:12,.0f} ESS/s, R-hat {row['max_r_hat']:.3f}",
                flush=True,
            )
            if row["work"] > arguments.most_work:
                break
    return rows
