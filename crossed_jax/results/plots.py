"""Figures of a fit, for a reader: the table, the effects, the SDs, the predictions, and the ridge.

Every function takes fitted DataTrees and gives a ``matplotlib.figure.Figure``; nothing touches
pyplot or the backend, and files are drawn in matplotlib's own style, whatever the user's. Colours
are those of Okabe and Ito (2008, Color Universal Design), which readers with any colour vision tell
apart. A factor with many levels is drawn sorted and without a label for each. Level labels are
printed as they are, never read as TeX.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crossed_jax.results.convergence import convergence
from crossed_jax.results.summaries import effect_moments
from crossed_jax.results.tree import factor_names

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, GREY = "#E69F00", "#56B4E9", "#777777"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000")
MARKERS = "os^DvP*X<>ph"

MAX_MARKED_LEVELS = len(MARKERS)
MAX_LABELLED_LEVELS = 40
MAX_POINTS_PER_LEVEL = 100
MAX_PREDICTED_ROWS = 2_000
MAX_LABEL_LENGTH = 20
TRACE_LENGTH = 500
LEVEL_HEIGHT = 0.22  # inches
INTERVAL_ALPHA = 0.6

Truth = Mapping[str, Any]


def raw_data(tree: xr.DataTree) -> Figure:
    """Draw the response by level of each factor, markers telling the first factor's levels apart.

    Panels with more levels than can be labelled, or more rows than can be told apart, show each
    level's mean with the range of its middle 50% and 90% of rows instead. A fit of more than a
    million rows has kept the level means only, and shows those.
    """
    factors = factor_names(tree)
    constant, observed = tree["constant_data"].to_dataset(), tree["observed_data"].to_dataset()
    response = tree.attrs["response"]
    rows = observed[response].values if response in observed else None
    levels = {factor: _labels(constant[factor].values) for factor in factors}
    marked = rows is not None and len(levels[factors[0]]) <= MAX_MARKED_LEVELS

    sizes = [_panel_size(len(levels[factor])) for factor in factors]
    figure = Figure(figsize=(3 + 0.28 * sum(sizes), 4.4), layout="constrained")
    axes = figure.subplots(1, len(factors), sharey=True, width_ratios=sizes, squeeze=False)[0]
    pointed = False
    for ax, factor in zip(axes, factors, strict=True):
        names = levels[factor]
        most = MAX_MARKED_LEVELS if factor == factors[0] else MAX_LABELLED_LEVELS
        if rows is None:
            _level_means(ax, constant[f"{factor}_raw_mean"].values)
        elif len(names) <= most and len(rows) <= MAX_POINTS_PER_LEVEL * len(names):
            marks = constant[f"{factors[0]}_code"].values if marked else np.zeros(len(rows), int)
            _level_points(ax, rows, constant[f"{factor}_code"].values, marks)
            pointed = pointed or (marked and factor != factors[0])
        else:
            _level_ranges(ax, rows, constant[f"{factor}_code"].values, len(names))
        ax.set_title(f"by {_text(factor)}", loc="left")
        _tidy(ax, "y")
        if len(names) <= MAX_LABELLED_LEVELS:
            _label_levels(ax, names)
            ax.set_xlabel(_text(factor))
        else:
            ax.set_xticks([])
            ax.set_xlabel(f"{len(names):,} levels of {_text(factor)}, sorted by mean")
    axes[0].set_ylabel(_text(response))
    if pointed:
        key: dict[str, Any] = {"title": _text(factors[0]), "frameon": False}
        handles: list[Any] = [
            Line2D([], [], linestyle="", marker=MARKERS[i], color=COLOURS[i % len(COLOURS)])
            for i in range(len(levels[factors[0]]))
        ]
        figure.legend(handles, levels[factors[0]], loc="outside right center", **key)
    ranged = next((ax for ax in axes if ax.get_legend_handles_labels()[0]), None)
    if ranged is not None:
        handles, labels = ranged.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"{_text(response)} as measured, by level of each factor")
    return figure


def effects(tree: xr.DataTree, truth: Truth | None = None) -> Figure:
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
    tallest = max(_panel_size(constant.sizes[factor]) for factor in factors)
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
        if f"{factor}_effect" in truth:
            true = np.asarray(truth[f"{factor}_effect"])[order]
            # Many crosses would bury the intervals: they go beneath.
            on_top = 3 if labelled else 1
            ax.plot(
                true, place, "x", ms=cross, mew=0.8, color="black", zorder=on_top, label="truth"
            )
        ax.axvline(0, color=GREY, linewidth=0.8, zorder=0)
        _tidy(ax, "x")
        if labelled:
            ax.set_yticks(place, _labels(constant[factor].values))
            ax.set_ylim(len(mean) - 0.5, -0.5)
        else:
            ax.set_yticks([])
            ax.set_ylabel(f"{len(mean):,} levels, sorted by posterior mean")
        ax.set_xlabel(f"deviation from the intercept ({_text(tree.attrs['response'])})")
        ax.set_title(_text(factor), loc="left")
    handles, names = axes[0].get_legend_handles_labels()
    handles[0] = Line2D([], [], color=COLOURS[0], linewidth=2, alpha=INTERVAL_ALPHA)
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Effects: posterior means and 95% intervals")
    return figure


def hyperparameters(tree: xr.DataTree, truth: Truth | None = None) -> Figure:
    """Draw the posterior densities of the intercept, each factor's SD and the residual SD.

    Parameters
    ----------
    tree
        A fit.
    truth
        Where known, values of ``intercept``, ``{f}_sd`` and ``sigma``; drawn as dashed lines.
    """
    from arviz_stats.base import array_stats

    posterior = tree["posterior"].to_dataset()
    truth = truth or {}
    titles = {"intercept": "intercept"}
    for factor in factor_names(tree):
        if f"{factor}_sd" in posterior:
            titles[f"{factor}_sd"] = f"SD of {_text(factor)} effects"
    titles["sigma"] = "residual SD"
    columns = min(len(titles), 4)
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(3.1 * columns, 0.6 + 2.7 * rows), layout="constrained")
    for place, (name, title) in enumerate(titles.items(), start=1):
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
        ax.set_xlabel(_text(tree.attrs["response"]))
        if name in truth:
            ax.axvline(float(truth[name]), color=VERMILION, linestyle="--", label="truth")
            ax.legend(frameon=False, loc="upper right", handlelength=1.5)
    figure.suptitle("Posterior densities, with means and 95% intervals")
    return figure


def posterior_predictive(tree: xr.DataTree) -> Figure:
    """Draw the predicted against the observed response of each row, with 95% intervals.

    Of more than 2,000 rows a random 2,000 are drawn, and the title says so.

    Raises
    ------
    ValueError
        If the tree has no posterior predictive draws of the observed rows.
    """
    response = tree.attrs["response"]
    observed_data = tree["observed_data"].to_dataset()
    if "posterior_predictive" not in tree.children or response not in observed_data:
        raise ValueError(
            "the tree has no posterior predictive draws of observed rows: "
            "call crossed_jax.posterior_predictive on it first"
        )
    observed = observed_data[response].values
    draws = tree["posterior_predictive"].to_dataset()[response]
    predicted = draws.transpose("row", "chain", "draw").values
    if len(predicted) != len(observed):
        raise ValueError(
            f"the posterior predictive draws are of {len(predicted):,} rows, not of the "
            f"{len(observed):,} observed"
        )
    num_rows, shown = len(observed), f"{len(observed):,} rows"
    if num_rows > MAX_PREDICTED_ROWS:
        chosen = np.random.default_rng(0).choice(num_rows, MAX_PREDICTED_ROWS, replace=False)
        observed, predicted = observed[chosen], predicted[chosen]
        shown = f"{MAX_PREDICTED_ROWS:,} rows drawn at random from {num_rows:,}"
    predicted = predicted.reshape(len(observed), -1)
    lower, upper = np.quantile(predicted, [0.025, 0.975], axis=1)
    inside = (lower <= observed) & (observed <= upper)

    figure = Figure(figsize=(5.6, 5.8), layout="constrained")
    ax = figure.subplots()
    line, alpha, dot = (1.2, 0.6, 4) if len(observed) <= 300 else (0.5, 0.25, 2)
    for mask, colour, where in (
        (inside, BLUE, "in its 95% interval"),
        (~inside, VERMILION, "outside it"),
    ):
        x, bounds = observed[mask], (lower[mask], upper[mask])
        ax.vlines(x, *bounds, color=colour, linewidth=line, alpha=alpha)
        label = f"observation {where} ({len(x):,})"
        ax.plot(x, predicted[mask].mean(1), "o", ms=dot, color=colour, label=label)
    ends = [min(observed.min(), lower.min()), max(observed.max(), upper.max())]
    ax.plot(
        ends, ends, color="black", linestyle="--", linewidth=1, label="prediction = observation"
    )
    ax.set_aspect("equal")
    _tidy(ax, "both")
    ax.set_xlabel(f"observed {_text(response)}")
    ax.set_ylabel(f"predicted {_text(response)}: mean and 95% interval")
    ax.legend(frameon=False, loc="upper left")
    ax.set_title(f"{shown}; {inside.mean():.0%} lie in their 95% interval", fontsize=10)
    figure.suptitle(f"Posterior predictions of {_text(response)}")
    return figure


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
    first, unit = factors[0], _text(original_tree.attrs["response"])
    exact = sum_to_zero_tree["posterior"].to_dataset()
    mean_of_first = f"mean {_text(first)} intercept ({unit})"
    others = f"{' + '.join(f'mean {_text(f)} intercept' for f in factors[1:])} ({unit})"
    effect = f"effect of {_text(exact[first].values[0])} ({unit})"
    sampled = [str(n) for n in exact.data_vars if not str(n).endswith(("_intercept", "_mean"))]
    everything = [str(n) for n in original_tree["posterior"].to_dataset().data_vars]

    x, y = _level_mean_draws(original_tree)
    m, e = exact["intercept"].values, exact[f"{first}_effect"].isel({first: 0}).values
    panels = [
        ("Original form: a ridge to walk", VERMILION, x, y, mean_of_first, others),
        ("Sum-to-zero form: no ridge", BLUE, m, e, f"intercept ({unit})", effect),
    ]
    costs = [_cost(original_tree, everything), _cost(sum_to_zero_tree, sampled)]
    if f"{first}_intercept" in exact:
        recovered = _level_mean_draws(sum_to_zero_tree)
        title = "The original's coordinates, recovered"
        panels.append((title, BLUE, *recovered, mean_of_first, others))
        names = [f"{factor}_intercept" for factor in factors]
        costs.append(_cost(sum_to_zero_tree, names, steps=False))

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
        _tidy(cloud, "both")
        _tidy(trace, "y")
    if len(panels) == 3:
        for row in axes:
            bounds = [row[0].get_ylim(), row[2].get_ylim()]
            for ax in (row[0], row[2]):
                ax.set_ylim(np.min(bounds), np.max(bounds))
        bounds = [axes[0, 0].get_xlim(), axes[0, 2].get_xlim()]
        for ax in (axes[0, 0], axes[0, 2]):
            ax.set_xlim(np.min(bounds), np.max(bounds))
    return figure


def save_figures(
    tree: xr.DataTree, directory: str | Path, truth: Truth | None = None
) -> dict[str, Exception]:
    """Write the figures of one fit as PNG files.

    Parameters
    ----------
    tree
        A fit. The predictions are drawn if it has posterior predictive draws, and kept its rows.
    directory
        Made if it is not there.
    truth
        Passed to `effects` and `hyperparameters`.

    Returns
    -------
    dict of Exception
        For each figure that could not be drawn, why.
    """
    figures = {
        "raw_data": partial(raw_data, tree),
        "effects": partial(effects, tree, truth),
        "hyperparameters": partial(hyperparameters, tree, truth),
    }
    rows_kept = tree.attrs["response"] in tree["observed_data"].to_dataset()
    if rows_kept and "posterior_predictive" in tree.children:
        figures["posterior_predictive"] = partial(posterior_predictive, tree)
    return save(figures, directory)


def save(
    figures: Mapping[str, Callable[[], Figure]], directory: str | Path
) -> dict[str, Exception]:
    """Draw figures and write each as a PNG file of its name.

    Returns
    -------
    dict of Exception
        For each figure that could not be drawn, why.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    failures: dict[str, Exception] = {}
    with matplotlib.style.context("default"), warnings.catch_warnings():
        # A label in a script that the font lacks is drawn as boxes: no reason to alarm anyone.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        for name, draw in figures.items():
            path = directory / f"{name}.png"
            try:
                draw().savefig(path, dpi=150)
            except Exception as error:  # whatever it is, a figure is not worth the fit
                path.unlink(missing_ok=True)
                failures[name] = error
    return failures


