"""Contrasts: by how much two levels of a factor differ, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossed_jax.errors import InputError, told
from crossed_jax.results.summaries import moments_of_draws, share_negative
from crossed_jax.results.tree import factor_names, require_effect_draws, require_fit
from crossed_jax.sampling.ess import rank_diagnostics
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr


def contrast(
    tree: xr.DataTree, factor: str, first: str, second: str, interval: float = 0.95
) -> pl.DataFrame:
    """Tabulate the effect of a level less that of another.

    The effects of two levels are correlated, so that the SD of their difference does not follow
    from theirs: it is that of the differences of the draws.

    Parameters
    ----------
    tree
        A fit that has kept draws of its effects.
    factor
        The factor, or what is nested in one, such as guides.
    first, second
        Its levels.
    interval
        Probability inside the equal-tailed interval.

    Returns
    -------
    polars.DataFrame
        One row: factor, first, second, mean, sd, lower, upper, p_negative, ess_bulk and r_hat
        (null where they cannot be computed), in units of the response.

    Raises
    ------
    InputError
        If the fit has no such factor or level, the levels are the same, or there are no draws.
    """
    import polars as pl

    require_fit(tree, "contrast")
    require_effect_draws(tree)
    posterior = tree["posterior"].to_dataset()
    name = f"{factor}_effect"
    if name not in posterior or factor not in posterior.indexes:
        known = " or ".join(factor_names(tree))
        raise InputError(f"the fit has no effects of {told(factor)}: name {known}.")
    for level in (first, second):
        if level not in posterior.indexes[factor]:
            raise InputError(
                f"the fit has no level {told(level)} of {factor}: look its levels up in effects."
            )
    if first == second:
        raise InputError(f"{told(first)} is given twice: name two levels of {factor}.")
    effect = posterior[of_factor(factor, "effect")]
    difference = effect.sel({factor: first}) - effect.sel({factor: second})
    draws = difference.transpose("chain", "draw").to_numpy()[..., None]
    found = rank_diagnostics(draws)
    return pl.DataFrame(
        {
            "factor": [factor],
            "first": [first],
            "second": [second],
            **moments_of_draws(draws, interval),
            "p_negative": share_negative(draws),
            "ess_bulk": np.asarray(found.ess_bulk, float),
            "r_hat": np.asarray(found.r_hat, float),
        }
    ).with_columns(pl.col("ess_bulk", "r_hat").fill_nan(None))
