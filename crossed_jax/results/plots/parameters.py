"""The parameters that are no level's: densities of the intercept, the SDs and the noise's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from crossed_jax.models.model import parts_of, quantities_of
from crossed_jax.models.noise import noise_of
from crossed_jax.models.parts import Quantity
from crossed_jax.results.plots.style import BLUE, GREY, VERMILION, text, with_margins
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


MOST_COLUMNS = 4
GRID = 1000


def hyperparameters(tree: xr.DataTree, truth: Mapping[str, Any] | None = None) -> Figure:
    """Draw the posterior densities of the intercept, each factor's SD and the noise's quantities.

    Parameters
    ----------
    tree
        A fit.
    truth
        Where known, values of these by their name in the posterior; drawn as dashed lines.
    """
    posterior = tree["posterior"].to_dataset()
    truth = truth or {}
    panels = _panels(tree, posterior)
    rows = -(-len(panels) // MOST_COLUMNS)
    columns = -(-len(panels) // rows)
    figure = with_margins(3.1 * columns, 0.6 + 2.7 * rows, left=0.2)
    figure.subplots_adjust(wspace=0.15, hspace=0.55)
    for place, (name, title, in_unit, _) in enumerate(panels, start=1):
        draws = posterior[name].values.ravel()
        ax = figure.add_subplot(rows, columns, place)
        at, density = density_of(draws)
        ax.plot(at, density, color=BLUE)
        beneath = -0.05 * density.max()
        ax.hlines(beneath, *np.quantile(draws, [0.025, 0.975]), color=GREY, linewidth=2)
        ax.plot(draws.mean(), beneath, "o", color=GREY)
        ax.set_title(title)
        ax.set_yticks([])
        ax.spines[["left", "right", "top"]].set_visible(False)
        ax.locator_params(axis="x", nbins=5)
        if in_unit:
            ax.set_xlabel(text(tree.attrs["response"]))
        if name in truth:
            ax.axvline(float(truth[name]), color=VERMILION, linestyle="--", label="truth")
            ax.legend(frameon=False, loc="upper right", handlelength=1.5)
    figure.suptitle("Posterior densities, with means and 95% intervals")
    return figure


def _panels(tree: xr.DataTree, posterior: xr.Dataset) -> list[Quantity]:
    of_factors = [
        Quantity(of_factor(factor, "sd"), f"SD of {text(factor)} effects", in_unit=True)
        for factor in factor_names(tree)
        if of_factor(factor, "sd") in posterior
    ]
    noise = noise_of(tree.attrs).quantities
    names = factor_names(tree)
    parts = quantities_of(parts_of(tree.attrs, names), names)
    return [Quantity("intercept", "intercept", in_unit=True), *of_factors, *noise, *parts]


def density_of(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimate a density by a Gaussian kernel of Silverman's width: where, and how dense.

    ArviZ has better ones, and takes as long to import as a small fit takes.
    """
    num_draws = len(draws)
    low, quarter, rest, high = np.quantile(draws, [0.0, 0.25, 0.75, 1.0])
    spread = min(draws.std(), (rest - quarter) / 1.349) or draws.std()
    width = max(0.9 * spread * num_draws**-0.2, 1e-9 * max(abs(low), abs(high), 1e-300))
    start, end = low - 4 * width, high + 4 * width
    if start < 0 < low:  # as of an SD: what the kernel puts below zero belongs above
        draws, start = np.concatenate([draws, -draws]), -end
    edges = np.linspace(start, end, GRID + 1)
    step = edges[1] - edges[0]
    reach = int(np.ceil(4 * width / step))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2)
    counts = np.histogram(draws, edges)[0] / (num_draws * step)
    at, density = 0.5 * (edges[1:] + edges[:-1]), np.convolve(counts, kernel / kernel.sum(), "same")
    shown = at > 0 if start == -end else slice(None)
    return at[shown], density[shown]
