"""Avana and KY with effects of samples and without: how sure line effects are, what else moves."""

from typing import Any

import numpy as np
import xarray as xr

import crossed_jax as cj
from benchmarks.screen.held_out import fitted
from benchmarks.screen.screens import RESPONSE, SEED, library

SETTINGS = {"num_chains": 4, "num_warmup": 300, "num_draws": 500, "seed": SEED}


def samples() -> dict[str, Any]:
    """Fit both libraries with and without."""
    return {name: _compared(name) for name in ("Avana", "KY")}


def _compared(name: str) -> dict[str, Any]:
    table = library(name)
    without, with_samples = (
        cj.fit(
            cj.read_table(table, response=RESPONSE, factors=("gene", "cell_line"), sample=column),
            model="screen",
            **SETTINGS,
        )
        for column in (None, "sample")
    )
    sds = [_line_sds(tree) for tree in (without, with_samples)]
    means = [tree["interactions"]["mean"].to_numpy() for tree in (without, with_samples)]
    moved = np.abs(means[1] - means[0]) / without["interactions"]["sd"].to_numpy()
    return {
        "samples": with_samples["posterior"].sizes["sample"],
        "lines": len(sds[0]),
        "sample_sd": float(with_samples["posterior"]["sample_sd"].mean()),
        "line_effect_sd": {"without": float(sds[0].mean()), "with": float(sds[1].mean())},
        "ratio_of_sds": float((sds[1] / sds[0]).mean()),
        "interactions_moved_in_sds": {
            "median": float(np.median(moved)),
            "largest": float(moved.max()),
        },
        "fits": {"without": fitted(without), "with": fitted(with_samples)},
    }


def _line_sds(tree: xr.DataTree) -> np.ndarray:
    return tree["effect_moments"]["cell_line_effect_sd"].to_numpy()
