"""Why intercepts by level are wide and predictions sharp, in one fit: the ridge beside its sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossed_jax.models.model import parts_of
from crossed_jax.results.original_coordinates import original_coordinates
from crossed_jax.results.plots.style import BLUE, VERMILION, text, tidy, with_margins
from crossed_jax.results.ridge import level_means
from crossed_jax.results.tree import factor_names, thinned, with_groups

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

MOST_DRAWS = 250  # of each chain


def ridge_line(tree: xr.DataTree) -> Figure:
    """Draw the textbook form's mean intercepts against each other, and what is sampled instead.

    Left, draws of the mean intercept of the first factor's levels against that of the others':
    only their sum is informed by the data, so they lie on a line. Right, that sum, the intercept,
    against the second mean, on the same scale: what the data say is as narrow as the column.

    Parameters
    ----------
    tree
        A fit that kept the draws of its effects. Where it was not sampled in the ``original``
        form, that form's coordinates are drawn from their exact conditional.

    Raises
    ------
    InputError
        If the fit has no such coordinates.
    """
    posterior = thinned(tree["posterior"].to_dataset(), MOST_DRAWS)
    means = level_means(original_coordinates(with_groups(tree, posterior=posterior)))
    first, others = means[0].ravel(), means[1:].sum(0).ravel()
    total = first + others
    factors = [text(factor) for factor in factor_names(tree)]
    unit = text(tree.attrs["response"])
    rest = " + ".join(f"mean {factor} intercept" for factor in factors[1:])

    exact = parts_of(tree.attrs, factor_names(tree)) is None
    figure = with_margins(8.6, 4.4)
    left, right = figure.subplots(1, 2, sharey=True)
    look = {"ms": 4, "mew": 0, "alpha": 0.4}
    left.plot(first, others, "o", color=VERMILION, **look)
    right.plot(total, others, "o", color=BLUE, **look)
    left.set(xlabel=f"mean {factors[0]} intercept ({unit})", ylabel=f"{rest} ({unit})")
    right.set_xlabel(f"their sum, the intercept ({unit})")
    width = float(np.ptp(first)) or 1.0
    middle = float(np.median(total))
    right.set_xlim(middle - 0.55 * width, middle + 0.55 * width)
    for ax, title, colour in (
        (left, f"Each wanders: SDs {first.std():.2g} and {others.std():.2g}", VERMILION),
        (right, f"Their sum stands still: SD {total.std():.2g}", BLUE),
    ):
        ax.set_title(title, loc="left", weight="bold", color=colour, fontsize=11)
        tidy(ax, "both")
    # with slopes by level they inform the two apart as well, if not by much
    told = "only the sum of the mean intercepts" if exact else "the sum of the mean intercepts best"
    figure.suptitle(f"The ridge: the data inform {told}")
    return figure
