"""The parameters that are no level's: densities of the intercept, the SDs and the noise's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from crossed_jax.models.model import parts_of, quantities_of
from crossed_jax.models.noise import noise_of
from crossed_jax.models.parts import Quantity
from crossed_jax.results.plots.style import BLUE, GREY, VERMILION, text
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr


MOST_COLUMNS = 4


def hyperparameters(tree: xr.DataTree, truth: Mapping[str, Any] | None = None) -> Figure:
    """Draw the posterior densities of the intercept, each factor's SD and the noise's quantities.

    Parameters
    ----------
    tree
        A fit.
    truth
        Where known, values of these by their name in the posterior; drawn as dashed lines.
    """
    from arviz_stats.base import array_stats

    posterior = tree["posterior"].to_dataset()
    truth = truth or {}
    panels = _panels(tree, posterior)
    rows = -(-len(panels) // MOST_COLUMNS)
    columns = -(-len(panels) // rows)
    figure = Figure(figsize=(3.1 * columns, 0.6 + 2.7 * rows), layout="constrained")
    for place, (name, title, in_unit, _) in enumerate(panels, start=1):
        draws = posterior[name].values.ravel()
        ax = figure.add_subplot(rows, columns, place)
        at, density, _ = array_stats.kde(draws)
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
