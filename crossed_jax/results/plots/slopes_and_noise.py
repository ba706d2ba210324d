"""The screen model's slopes and noise SDs: posterior means and intervals by level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from crossed_jax.results.plots.level_effects import LEVEL_HEIGHT, add_legend, draw_levels
from crossed_jax.results.plots.style import GREY, panel_size, text
from crossed_jax.results.summaries import slopes_and_noise as moments_of
from crossed_jax.results.tree import factor_names

if TYPE_CHECKING:
    import xarray as xr


def slopes_and_noise(tree: xr.DataTree) -> Figure:
    """Draw the posterior mean and 95% interval of every level's slope and noise SD.

    Parameters
    ----------
    tree
        A fit of the screen model with slopes or noise by level.

    Raises
    ------
    ValueError
        If it has neither.
    """
    factors = factor_names(tree)
    panels = [
        (k, factor, name, moments)
        for k, factor in enumerate(factors)
        for name, moments in moments_of(tree, factor).items()
    ]
    panels.sort(key=lambda panel: panel[2] != "slope")
    if not panels:
        raise ValueError("the model has neither slopes nor noise by level")
    constant = tree["constant_data"].to_dataset()
    tallest = max(panel_size(constant.sizes[factor]) for _, factor, _, _ in panels)
    size = (4.6 * len(panels), 2.2 + LEVEL_HEIGHT * tallest)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (k, factor, name, moments) in zip(axes, panels, strict=True):
        draw_levels(ax, moments, constant[factor].values, tallest, k)
        if name == "slope":
            ax.axvline(1, color=GREY, linewidth=0.8, zorder=0)
            ax.set_xlabel("slope on the other factor's effects")
        else:
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xlabel(f"noise SD ({text(tree.attrs['response'])})")
        ax.set_title(f"{'slope' if name == 'slope' else 'noise SD'} by {text(factor)}", loc="left")
    add_legend(figure, axes[0])
    figure.suptitle("Slopes and noise SDs: posterior means and 95% intervals")
    return figure
