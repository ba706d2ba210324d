"""Prediction of values that were held out, by the screen model and by parts of it.

Of each line with two samples or more one is held out; of DepMap, which has one value per cell, a
tenth of the cells. Gains are in mean log predictive density per value over the additive model's,
with standard errors over lines.
"""

import json
import sys
import time
from typing import Any

import numpy as np
import polars as pl
import xarray as xr

import crossed_jax as cj
from benchmarks.screen.prediction import Prediction, draws_of, predict
from benchmarks.screen.screens import SEED, crossed, depmap, library

INTERVALS = (0.5, 0.9, 0.99)
FRACTION = 0.1
SETTINGS = {"num_chains": 4, "num_warmup": 300, "num_draws": 500, "seed": SEED}


def split_samples(table: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hold a sample out of each line that has two or more; returns what is left, and those."""
    rng = np.random.default_rng(SEED)
    samples = table.group_by("cell_line").agg(pl.col("sample").unique().sort()).sort("cell_line")
    held = [str(rng.choice(names)) for names in samples["sample"] if len(names) > 1]
    chosen = pl.col("sample").is_in(held)
    return table.filter(~chosen), table.filter(chosen)


def split_cells(table: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hold a tenth of the values out, of a table with one per cell."""
    chosen = pl.Series(np.random.default_rng(SEED).random(len(table)) < FRACTION)
    return table.filter(~chosen), table.filter(chosen)


def models(slopes: str, *, replicated: bool) -> dict[str, dict[str, Any]]:
    """Give the parts of each model, the additive one first."""
    both = {"noise_by": ("gene", "cell_line")}
    chosen: dict[str, dict[str, Any]] = {
        "additive": {},
        "noise SD per line": {"noise_by": ("cell_line",)},
        "noise SD per gene": {"noise_by": ("gene",)},
        "both noise SDs": both,
        "slopes": {"slopes": slopes},
        "slopes + both noise SDs": {"slopes": slopes, **both},
    }
    if replicated:
        chosen["interaction"] = {"interaction": True}
        chosen["slopes + both noise SDs + interaction"] = {
            "slopes": slopes,
            **both,
            "interaction": True,
        }
    return chosen


def held_out() -> dict[str, Any]:
    """Fit every model to what is left of each screen, and predict what was held out."""
    # of DepMap the lines are the larger factor, and so the genes have the slopes
    return {
        "avana": _screen(*split_samples(library("Avana")), "cell_line", replicated=True),
        "ky": _screen(*split_samples(library("KY")), "cell_line", replicated=True),
        "depmap": _screen(*split_cells(depmap()), "gene", replicated=False),
    }


def _screen(
    train: pl.DataFrame, held: pl.DataFrame, slopes: str, *, replicated: bool
) -> dict[str, Any]:
    data, found, additive = crossed(train), {}, None
    for name, parts in models(slopes, replicated=replicated).items():
        clock = time.perf_counter()
        model = {"model": cj.Model(**parts)} if parts else {}
        tree = cj.fit(data, **model, **SETTINGS)
        seconds = time.perf_counter() - clock
        prediction = predict(draws_of(tree), train, held)
        additive = prediction if additive is None else additive
        found[name] = score(prediction, additive, held) | fitted(tree) | {"seconds": seconds}
        print(name, json.dumps(found[name]), file=sys.stderr, flush=True)
    return {"values": len(held), "lines": held["cell_line"].n_unique(), "models": found}


def score(prediction: Prediction, additive: Prediction, held: pl.DataFrame) -> dict[str, Any]:
    """Mean log-density, the gain over the additive model's, and coverage of central intervals."""
    gains = held.select("cell_line", gain=prediction.log_density - additive.log_density)
    by_line = gains.group_by("cell_line").agg(pl.col("gain").mean())["gain"]
    distance = np.abs(2.0 * prediction.place - 1.0)
    return {
        "log_density": float(prediction.log_density.mean()),
        "gain": gains["gain"].mean(),
        "standard_error": by_line.std() / len(by_line) ** 0.5,
        "coverage": [float((distance < level).mean()) for level in INTERVALS],
    }


def fitted(tree: xr.DataTree) -> dict[str, Any]:
    """Posterior means of what has one value, and whether the draws are to be trusted."""
    posterior, verdict = tree["posterior"], cj.diagnose(tree)
    scalars = {n: float(v.mean()) for n, v in posterior.data_vars.items() if v.ndim == 2}
    return {
        "means": scalars,
        "converged": verdict.converged,
        "divergences": verdict.divergences,
        "max_r_hat": verdict.max_r_hat,
        "min_ess_bulk": verdict.min_ess_bulk,
        "leapfrog_steps": float(tree["sample_stats"]["n_steps"].mean()),
    }
