"""Figures in passing: those that can be drawn, and a line on those that cannot."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crossed_jax.cli.messages import one_line, say
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr

    from crossed_jax.tables.crossed_data import CrossedData

MOST_PREDICTIONS = 20_000_000

type LeftOut = Mapping[str, str | Exception]


def write_figures(tree: "xr.DataTree", data: "CrossedData", folder: Path) -> LeftOut:
    """Draw what can be drawn; say of each figure that is left out why, or what failed."""
    left_out: dict[str, str | Exception] = {}
    try:
        from crossed_jax.results import plots
        from crossed_jax.results.posterior_predictive import posterior_predictive

        num_draws = MOST_PREDICTIONS // (data.num_rows * tree["posterior"].sizes["chain"])
        if of_factor(data.factors[0].name, "effect") not in tree["posterior"]:
            left_out["posterior_predictive"] = "the draws of the effects were not kept"
        elif num_draws < 50:
            left_out["posterior_predictive"] = (
                f"{data.num_rows:,} rows are too many to predict in passing; "
                "crossed_jax.posterior_predictive does it"
            )
        else:
            # some hundred draws place the 95% intervals well enough to be seen
            seed = int(tree.attrs["seed"])
            tree = posterior_predictive(tree, data, num_draws=min(num_draws, 200), seed=seed)
        return left_out | plots.save_figures(tree, folder)
    except Exception as error:  # whatever it is, figures are not worth the fit
        return left_out | {"figures": error}


def tell_left_out(left_out: LeftOut, quiet: bool) -> None:
    """Tell in one line which figures are missing; when quiet, only those that failed."""
    told = [
        f"{name} ({one_line(why)})"
        for name, why in left_out.items()
        if isinstance(why, Exception) or not quiet
    ]
    if told:
        say(f"Not drawn: {', '.join(told)}.")
