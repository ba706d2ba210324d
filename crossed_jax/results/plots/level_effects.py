"""The effect of every level: posterior means and intervals.

Few levels have a row and a label each. Many are sorted, and share the rows of a few: those at
either end have a row and their name, and those between them are drawn close together.
"""

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
MOST_NAMED = 10  # at either end
ROWS_BETWEEN = 6  # at least so many, for the levels that are not named
LARGEST_RATIO = 10  # of what panels span, if they share an axis


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
    moments = [effect_moments(tree, factor) for factor in factors]
    spans = [np.max(of["upper"]) - np.min(of["lower"]) for of in moments]
    alike = max(spans) <= LARGEST_RATIO * min(spans)
    axes = figure.subplots(1, len(factors), sharex=alike, squeeze=False)[0]
    for k, (ax, factor) in enumerate(zip(axes, factors, strict=True)):
        true = truth.get(of_factor(factor, "effect"))
        levels = constant[factor].values
        draw_levels(ax, moments[k], levels, tallest, k, true)
        ax.axvline(0, color=GREY, linewidth=0.8, zorder=0)
        ax.set_xlabel(f"deviation from the intercept ({text(tree.attrs['response'])})")
        ax.set_title(text(factor), loc="left")
    add_legend(figure, axes[0])
    scales = "" if alike else ", each on a scale of its own"
    figure.suptitle(f"Effects: posterior means and 95% intervals{scales}")
    return figure


def draw_levels(
    ax: Axes,
    moments: Mapping[str, np.ndarray],
    levels: np.ndarray,
    tallest: int,
    colour: int,
    truth: Any = None,
) -> None:
    """Draw what each level of a factor has: sorted, the extremes named, if there are many.

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
    true = None if truth is None else np.asarray(truth)
    n, look = len(mean), {"color": COLOURS[colour % len(COLOURS)]}
    tidy(ax, "x")
    if n <= MAX_LABELLED_LEVELS:
        _draw(ax, np.arange(n), (mean, lower, upper, true), look, by_name=True)
        ax.set_yticks(np.arange(n), labels_of(levels))
        ax.set_ylim(n - 0.5, -0.5)
        return
    order = np.argsort(mean, kind="stable")
    named = min(MOST_NAMED, (tallest - ROWS_BETWEEN) // 2)
    between = slice(named, n - named)
    ends = np.r_[:named, n - named : n]
    place = np.empty(n)
    place[ends] = np.r_[:named, tallest - named : tallest]
    place[between] = np.linspace(named, tallest - 1 - named, n - 2 * named)
    for chosen, by_name in ((np.arange(n)[between], False), (ends, True)):
        at = order[chosen]
        values = (mean[at], lower[at], upper[at], None if true is None else true[at])
        _draw(ax, place[chosen], values, look, by_name=by_name)
    ax.axhspan(named - 0.5, tallest - named - 0.5, color=GREY, alpha=0.08, linewidth=0, zorder=0)
    names = labels_of(np.asarray(levels)[order[ends]])
    middle = f"{n - 2 * named:,} others"
    ax.set_yticks([*place[ends], (tallest - 1) / 2], [*names, middle])
    ax.set_ylim(-0.5, tallest - 0.5)
    ax.set_ylabel(f"{n:,} levels, sorted by posterior mean")


def _draw(
    ax: Axes, place: np.ndarray, values: tuple[Any, ...], look: dict[str, Any], *, by_name: bool
) -> None:
    """Draw mean, lower, upper and truth (or None) of some levels at their places."""
    mean, lower, upper, true = values
    width, dot, cross = (2, 3.5, 8) if by_name else (0.8, 1, 2.5)
    # Intervals of many levels lie on top of each other: each is fainter, all as dark as one.
    span = 1.0 + float(np.ptp(place))
    overlap = max(1.0, len(mean) * width / (72 * LEVEL_HEIGHT * span))
    alpha = 1 - (1 - INTERVAL_ALPHA) ** (1 / overlap)
    told = ("95% interval", "posterior mean", "truth") if by_name else ("", "", "")
    ax.hlines(place, lower, upper, linewidth=width, alpha=alpha, label=told[0], **look)
    ax.plot(mean, place, "o", ms=dot, label=told[1], **look)
    if true is not None:
        # Many crosses would bury the intervals: they go beneath.
        on_top = 3 if by_name else 1
        ax.plot(true, place, "x", ms=cross, mew=0.8, color="black", zorder=on_top, label=told[2])


def add_legend(figure: Figure, ax: Axes) -> None:
    """Say beneath a figure what its panels draw."""
    handles, names = ax.get_legend_handles_labels()
    handles[0] = Line2D([], [], color=COLOURS[0], linewidth=2, alpha=INTERVAL_ALPHA)
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
