"""What the fit predicts for the rows observed, against what was observed.

Few rows are drawn one by one. Many are put into bins of as many rows each, in the order of their
predicted means: in each bin the middle 95% of what was observed should be as wide as the 95%
intervals that were predicted, and about the same mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crossed_jax.results.plots.response import is_counted
from crossed_jax.results.plots.style import BLUE, SKY, VERMILION, text, tidy, with_margins

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_SINGLE_ROWS = 1_000
NUM_BINS = 40


def posterior_predictive(tree: xr.DataTree, drawn_from: int | None = None) -> Figure:
    """Draw the predicted against the observed response of each row, with 95% intervals.

    More than 1,000 rows are drawn in bins.

    Parameters
    ----------
    tree
        A fit with posterior predictive draws.
    drawn_from
        The number of rows of which those predicted were drawn at random, if they were.

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
    predicted = predicted.reshape(len(observed), -1)
    lower, upper = np.quantile(predicted, [0.025, 0.975], axis=1)
    inside = (lower <= observed) & (observed <= upper)

    figure = with_margins(5.8, 6.0, top=0.95)
    ax = figure.subplots()
    values = (observed, predicted.mean(1), lower, upper)
    if len(observed) <= MAX_SINGLE_ROWS:
        _draw_rows(ax, values, inside, text(response))
    else:
        _draw_bins(ax, values, text(response))
    tidy(ax, "both")
    ax.legend(frameon=False, loc="upper left")
    shown = f"{len(observed):,} rows"
    if drawn_from is not None and drawn_from > len(observed):
        shown += f" drawn at random from {drawn_from:,}"
    ax.set_title(f"{shown}\n{inside.mean():.0%} lie in their 95% interval", fontsize=10)
    figure.suptitle(f"Posterior predictions of {text(response)}")
    return figure


def _draw_rows(ax: Axes, values: tuple[np.ndarray, ...], inside: np.ndarray, unit: str) -> None:
    observed, mean, lower, upper = values
    across = observed
    counted = is_counted(observed)
    if counted:
        across = observed + np.random.default_rng(0).uniform(-0.3, 0.3, len(observed))
    line, alpha, dot = (1.2, 0.6, 4) if len(observed) <= 300 else (0.5, 0.25, 2)
    for mask, colour, where in (
        (inside, BLUE, "in its 95% interval"),
        (~inside, VERMILION, "outside it"),
    ):
        x, bounds = across[mask], (lower[mask], upper[mask])
        ax.vlines(x, *bounds, color=colour, linewidth=line, alpha=alpha)
        label = f"observation {where} ({len(x):,})"
        ax.plot(x, mean[mask], "o", ms=dot, color=colour, label=label)
    ends = [min(observed.min(), lower.min()), max(observed.max(), upper.max())]
    _identity(ax, ends, "prediction = observation")
    ax.set_aspect("equal")
    ax.set_xlabel(f"observed {unit}" + (" (whole numbers, spread)" if counted else ""))
    ax.set_ylabel(f"predicted {unit}: mean and 95% interval")


def _draw_bins(ax: Axes, values: tuple[np.ndarray, ...], unit: str) -> None:
    observed, mean, lower, upper = values
    bins = np.array_split(np.argsort(mean, kind="stable"), NUM_BINS)
    x = np.array([mean[rows].mean() for rows in bins])
    low, high = (np.array([of[rows].mean() for rows in bins]) for of in (lower, upper))
    middle = np.array([observed[rows].mean() for rows in bins])
    ends = np.array([np.quantile(observed[rows], [0.025, 0.975]) for rows in bins])
    band: dict[str, Any] = {"color": SKY, "alpha": 0.35, "linewidth": 0}
    ax.fill_between(x, low, high, label="predicted: mean of 95% intervals", **band)
    ax.vlines(x, *ends.T, color=BLUE, linewidth=1.4, label="observed: middle 95%")
    ax.plot(x, middle, "o", ms=4, color=BLUE, label="observed: mean")
    _identity(ax, [x[0], x[-1]], "observed mean = predicted")
    ax.set_xlabel(f"predicted mean {unit}, {len(bins)} bins of as many rows")
    ax.set_ylabel(unit)


def _identity(ax: Axes, ends: list[float], label: str) -> None:
    ax.plot(ends, ends, color="black", linestyle="--", linewidth=1, label=label)
