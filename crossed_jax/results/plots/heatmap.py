"""The strongest interactions, as a matrix of genes by lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from crossed_jax.results.interactions import S_VALUE_OF_HITS, require_interactions
from crossed_jax.results.interactions import interactions as interactions_of
from crossed_jax.results.plots.style import labels_of, text
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr

MOST_GENES, MOST_LINES = 30, 50


def interactions(tree: xr.DataTree) -> Figure:
    """Draw the interactions of the genes that have the surest ones, a column for each line.

    Colour is the posterior mean, a dot marks a hit, and grey a cell without rows. Of more than 50
    lines those are drawn in which the genes' interactions are surest. Both sides are in the order
    of the matrix's first singular vectors, which puts those beside each other that are alike.

    Parameters
    ----------
    tree
        A fit of the screen model with interactions.

    Raises
    ------
    InputError
        If it has none.
    """
    parts = require_interactions(tree, "plots.interactions")
    names = factor_names(tree)
    gene, line = names[parts.genes], names[1 - parts.genes]
    constant, cells = tree["constant_data"].to_dataset(), tree["interactions"].to_dataset()
    codes = [cells[of_factor(name, "code")].values for name in (gene, line)]
    surest = np.argsort(cells["lfsr"].values, kind="stable")
    genes = _first(codes[0][surest], MOST_GENES)
    surest = surest[np.isin(codes[0][surest], genes)]
    lines = _first(codes[1][surest], MOST_LINES)
    shown = surest[np.isin(codes[1][surest], lines)]

    row, column = (
        np.argsort(kept)[np.searchsorted(np.sort(kept), of[shown])]
        for kept, of in ((genes, codes[0]), (lines, codes[1]))
    )
    matrix = np.full((len(genes), len(lines)), np.nan)
    matrix[row, column] = cells["mean"].values[shown]
    hit = np.zeros(matrix.shape, bool)
    hit[row, column] = interactions_of(tree)["s_value"].to_numpy()[shown] < S_VALUE_OF_HITS
    left, _, right = np.linalg.svd(np.nan_to_num(matrix), full_matrices=False)
    rows, columns = np.argsort(left[:, 0]), np.argsort(right[0])
    matrix, hit = matrix[rows][:, columns], hit[rows][:, columns]

    size = (2.6 + 0.2 * len(lines), 2.6 + 0.2 * len(genes))
    figure = Figure(figsize=(max(size[0], 6.0), size[1]), layout="constrained")
    ax = figure.subplots()
    most = float(np.nanmax(np.abs(matrix)))
    ax.set_facecolor("#BBBBBB")
    image = ax.imshow(matrix, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    marked = np.nonzero(hit)
    ax.plot(marked[1], marked[0], "o", ms=3, color="black", mew=0)
    ax.set_yticks(range(len(genes)), labels_of(constant[gene].values[genes[rows]]), fontsize=8)
    turned: dict[str, Any] = {
        "rotation": 60,
        "ha": "right",
        "rotation_mode": "anchor",
        "fontsize": 8,
    }
    ax.set_xticks(range(len(lines)), labels_of(constant[line].values[lines[columns]]), **turned)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_ylabel(_count(gene, len(genes), constant.sizes[gene]))
    ax.set_xlabel(_count(line, len(lines), constant.sizes[line]))
    unit = text(tree.attrs["response"])
    figure.colorbar(image, ax=ax, label=f"interaction: posterior mean ({unit})", pad=0.02)
    figure.suptitle("The surest interactions (dots: hits; grey: no rows)")
    return figure


def _first(codes: np.ndarray, most: int) -> np.ndarray:
    """Take the first so many distinct codes, in their order."""
    distinct, first = np.unique(codes, return_index=True)
    return distinct[np.argsort(first)][:most]


def _count(factor: str, shown: int, of: int) -> str:
    return text(factor) if shown == of else f"{text(factor)} ({shown:,} of {of:,})"
