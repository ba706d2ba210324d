"""Fits of one table compared by leave-one-out, whatever the size of the table.

The expected log predictive density of each row or cell, left out, is estimated from the draws by
Pareto-smoothed importance sampling (Vehtari, Gelman and Gabry, 2017, *Statistics and Computing*
27:1413), which is ArviZ's own; it is only done in blocks, because draws by rows need not fit into
memory.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from crossed_jax.errors import InputError, told
from crossed_jax.results.log_likelihood import in_blocks, require_left_out
from crossed_jax.statistics.cells import cells_of

if TYPE_CHECKING:
    import polars as pl

    from crossed_jax.tables.crossed_data import CrossedData
    from crossed_jax.types import LeftOut

FEWEST_DRAWS = 100


def compare(
    fits: Mapping[str, xr.DataTree],
    data: CrossedData,
    *,
    by: LeftOut = "row",
    report: Callable[[str, int, int], None] | None = None,
) -> pl.DataFrame:
    """Compare fits of a table by how well they predict what is left out of it.

    Parameters
    ----------
    fits
        Two or more fits of the table, by the name that each is to have.
    data
        The table.
    by
        What is left out at a time, as in `log_likelihood`: a `row` or a `cell`.
    report
        Called with the name of a fit, how many rows or cells are done, and of how many.

    Returns
    -------
    polars.DataFrame
        One row per fit, best first: rank, model, left_out, number (of rows or cells), elpd (sum of
        the expected log predictive densities), se, p (effective number of parameters), elpd_diff
        (from the best), dse (standard error of that), weight (stacking) and bad_k (number of
        rows or cells whose Pareto k is above good_k, where the estimate cannot be relied on).

    Raises
    ------
    InputError
        If there are fewer than two fits, or one is not of this table, has less than a hundred
        draws or kept none of effects.
    """
    import arviz_stats
    import polars as pl

    if isinstance(fits, xr.DataTree) or not isinstance(fits, Mapping) or len(fits) < 2:
        raise InputError(
            f"compare takes two fits or more by name, not this {type(fits).__name__}: give, for "
            'example, {"additive": tree, "screen": other}.'
        )
    for name, tree in fits.items():
        if not isinstance(name, str):
            raise InputError(f"compare takes fits by name, and {told(name)} is none: give text.")
        require_left_out(tree, data, by, "compare")
        require_draws(tree["posterior"].sizes["chain"] * tree["posterior"].sizes["draw"])
    number = data.num_rows if by == "row" else len(cells_of(data).counts)
    found = {}
    for name, tree in fits.items():
        count = None if report is None else partial(report, name)
        found[name] = _leave_one_out(tree, data, by, number, count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is in the table
        ranked = arviz_stats.compare(found, round_to="none")
    return pl.DataFrame(
        {
            "rank": 1 + ranked["rank"].to_numpy(),
            "model": list(ranked.index),
            "left_out": by,
            "number": number,
            **{
                name: ranked[name].to_numpy()
                for name in ("elpd", "se", "p", "elpd_diff", "dse", "weight")
            },
            "bad_k": [
                int((found[name].pareto_k > found[name].good_k).sum()) for name in ranked.index
            ],
        }
    )


def require_draws(number: int) -> None:
    """Refuse so few draws of all chains that no tail of weights can be smoothed."""
    if number < FEWEST_DRAWS:
        raise InputError(
            f"{number} draws in all are too few to leave anything out: ask for {FEWEST_DRAWS} or "
            "more."
        )


def _leave_one_out(
    tree: xr.DataTree,
    data: CrossedData,
    by: LeftOut,
    number: int,
    report: Callable[[int, int], None] | None,
) -> Any:
    """Give what ``az.loo`` gives with all of the log-likelihood at once, its weights left out."""
    import arviz_stats

    posterior = tree["posterior"].to_dataset()
    efficiency = _relative_efficiency(posterior)
    places, results = [], []
    for place, values in in_blocks(tree, data, by):
        block = xr.Dataset({data.response_name: (("chain", "draw", by), values)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pareto k, which are counted
            results.append(
                arviz_stats.loo(
                    xr.DataTree.from_dict({"posterior": posterior, "log_likelihood": block}),
                    pointwise=True,
                    reff=efficiency,
                )
            )
        places.append(place)
        if report is not None:
            report(sum(map(len, places)), number)
    order = np.argsort(np.concatenate(places))

    def joined(name: str) -> xr.DataArray:
        return xr.concat([getattr(each, name) for each in results], by)[{by: order}]

    elpd = joined("elpd_i")
    return dataclasses.replace(
        results[0],
        elpd=float(elpd.sum()),
        se=float(np.sqrt(elpd.size * elpd.var(ddof=1))),
        p=sum(each.p for each in results),
        n_data_points=elpd.size,
        warning=any(each.warning for each in results),
        elpd_i=elpd,
        pareto_k=joined("pareto_k"),
        log_weights=None,
    )


def _relative_efficiency(posterior: xr.Dataset) -> float:
    """Effective draws in one, as ``az.loo`` has it: the mean over all that was drawn."""
    if posterior.sizes["chain"] == 1:
        return 1.0
    found = posterior.azstats.ess(method="mean")
    values = np.concatenate([found[name].values.ravel() for name in found.data_vars])
    return float(values.mean()) / (posterior.sizes["chain"] * posterior.sizes["draw"])
