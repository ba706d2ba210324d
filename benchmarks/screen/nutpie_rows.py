"""Avana by nutpie, every latent variable a parameter: PyMC's model, in an environment of its own.

nutpie adapts from gradients and needs fewer steps of warm-up than others; it is stopped after ten
minutes with the draws that there are. As it may not have converged, its effective draws a second
are if anything too many.
"""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import crossed_jax as cj
from benchmarks.screen.screens import SEED, crossed, library
from crossed_jax.sampling.ess import rank_diagnostics

SCRIPT = Path(__file__).parents[1] / "peers" / "nutpie_screen.py"
SETTINGS = {"warmup": 150, "draws": 1000, "chains": 2, "seed": SEED, "limit": 600}


def nutpie() -> dict[str, Any]:
    """Sample Avana."""
    data = crossed(library("Avana"))
    return {"rows": data.num_rows, "nutpie": score(sample(data, SETTINGS), SETTINGS)}


def sample(data: cj.CrossedData, settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """Draw everything that the package reports but the interactions; and how it was drawn."""
    gene, line = (factor.codes for factor in data.factors)
    num_lines = len(data.factors[1].levels)
    cells, cell = np.unique(gene.astype(np.int64) * num_lines + line, return_inverse=True)
    with tempfile.TemporaryDirectory() as folder:
        table, draws = Path(folder) / "table.npz", Path(folder) / "draws.npz"
        np.savez(
            table,
            gene=gene,
            line=line,
            cell=cell,
            cell_gene=cells // num_lines,
            cell_line=cells % num_lines,
            response=data.response,
        )
        command = ["uv", "run", "--quiet", "--script", SCRIPT, table, draws, json.dumps(settings)]
        subprocess.run(command, check=True)
        with np.load(draws) as found:
            return dict(found)


def score(draws: dict[str, np.ndarray], settings: dict[str, Any]) -> dict[str, Any]:
    """Smallest effective sample size of what was drawn, and what it cost."""
    statistics = ("compile_seconds", "seconds", "num_steps", "diverging")
    compiling, seconds, steps, diverging = (draws.pop(name) for name in statistics)
    found = {
        name: rank_diagnostics(values.reshape(*values.shape[:2], -1))
        for name, values in draws.items()
    }
    ess = {name: float(each.ess_bulk.min()) for name, each in found.items()}
    worst = min(ess, key=ess.__getitem__)
    max_r_hat = max(float(each.r_hat.max()) for each in found.values())
    return {
        **settings,
        "draws": int(steps.shape[1]),
        "compile_seconds": float(compiling),
        "seconds_beside_compiling": float(seconds),
        "divergences": int(diverging.sum()),
        "leapfrog_steps": float(steps.mean()),
        "max_r_hat": max_r_hat,
        "converged": bool(max_r_hat < 1.01 and ess[worst] >= 100 * settings["chains"]),
        "min_ess_bulk": ess[worst],
        "min_ess_bulk_at": worst,
        "leapfrog_steps_per_effective_draw": float(steps.sum()) / ess[worst],
        "min_ess_per_second": ess[worst] / float(seconds),
        "means": {n: float(values.mean()) for n, values in draws.items() if values.ndim == 2},
    }