def _level_points(ax: Axes, rows: np.ndarray, codes: np.ndarray, marks: np.ndarray) -> None:
    jitter = np.random.default_rng(0).uniform(-0.22, 0.22, len(rows))
    for mark in np.unique(marks):
        at = marks == mark
        look: dict[str, Any] = {
            "ms": 5,
            "color": COLOURS[mark % len(COLOURS)],
            "alpha": 0.7,
            "mew": 0,
        }
        ax.plot(codes[at] + jitter[at], rows[at], MARKERS[mark], **look)


def _level_ranges(ax: Axes, rows: np.ndarray, codes: np.ndarray, num_levels: int) -> None:
    """Draw each level's mean, and the range of the middle 50% and 90% of its rows."""
    import polars as pl

    row = pl.col("row")
    quantiles = [row.quantile(q, "linear").alias(str(q)) for q in (0.05, 0.25, 0.75, 0.95)]
    table = (
        pl.DataFrame({"code": codes, "row": rows})
        .group_by("code")
        .agg(row.mean().alias("mean"), *quantiles)
        .sort("code" if num_levels <= MAX_LABELLED_LEVELS else "mean")
    )
    place = np.arange(num_levels)
    few = num_levels <= MAX_LABELLED_LEVELS
    for low, high, width, alpha in (("0.05", "0.95", 2, 0.4), ("0.25", "0.75", 6, 0.8)):
        bounds = table[low].to_numpy(), table[high].to_numpy()
        label = f"middle {float(high) - float(low):.0%} of rows"
        if few:
            ax.vlines(place, *bounds, color=SKY, linewidth=width, alpha=alpha, label=label)
        else:
            ax.fill_between(place, *bounds, color=SKY, alpha=alpha, linewidth=0, label=label)
    ax.plot(place, table["mean"].to_numpy(), "o" if few else "-", color=BLUE, label="mean")


