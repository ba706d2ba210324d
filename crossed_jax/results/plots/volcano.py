"""Interactions by size and sureness: which cells are hits, and how far they stand out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from crossed_jax.results.interactions import S_VALUE_OF_HITS
from crossed_jax.results.interactions import interactions as interactions_of
from crossed_jax.results.plots.style import BLUE, GREY, VERMILION, text, tidy
from crossed_jax.results.tree import factor_names

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr
    from matplotlib.axes import Axes

SMALLEST_LFSR = 1e-12  # smaller rates are drawn as this
MAX_POINTS = 30_000
MOST_NAMED = 8  # on either side
LABEL_HEIGHT, CHARACTER_WIDTH = 0.035, 0.0115  # in parts of the axes


def volcano(tree: xr.DataTree) -> Figure:
    """Draw each cell's interaction against how sure its sign is, hits in colour, the surest named,
    of those drawn alike the largest.

    Upwards is minus the decimal logarithm of the local false sign rate. Where there are more cells
    than can be told apart, those that are no hits are drawn by their density.

    Parameters
    ----------
    tree
        A fit of the screen model with interactions.

    Raises
    ------
    InputError
        If it has none.
    """
    import polars as pl

    surest_first = (pl.col("lfsr").clip(SMALLEST_LFSR), -pl.col("mean").abs())
    cells = interactions_of(tree).sort(*surest_first, maintain_order=True)
    mean = cells["mean"].to_numpy()
    height = -np.log10(np.maximum(cells["lfsr"].to_numpy(), SMALLEST_LFSR))
    called = cells["s_value"].to_numpy() < S_VALUE_OF_HITS
    unit = text(tree.attrs["response"])

    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    ax = figure.subplots()
    others: dict[str, Any] = {"label": f"not called ({(~called).sum():,})"}
    if (~called).sum() > MAX_POINTS:
        ax.hexbin(mean[~called], height[~called], gridsize=70, bins="log", cmap="Greys")
        ax.plot([], [], "h", color=GREY, **others)
    else:
        ax.plot(mean[~called], height[~called], "o", ms=2, mew=0, alpha=0.4, color=GREY, **others)
    for mask, colour, marker, side in (
        (called & (mean < 0), VERMILION, "v", "below"),
        (called & (mean >= 0), BLUE, "^", "above"),
    ):
        label = f"hit, {side} expected ({mask.sum():,})"
        ax.plot(mean[mask], height[mask], marker, ms=4, mew=0, alpha=0.7, color=colour, label=label)
    ax.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    ax.margins(x=0.15)
    ax.set_ylim(0, max(1.1 * height.max(initial=0.0), 1.0))
    tidy(ax, "both")
    for mask in (called & (mean < 0), called & (mean >= 0)):
        first = np.flatnonzero(mask)[:MOST_NAMED]
        _name(ax, mean[first], height[first], _names(cells[first], factor_names(tree)))
    ax.set_xlabel(f"interaction: posterior mean ({unit})")
    capped = cells["lfsr"].min() < SMALLEST_LFSR  # type: ignore[operator]
    most = f" ({-np.log10(SMALLEST_LFSR):.0f}: or more)" if capped else ""
    ax.set_ylabel(f"−log10 of the local false sign rate{most}")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Interactions: how large, and how sure of their sign")
    return figure


def _names(cells: pl.DataFrame, factors: list[str]) -> list[str]:
    return [" / ".join(map(text, levels)) for levels in cells.select(factors).iter_rows()]


def _name(ax: Axes, mean: np.ndarray, height: np.ndarray, names: list[str]) -> None:
    """Name points above them, from the surest on, but for names that would lie on another."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    taken: list[tuple[float, float, float]] = []
    how: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
    for x, y, name in zip(mean, height, names, strict=True):
        place, level = (x - left) / (right - left), (y - bottom) / (top - bottom)
        half = CHARACTER_WIDTH * len(name) / 2
        free = all(
            abs(level - other) > LABEL_HEIGHT or abs(place - centre) > half + other_half
            for centre, other_half, other in taken
        )
        if free and half <= place <= 1 - half:
            taken.append((place, half, level))
            ax.annotate(name, (x, y), xytext=(0, 4), **how)
