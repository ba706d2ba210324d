"""A waterfall of one gene: its interaction in every line, in the order of their size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from crossed_jax.errors import InputError, shown
from crossed_jax.results.interactions import S_VALUE_OF_HITS, require_interactions
from crossed_jax.results.interactions import interactions as interactions_of
from crossed_jax.results.plots.style import BLUE, GREY, VERMILION, labels_of, name_ends, text, tidy
from crossed_jax.results.tree import factor_names

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr

MAX_LABELLED_LINES = 60


def waterfall(tree: xr.DataTree, gene: str | None = None) -> Figure:
    """Draw the interaction of a gene in each line, with 95% intervals, hits in colour.

    Parameters
    ----------
    tree
        A fit of the screen model with interactions.
    gene
        A level of the factor with more levels; by default that of the surest interaction.

    Raises
    ------
    InputError
        If the fit has no interactions, or none of this gene.
    """
    parts = require_interactions(tree, "plots.waterfall")
    names = factor_names(tree)
    of_genes, of_lines = names[parts.genes], names[1 - parts.genes]
    cells = interactions_of(tree)
    if gene is None:
        gene = cells[of_genes][cells["lfsr"].arg_min() or 0]
    own = cells.filter(cells[of_genes] == gene).sort("mean")
    if not own.height:
        raise InputError(
            f"the fit has no interactions of {of_genes} {shown(gene)}: name one of those fitted."
        )
    width = max(5.6, 1.4 + 0.2 * min(own.height, MAX_LABELLED_LINES))
    figure = Figure(figsize=(width, 4.4), layout="constrained")
    ax = figure.subplots()
    _draw(ax, own)
    lines = own[of_lines].to_numpy()
    if own.height <= MAX_LABELLED_LINES:
        turned: dict[str, Any] = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
        ax.set_xticks(range(own.height), labels_of(lines), fontsize=8, **turned)
        ax.set_xlabel(text(of_lines))
    else:
        name_ends(ax, lines)
        ax.set_xlabel(f"{own.height:,} levels of {text(of_lines)}, sorted by interaction")
    ax.set_xlim(-0.7, own.height - 0.3)
    ax.set_ylabel(f"interaction ({text(tree.attrs['response'])})")
    tidy(ax, "y")
    ax.axhline(0, color=GREY, linewidth=0.8)
    figure.suptitle(f"Interactions of {text(gene)} by {text(of_lines)}: means, 95% intervals")
    return figure


def _draw(ax: Any, own: pl.DataFrame) -> None:
    """Draw bars at the means and whiskers to the ends of the intervals, and say what they are."""
    mean = own["mean"].to_numpy()
    called = own["s_value"].to_numpy() < S_VALUE_OF_HITS
    place = np.arange(own.height)
    colours = np.where(called, np.where(mean < 0, VERMILION, BLUE), "#C8C8C8")
    ax.bar(place, mean, width=0.8, color=colours)
    bounds = own["lower"].to_numpy(), own["upper"].to_numpy()
    ax.vlines(place, *bounds, color="#333333", linewidth=0.9 if own.height <= 200 else 0.3)
    kinds = (("hit, below expected", VERMILION), ("hit, above", BLUE), ("not called", "#C8C8C8"))
    key = [Patch(color=colour, label=name) for name, colour in kinds if colour in colours]
    ax.legend(handles=key, frameon=False, loc="upper left")
