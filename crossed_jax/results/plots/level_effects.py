"""The effect of every level: posterior means and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crossed_jax.results.plots.style import (
    COLOURS,
    GREY,
    MAX_LABELLED_LEVELS,
    labels_of,
    panel_size,
    text,
    tidy,
)
from crossed_jax.results.summaries import effect_moments
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

LEVEL_HEIGHT = 0.22  # inches
INTERVAL_ALPHA = 0.6


def effects(tree: xr.DataTree, truth: Mapping[str, Any] | None = None) -> Figure:
    """Draw the posterior mean and 95% interval of every level's effect, a panel for each factor.

    Parameters
    ----------
    tree
        A fit. It need not have kept draws of the effects if it knows their moments.
    truth
        Where known, ``{f}_effect`` in the order of the levels; drawn as crosses.
    """
    factors = factor_names(tree)
    constant = tree["constant_data"].to_dataset()
    truth = truth or {}
    tallest = max(panel_size(constant.sizes[factor]) for factor in factors)
    figure = Figure(
        figsize=(4.6 * len(factors), 2.2 + LEVEL_HEIGHT * tallest), layout="constrained"
    )
    axes = figure.subplots(1, len(factors), sharex=True, squeeze=False)[0]
    for k, (ax, factor) in enumerate(zip(axes, factors, strict=True)):
        true = truth.get(of_factor(factor, "effect"))
        levels = constant[factor].values
        draw_levels(ax, effect_moments(tree, factor), levels, tallest, k, true)
        ax.axvline(0, color=GREY, linewidth=0.8, zorder=0)
        ax.set_xlabel(f"deviation from the intercept ({text(tree.attrs['response'])})")
        ax.set_title(text(factor), loc="left")
    add_legend(figure, axes[0])
    figure.suptitle("Effects: posterior means and 95% intervals")
    return figure


def draw_levels(
    ax: Axes,
    moments: Mapping[str, np.ndarray],
    levels: np.ndarray,
    tallest: int,
    colour: int,
    truth: Any = None,
) -> None:
    """Draw what each level of a factor has: sorted and without labels if there are many.

    Parameters
    ----------
    ax
        Where to.
    moments
        `mean`, `lower` and `upper` of each level.
    levels
        Their labels.
    tallest
        Of how many labelled levels the figure has the height.
    colour
        Number of the colour.
    truth
        Of each level, where known.
    """
    mean, lower, upper = (np.asarray(moments[name]) for name in ("mean", "lower", "upper"))
    line_colour = COLOURS[colour % len(COLOURS)]
    place = np.arange(len(mean))
    labelled = len(mean) <= MAX_LABELLED_LEVELS
    order = place if labelled else np.argsort(mean)
    width, dot, cross = (2, 3.5, 8) if labelled else (0.8, 1, 2.5)
    # Intervals of many levels lie on top of each other: each is fainter, all as dark as one.
    overlap = max(1.0, len(mean) * width / (72 * LEVEL_HEIGHT * tallest))
    alpha = 1 - (1 - INTERVAL_ALPHA) ** (1 / overlap)
    bar = {"linewidth": width, "alpha": alpha, "label": "95% interval"}
    ax.hlines(place, lower[order], upper[order], color=line_colour, **bar)
    ax.plot(mean[order], place, "o", ms=dot, color=line_colour, label="posterior mean")
    if truth is not None:
        true = np.asarray(truth)[order]
        # Many crosses would bury the intervals: they go beneath.
        on_top = 3 if labelled else 1
        ax.plot(true, place, "x", ms=cross, mew=0.8, color="black", zorder=on_top, label="truth")
    tidy(ax, "x")
    if labelled:
        ax.set_yticks(place, labels_of(levels))
        ax.set_ylim(len(mean) - 0.5, -0.5)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(mean):,} levels, sorted by posterior mean")


def add_legend(figure: Figure, ax: Axes) -> None:
    """Say beneath a figure what its panels draw."""
    handles, names = ax.get_legend_handles_labels()
    handles[0] = Line2D([], [], color=COLOURS[0], linewidth=2, alpha=INTERVAL_ALPHA)
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
