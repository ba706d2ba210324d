"""What the fit predicts for the rows observed, against what was observed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from crossed_jax.results.plots.style import BLUE, VERMILION, text, tidy

if TYPE_CHECKING:
    import xarray as xr

MAX_PREDICTED_ROWS = 2_000


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
    tidy(ax, "both")
    ax.set_xlabel(f"observed {text(response)}")
    ax.set_ylabel(f"predicted {text(response)}: mean and 95% interval")
    ax.legend(frameon=False, loc="upper left")
    ax.set_title(f"{shown}\n{inside.mean():.0%} lie in their 95% interval", fontsize=10)
    figure.suptitle(f"Posterior predictions of {text(response)}")
    return figure
