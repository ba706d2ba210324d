"""The response as measured, by level of each factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crossed_jax.results.plots.style import (
    BLUE,
    COLOURS,
    MARKERS,
    MAX_LABELLED_LEVELS,
    SKY,
    labels_of,
    name_ends,
    panel_size,
    text,
    tidy,
)
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

MAX_MARKED_LEVELS = len(MARKERS)
MAX_POINTS_PER_LEVEL = 100
MAX_SEPARATE_LEVELS = 200
NUM_GROUPS = 100
MAX_COUNTED = 40  # distinct whole numbers of a response, for its points to be spread


def raw_data(tree: xr.DataTree) -> Figure:
    """Draw the response by level of each factor, markers telling the first factor's levels apart.

    Panels with more levels than can be labelled, or more rows than can be told apart, show each
    level's mean with the range of its middle 50% and 90% of rows instead. A fit of more than a
    million rows has kept the level means only, and shows those.
    """
    factors = factor_names(tree)
    constant, observed = tree["constant_data"].to_dataset(), tree["observed_data"].to_dataset()
    response = tree.attrs["response"]
    rows = observed[response].values if response in observed else None
    levels = {factor: labels_of(constant[factor].values) for factor in factors}
    marked = rows is not None and len(levels[factors[0]]) <= MAX_MARKED_LEVELS
    marks = constant[of_factor(factors[0], "code")].values if marked else None

    sizes = [panel_size(len(levels[factor])) for factor in factors]
    figure = Figure(figsize=(3 + 0.28 * sum(sizes), 4.4), layout="constrained")
    axes = figure.subplots(1, len(factors), sharey=True, width_ratios=sizes, squeeze=False)[0]
    pointed = pointed_at_all = False
    for ax, factor in zip(axes, factors, strict=True):
        names = levels[factor]
        most = MAX_MARKED_LEVELS if factor == factors[0] else MAX_LABELLED_LEVELS
        if rows is None:
            _level_means(ax, constant[of_factor(factor, "raw_mean")].values)
        elif len(names) <= most and len(rows) <= MAX_POINTS_PER_LEVEL * len(names):
            _level_points(ax, rows, constant[of_factor(factor, "code")].values, marks)
            pointed = pointed or (marked and factor != factors[0])
            pointed_at_all = True
        else:
            _level_ranges(ax, rows, constant[of_factor(factor, "code")].values, len(names))
        ax.set_title(f"by {text(factor)}", loc="left")
        tidy(ax, "y")
        if len(names) <= MAX_LABELLED_LEVELS:
            _label_levels(ax, names)
            ax.set_xlabel(text(factor))
        else:
            means = constant[of_factor(factor, "raw_mean")].values
            name_ends(ax, constant[factor].values[np.argsort(means, kind="stable")])
            ax.set_xlabel(f"{len(names):,} levels of {text(factor)}, sorted by mean")
    spread = pointed_at_all and is_counted(rows)
    axes[0].set_ylabel(text(response) + (" (whole numbers, spread)" if spread else ""))
    if pointed:
        key: dict[str, Any] = {"title": text(factors[0]), "frameon": False}
        handles: list[Any] = [
            Line2D([], [], linestyle="", marker=MARKERS[i], color=COLOURS[i % len(COLOURS)])
            for i in range(len(levels[factors[0]]))
        ]
        figure.legend(handles, levels[factors[0]], loc="outside right center", **key)
    ranged = next((ax for ax in axes if ax.get_legend_handles_labels()[0]), None)
    if ranged is not None:
        handles, labels = ranged.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"{text(response)} as measured, by level of each factor")
    return figure


def is_counted(rows: np.ndarray | None) -> bool:
    """Whether a response has a few whole numbers again and again: points would hide each other."""
    if rows is None or (rows != np.round(rows)).any():
        return False
    return len(np.unique(rows)) <= min(MAX_COUNTED, len(rows) / 2)


def _level_points(ax: Axes, rows: np.ndarray, codes: np.ndarray, marks: np.ndarray | None) -> None:
    """Draw each row, beside its level's place, with the marker and colour of its mark."""
    rng = np.random.default_rng(0)
    jitter = rng.uniform(-0.22, 0.22, len(rows))
    if is_counted(rows):
        rows = rows + rng.uniform(-0.22, 0.22, len(rows))
    marks = np.zeros_like(codes) if marks is None else marks
    for mark in np.unique(marks):
        at = marks == mark
        look: dict[str, Any] = {
            "ms": 5,
            "color": COLOURS[mark % len(COLOURS)],
            "alpha": 0.7,
            "mew": 0,
        }
        ax.plot(codes[at] + jitter[at], rows[at], MARKERS[mark], **look)


def _level_ranges(ax: Axes, rows: np.ndarray, codes: np.ndarray, num_levels: int) -> None:
    """Draw each level's mean, and the range of the middle 50% and 90% of its rows."""
    import polars as pl

    row = pl.col("row")
    quantiles = [row.quantile(q, "linear").alias(str(q)) for q in (0.05, 0.25, 0.75, 0.95)]
    table = (
        pl.DataFrame({"code": codes, "row": rows})
        .group_by("code")
        .agg(row.mean().alias("mean"), *quantiles)
        .sort("code" if num_levels <= MAX_LABELLED_LEVELS else "mean")
    )
    place = np.arange(num_levels)
    few = num_levels <= MAX_LABELLED_LEVELS
    if num_levels > MAX_SEPARATE_LEVELS:  # neighbours together: quantiles of few rows are ragged
        group = pl.Series(place * NUM_GROUPS // num_levels)
        table = table.with_columns(place=pl.Series(place)).group_by(group).mean().sort("place")
        place = table["place"].to_numpy()
    for low, high, width, alpha in (("0.05", "0.95", 2, 0.4), ("0.25", "0.75", 6, 0.8)):
        bounds = table[low].to_numpy(), table[high].to_numpy()
        label = f"middle {float(high) - float(low):.0%} of rows"
        if few:
            ax.vlines(place, *bounds, color=SKY, linewidth=width, alpha=alpha, label=label)
        else:
            ax.fill_between(place, *bounds, color=SKY, alpha=alpha, linewidth=0, label=label)
    ax.plot(place, table["mean"].to_numpy(), "o" if few else "-", color=BLUE, label="mean")


def _level_means(ax: Axes, means: np.ndarray) -> None:
    """Draw each level's mean, sorted where there are many."""
    few = len(means) <= MAX_LABELLED_LEVELS
    ax.plot(means if few else np.sort(means), "o" if few else "-", color=BLUE, label="mean")


def _label_levels(ax: Axes, names: list[str]) -> None:
    slanted = sum(len(name) + 1 for name in names) > 3.5 * panel_size(len(names))
    turned: dict[str, Any] = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(names)), names, **(turned if slanted else {}))
    ax.set_xlim(-0.6, len(names) - 0.4)
