r"""Slope and noise of every line, and which of them stand out from the rest.

A line stands out if the logarithm of its slope or noise SD lies more than three and a half robust
SDs from the median, 1.483 times the median distance from it (Iglewicz and Hoaglin, 1993, *How to
Detect and Handle Outliers*).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crossed_jax.models.model import parts_of
from crossed_jax.results.report.numbers import fixed
from crossed_jax.results.summaries import slopes_and_noise
from crossed_jax.results.tree import factor_names

if TYPE_CHECKING:
    import xarray as xr

FAR = 3.5
MOST_LINES = 100
TITLES = {"slope": "slope", "noise_sd": "noise SD"}


def lines_shown(tree: xr.DataTree) -> dict[str, Any] | None:
    """Give the lines of a screen as a table, the farthest from the rest first; None if alike."""
    names = factor_names(tree)
    parts = parts_of(tree.attrs, names)
    if parts is None or not (parts.slopes or parts.line_noise):
        return None
    line = names[1 - parts.genes]
    levels = [str(level) for level in tree["constant_data"].to_dataset()[line].values]
    found = slopes_and_noise(tree, line)
    distances = {name: _distance(moments["mean"]) for name, moments in found.items()}
    farthest = np.abs(np.stack([*distances.values()])).max(0)
    order = np.argsort(np.negative(farthest), kind="stable")
    rows = []
    for i in order[:MOST_LINES]:
        cells: list[tuple[str, Any]] = [(levels[i], levels[i])]
        for moments in found.values():
            mean, lower, upper = (float(moments[end][i]) for end in ("mean", "lower", "upper"))
            cells += [(fixed(mean, 2), mean), (f"{fixed(lower, 2)} to {fixed(upper, 2)}", lower)]
        why = ", ".join(
            f"{'high' if distances[name][i] > 0 else 'low'} {TITLES[name]}"
            for name in found
            if abs(distances[name][i]) > FAR
        )
        rows.append([*cells, (why, why or "~")])
    numbers = [(title, "number") for name in found for title in (TITLES[name], "95% interval")]
    return {
        "name": line,
        "columns": [(line, "label"), *numbers, ("stands out", "text")],
        "rows": rows,
        "number": len(levels),
        "outliers": [levels[i] for i in order if farthest[i] > FAR],
    }


def _distance(means: np.ndarray) -> np.ndarray:
    """Distance of logarithms from their median, in robust SDs."""
    away = np.log(means) - np.median(np.log(means))
    return away / (1.483 * np.median(np.abs(away)) or 1.0)