def _level_means(ax: Axes, means: np.ndarray) -> None:
    few = len(means) <= MAX_LABELLED_LEVELS
    ax.plot(means if few else np.sort(means), "o" if few else "-", color=BLUE, label="mean")


def _level_mean_draws(tree: xr.DataTree) -> tuple[np.ndarray, np.ndarray]:
    """Mean over levels of the first factor's intercepts, and the sum of the others': per draw."""
    posterior = tree["posterior"].to_dataset()
    first, *others = (
        posterior[f"{factor}_intercept"].mean(factor).values for factor in factor_names(tree)
    )
    return first, np.sum(others, axis=0)


def _cost(tree: xr.DataTree, variables: Sequence[str], *, steps: bool = True) -> str:
    """Say how many effective draws of some variables there are, and what a draw cost."""
    posterior, stats = tree["posterior"].to_dataset(), tree["sample_stats"].to_dataset()
    ess = convergence(tree, variables).ess_bulk
    smallest = min(float(values.min()) for values in ess.data_vars.values())
    num_draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    note = f"smallest ESS {smallest:,.0f} of {num_draws:,} draws"
    if steps and "n_steps" in stats:
        note += f"\n{float(stats['n_steps'].mean()):,.0f} leapfrog steps a draw"
    return note


def _panel_size(num_levels: int) -> int:
    """Width of a panel, in labelled levels."""
    return max(num_levels, 8) if num_levels <= MAX_LABELLED_LEVELS else 20


def _label_levels(ax: Axes, names: list[str]) -> None:
    slanted = sum(len(name) + 1 for name in names) > 3.5 * _panel_size(len(names))
    turned: dict[str, Any] = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(names)), names, **(turned if slanted else {}))
    ax.set_xlim(-0.6, len(names) - 0.4)


def _tidy(ax: Axes, grid: Any) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)


def _labels(levels: np.ndarray) -> list[str]:
    return [_text(level) for level in levels]


def _text(value: object) -> str:
    """Make a label fit to print: on one line, not too long, its dollar signs not TeX."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    if len(text) > MAX_LABEL_LENGTH:
        text = text[: MAX_LABEL_LENGTH - 1] + "…"
    return text.replace("$", r"\$")
