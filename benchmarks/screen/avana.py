"""Avana, whole: how long a fit takes, and NumPyro with every latent variable a parameter.

Seconds are beside compiling. NumPyro's are those of a second run with its program compiled; as it
may not have converged, its effective draws a second are if anything too many.
"""

import json
import os
import time
from typing import Any

import jax
import numpy as np

import crossed_jax as cj
from benchmarks.screen.numpyro_rows import sample
from benchmarks.screen.screens import SEED, crossed, guide_library, library, with_guides
from crossed_jax.sampling.ess import rank_diagnostics

WARMUP, DRAWS = 300, 500
THEIR_WARMUP, THEIR_DRAWS = 150, 100


def avana() -> dict[str, Any]:
    """Fit Avana with both, in turn."""
    data = crossed(library("Avana"))
    ours, theirs = _ours(data), _numpyro(data)
    ratio = ours["min_ess_per_second"] / theirs["min_ess_per_second"]
    return {"rows": data.num_rows, "crossed_jax": ours, "numpyro": theirs, "ratio": ratio}


def guide_avana() -> dict[str, Any]:
    """Fit Avana's guides, with each core a device."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    data = with_guides(guide_library("Avana"))
    cj.fit(data, model="screen", num_warmup=1, num_draws=4, seed=SEED)  # compiles
    return {"rows": data.num_rows, "crossed_jax": _ours(data)}


def _ours(data: cj.CrossedData) -> dict[str, Any]:
    tree = cj.fit(data, model="screen", num_warmup=WARMUP, num_draws=DRAWS, seed=SEED)
    seconds = json.loads(tree.attrs["seconds"])
    fitting = sum(value for part, value in seconds.items() if part != "compile")
    verdict = cj.diagnose(tree)
    steps = int(tree["sample_stats"]["n_steps"].sum())
    means = {row[0]: row[1] for row in cj.parameters(tree).select("parameter", "mean").rows()}
    return {
        "warmup": WARMUP,
        "draws": DRAWS,
        "chains": 4,
        "seconds": seconds,
        "seconds_beside_compiling": fitting,
        "converged": verdict.converged,
        "divergences": verdict.divergences,
        "max_r_hat": verdict.max_r_hat,
        "min_ess_bulk": verdict.min_ess_bulk,
        "min_ess_bulk_at": verdict.min_ess_bulk_at,
        "leapfrog_steps_per_effective_draw": steps / verdict.min_ess_bulk,
        "min_ess_per_second": verdict.min_ess_bulk / fitting,
        "means": means,
    }


def _numpyro(data: cj.CrossedData) -> dict[str, Any]:
    clock = time.perf_counter()
    draws = sample(data, num_warmup=THEIR_WARMUP, num_draws=THEIR_DRAWS, num_chains=1, seed=SEED)
    seconds = time.perf_counter() - clock
    clock = time.perf_counter()
    sample(data, num_warmup=1, num_draws=1, num_chains=1, seed=SEED)
    seconds -= time.perf_counter() - clock
    steps, diverging = draws.pop("num_steps"), draws.pop("diverging")
    draws.pop("interaction")
    ess = {
        name: float(rank_diagnostics(values.reshape(*values.shape[:2], -1)).ess_bulk.min())
        for name, values in draws.items()
    }
    worst = min(ess, key=ess.__getitem__)
    return {
        "warmup": THEIR_WARMUP,
        "draws": THEIR_DRAWS,
        "chains": 1,
        "seconds_beside_compiling": seconds,
        "divergences": int(diverging.sum()),
        "leapfrog_steps": float(np.mean(steps)),
        "min_ess_bulk": ess[worst],
        "min_ess_bulk_at": worst,
        "leapfrog_steps_per_effective_draw": float(np.sum(steps)) / ess[worst],
        "min_ess_per_second": ess[worst] / seconds,
    }
