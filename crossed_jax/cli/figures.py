"""Figures in passing: those that can be drawn, and a line on those that cannot."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crossed_jax.cli.messages import one_line, say
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr

    from crossed_jax.tables.crossed_data import CrossedData

MOST_ROWS = 10_000
NUM_DRAWS = 400

type NotDrawn = Mapping[str, str | Exception]


def write_figures(tree: "xr.DataTree", data: "CrossedData | None", folder: Path) -> NotDrawn:
    """Draw what can be drawn; say of each figure that is left out why, or what failed.

    `data` is the table that was fitted, or None if it is not at hand.
    """
    left_out: dict[str, str | Exception] = {}
    try:
        from crossed_jax.results import plots
        from crossed_jax.results.tree import factor_names

        predicted = None
        if of_factor(factor_names(tree)[0], "effect") not in tree["posterior"]:
            kept = "the draws of the effects were not kept"
            left_out = dict.fromkeys(("posterior_predictive", "ridge"), kept)
        elif data is None:
            left_out["posterior_predictive"] = (
                "it needs the table, which fit has: fit again, with figures"
            )
        else:
            predicted = _predicted(tree, data)
        return left_out | plots.save_figures(tree, folder, predicted=predicted)
    except Exception as error:  # whatever it is, figures are not worth the fit
        return left_out | {"figures": error}


def _predicted(tree: "xr.DataTree", data: "CrossedData") -> "xr.DataTree":
    """Predict rows, of many some at random, with as many draws as place 95% intervals well."""
    import numpy as np

    from crossed_jax.results.posterior_predictive import posterior_predictive

    seed = int(tree.attrs["seed"])
    if data.num_rows > MOST_ROWS:
        chosen = np.random.default_rng(seed).choice(data.num_rows, MOST_ROWS, replace=False)
        data = data.some_rows(np.sort(chosen))
    num_draws = -(-NUM_DRAWS // tree["posterior"].sizes["chain"])
    return posterior_predictive(tree, data, num_draws=num_draws, seed=seed)


def tell_left_out(left_out: NotDrawn, quiet: bool) -> None:
    """Tell in one line which figures are missing; when quiet, only those that failed."""
    told = [
        f"{name} ({one_line(why)})"
        for name, why in left_out.items()
        if isinstance(why, Exception) or not quiet
    ]
    if told:
        say(f"Not drawn: {', '.join(told)}.")
