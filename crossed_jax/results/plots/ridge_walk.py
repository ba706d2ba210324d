"""The ridge that the original form walks, beside the form that has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from crossed_jax.results.convergence import convergence
from crossed_jax.results.plots.style import BLUE, VERMILION, text, tidy
from crossed_jax.results.ridge import level_means
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr

TRACE_LENGTH = 500


def ridge(original_tree: xr.DataTree, sum_to_zero_tree: xr.DataTree) -> Figure:
    """Draw the ridge that the original form walks, and the sum-to-zero form that has none.

    Left, what the original form samples: the mean of the first factor's intercepts against that of
    the other's (with more factors, the sum of the others'). Middle, what the sum-to-zero form
    samples. Right, if the tree has them, its original coordinates, drawn exactly afterwards: the
    posterior of the left panel. Below each, how the first chain moved.

    Parameters
    ----------
    original_tree
        A fit in the ``original`` form.
    sum_to_zero_tree
        The same table's fit in the ``sum_to_zero`` form, best after ``original_coordinates``.
    """
    factors = factor_names(original_tree)
    first, unit = factors[0], text(original_tree.attrs["response"])
    exact = sum_to_zero_tree["posterior"].to_dataset()
    mean_of_first = f"mean {text(first)} intercept ({unit})"
    others = f"{' + '.join(f'mean {text(f)} intercept' for f in factors[1:])} ({unit})"
    effect = f"effect of {text(exact[first].values[0])} ({unit})"
    intercepts = [of_factor(factor, "intercept") for factor in factors]
    drawn_afterwards = {*intercepts, *(of_factor(factor, "mean") for factor in factors)}
    sampled = [str(name) for name in exact.data_vars if name not in drawn_afterwards]

    x, y = _first_and_others(original_tree)
    m, e = exact["intercept"].values, exact[of_factor(first, "effect")].isel({first: 0}).values
    panels = [
        ("Original form: a ridge to walk", VERMILION, x, y, mean_of_first, others),
        ("Sum-to-zero form: no ridge", BLUE, m, e, f"intercept ({unit})", effect),
    ]
    costs = [_cost(original_tree), _cost(sum_to_zero_tree, sampled)]
    if intercepts[0] in exact:
        recovered = _first_and_others(sum_to_zero_tree)
        title = "The original's coordinates, recovered"
        panels.append((title, BLUE, *recovered, mean_of_first, others))
        costs.append(_cost(sum_to_zero_tree, intercepts, steps=False))

    figure = Figure(figsize=(4.4 * len(panels), 6.2), layout="constrained")
    axes = figure.subplots(2, len(panels), height_ratios=[5, 2])
    for k, (title, colour, x, y, x_label, y_label) in enumerate(panels):
        cloud, trace = axes[:, k]
        cloud.plot(x.ravel(), y.ravel(), ".", ms=4, mew=0, alpha=0.4, color=colour, rasterized=True)
        cloud.set(xlabel=x_label, ylabel=y_label)
        cloud.set_title(title, loc="left", weight="bold", color=colour)
        box = {"facecolor": "white", "edgecolor": "#CCCCCC", "boxstyle": "round"}
        corner = {"transform": cloud.transAxes, "ha": "right", "va": "top", "bbox": box}
        cloud.text(0.98, 0.98, costs[k], fontsize=9, **corner)
        trace.plot(x[0, :TRACE_LENGTH], color=colour, linewidth=0.8)
        trace.set(xlabel=f"draw (first {len(x[0, :TRACE_LENGTH]):,} of a chain)", ylabel=x_label)
        trace.yaxis.label.set_fontsize(8)
        tidy(cloud, "both")
        tidy(trace, "y")
    if len(panels) == 3:
        for row in axes:
            bounds = [row[0].get_ylim(), row[2].get_ylim()]
            for ax in (row[0], row[2]):
                ax.set_ylim(np.min(bounds), np.max(bounds))
        bounds = [axes[0, 0].get_xlim(), axes[0, 2].get_xlim()]
        for ax in (axes[0, 0], axes[0, 2]):
            ax.set_xlim(np.min(bounds), np.max(bounds))
    return figure


def _first_and_others(tree: xr.DataTree) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the first factor's intercepts, and the sum of the others' means: per draw."""
    means = level_means(tree)
    return means[0], means[1:].sum(0)


def _cost(tree: xr.DataTree, variables: Sequence[str] | None = None, *, steps: bool = True) -> str:
    """Say how many effective draws of variables (all by default) there are, and a draw's cost."""
    posterior, stats = tree["posterior"].to_dataset(), tree["sample_stats"].to_dataset()
    ess = convergence(tree, variables).ess_bulk
    smallest = min(float(values.min()) for values in ess.data_vars.values())
    num_draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    note = f"smallest ESS {smallest:,.0f} of {num_draws:,} draws"
    if steps and "n_steps" in stats:
        note += f"\n{float(stats['n_steps'].mean()):,.0f} leapfrog steps a draw"
    return note
