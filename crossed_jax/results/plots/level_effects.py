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
        moments = effect_moments(tree, factor)
        mean, lower, upper = (moments[name] for name in ("mean", "lower", "upper"))
        colour = COLOURS[k % len(COLOURS)]
        place = np.arange(len(mean))
        labelled = len(mean) <= MAX_LABELLED_LEVELS
        order = place if labelled else np.argsort(mean)
        width, dot, cross = (2, 3.5, 8) if labelled else (0.8, 1, 2.5)
        # Intervals of many levels lie on top of each other: each is fainter, all as dark as one.
        overlap = max(1.0, len(mean) * width / (72 * LEVEL_HEIGHT * tallest))
        alpha = 1 - (1 - INTERVAL_ALPHA) ** (1 / overlap)
        bar = {"linewidth": width, "alpha": alpha, "label": "95% interval"}
        ax.hlines(place, lower[order], upper[order], color=colour, **bar)
        ax.plot(mean[order], place, "o", ms=dot, color=colour, label="posterior mean")
        if of_factor(factor, "effect") in truth:
            true = np.asarray(truth[of_factor(factor, "effect")])[order]
            # Many crosses would bury the intervals: they go beneath.
            on_top = 3 if labelled else 1
            ax.plot(
                true, place, "x", ms=cross, mew=0.8, color="black", zorder=on_top, label="truth"
            )
        ax.axvline(0, color=GREY, linewidth=0.8, zorder=0)
        tidy(ax, "x")
        if labelled:
            ax.set_yticks(place, labels_of(constant[factor].values))
            ax.set_ylim(len(mean) - 0.5, -0.5)
        else:
            ax.set_yticks([])
            ax.set_ylabel(f"{len(mean):,} levels, sorted by posterior mean")
        ax.set_xlabel(f"deviation from the intercept ({text(tree.attrs['response'])})")
        ax.set_title(text(factor), loc="left")
    handles, names = axes[0].get_legend_handles_labels()
    handles[0] = Line2D([], [], color=COLOURS[0], linewidth=2, alpha=INTERVAL_ALPHA)
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Effects: posterior means and 95% intervals")
    return figure
