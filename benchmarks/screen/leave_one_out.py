"""Leave-one-out from the draws of one fit against fits without the row, on a cut of Avana.

Of each model twenty rows are left out in turn, the same of all, and besides the five of the largest
Pareto k: the model is fitted to what is left, and the log predictive density of the row is that of
these draws. Differences are also given in standard errors of Monte Carlo, of the refit and of the
importance weights.
"""

import dataclasses
import time
from typing import Any

import arviz_stats
import numpy as np
import polars as pl
import xarray as xr

import crossed_jax as cj
from benchmarks.screen.screens import SEED, crossed, library
from crossed_jax.results.log_likelihood import in_blocks

NUM_GENES, NUM_ROWS, NUM_HARDEST = 100, 20, 5
SETTINGS = {"num_chains": 4, "num_warmup": 500, "num_draws": 1000, "seed": SEED}
MODELS: dict[str, dict[str, Any]] = {
    "additive": {},
    "Student-t": {"noise": "student_t"},
    "screen": {"model": "screen"},
}


def leave_one_out() -> dict[str, Any]:
    """Compare the models on the cut, and each model's estimates with refits."""
    rng = np.random.default_rng(SEED)
    whole = library("Avana")
    genes = rng.choice(whole["gene"].unique().sort().to_numpy(), NUM_GENES, replace=False)
    data = crossed(whole.filter(pl.col("gene").is_in(genes)))
    rows = rng.choice(data.num_rows, NUM_ROWS, replace=False)
    trees = {name: cj.fit(data, **model, **SETTINGS) for name, model in MODELS.items()}
    compared = {by: cj.compare(trees, data, by=by).to_dicts() for by in ("row", "cell")}
    refits = {name: _against_refits(trees[name], data, rows, MODELS[name]) for name in MODELS}
    return {
        "rows": data.num_rows,
        "genes": NUM_GENES,
        "lines": len(data.factors[1].levels),
        "converged": {name: cj.diagnose(tree).converged for name, tree in trees.items()},
        "compared": compared,
        "refits": refits,
    }


def _against_refits(
    tree: xr.DataTree, data: cj.CrossedData, rows: np.ndarray, model: dict[str, Any]
) -> dict[str, Any]:
    tree = cj.log_likelihood(tree, data)
    estimate = arviz_stats.loo(tree, pointwise=True)
    values = tree["log_likelihood"][data.response_name].to_numpy()
    hardest = np.argsort(-estimate.pareto_k.to_numpy())[:NUM_HARDEST]
    clock = time.perf_counter()
    refits = np.array([_refit(data, row, model) for row in (*rows, *hardest)])
    seconds = time.perf_counter() - clock
    chosen = np.array([*rows, *hardest])
    elpd = estimate.elpd_i.to_numpy()[chosen]
    errors = np.hypot(refits[:, 1], [_error(-values[..., row]) for row in chosen])
    told = {
        "row": chosen.tolist(),
        "pareto_k": estimate.pareto_k.to_numpy()[chosen].tolist(),
        "elpd": elpd.tolist(),
        "refit": refits[:, 0].tolist(),
        "monte_carlo_error": errors.tolist(),
    }
    random = slice(NUM_ROWS)
    return {
        "by_row": told,
        "elpd": float(elpd[random].sum()),
        "standard_error": float(np.sqrt(NUM_ROWS * elpd[random].var(ddof=1))),
        "refit": float(refits[random, 0].sum()),
        "largest_difference": float(np.abs(elpd - refits[:, 0])[random].max()),
        "largest_z": float(np.abs((elpd - refits[:, 0]) / errors)[random].max()),
        "seconds_of_refits": seconds,
    }


def _refit(data: cj.CrossedData, row: int, model: dict[str, Any]) -> tuple[float, float]:
    """Log predictive density of a row by a fit without it, and its Monte Carlo error."""
    kept = np.arange(data.num_rows) != row
    factors = tuple(dataclasses.replace(f, codes=f.codes[kept]) for f in data.factors)
    rest = dataclasses.replace(data, response=data.response[kept], factors=factors)
    tree = cj.fit(rest, **model, **SETTINGS)
    for places, values in in_blocks(tree, data, "row"):
        if row in places:
            of_row = values[..., np.flatnonzero(places == row)[0]]
    largest = of_row.max()
    return float(largest + np.log(np.exp(of_row - largest).mean())), _error(of_row)


def _error(log_values: np.ndarray) -> float:
    """Monte Carlo error of the logarithm of a mean of exponentials, shape (chains, draws)."""
    values = np.exp(log_values - log_values.max())
    ess = float(arviz_stats.ess(values, method="mean"))
    return float(values.std(ddof=1) / values.mean() / np.sqrt(ess))
