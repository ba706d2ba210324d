r"""The interaction of every cell, and which of them are hits.

A cell's local false sign rate is the posterior probability that its interaction has the other sign
than it seems to have. Calling all cells whose rate is at most this cell's, a share of the signs
will be wrong whose expectation is the mean of their rates: the s-value (Stephens, 2017,
*Biostatistics* 18:275).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.models.model import OF_CELLS, Parts, parts_of
from crossed_jax.results.tree import factor_names, require_fit
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr

S_VALUE_OF_HITS = 0.05


def interactions(tree: xr.DataTree, *, nu: float | None = None) -> pl.DataFrame:
    """Tabulate the interaction of each cell that has rows.

    Parameters
    ----------
    tree
        A fit of the screen model.
    nu
        Degrees of freedom of Student-t interactions, from 1 to 100, in place of the Normal ones
        that were fitted: strong ones are then pulled in less, and fewer of the others called. All
        else stays as it was drawn (:mod:`crossed_jax.results.student_t_interactions`).

    Returns
    -------
    polars.DataFrame
        One row per cell: its level of each factor, n (rows seen), raw_residual (their mean less
        what is expected of them without interaction), mean, sd, lower, upper (of the interaction's
        posterior, and the ends of its 95% interval, in units of the response), lfsr (local false
        sign rate) and s_value (its mean over all cells that have no larger one).

    Raises
    ------
    InputError
        If the model had no interaction, or `nu` is out of its range.
    """
    import polars as pl

    parts = require_interactions(tree, "interactions")
    group = tree["interactions"].to_dataset()
    constant = tree["constant_data"].to_dataset()
    levels = {
        factor: pl.Series(constant[factor].values.tolist(), dtype=pl.String).gather(
            group[of_factor(factor, "code")].values
        )
        for factor in factor_names(tree)
    }
    values = {name: group[name].values for name in OF_CELLS}
    if nu is not None:
        from crossed_jax.results.student_t_interactions import student_t_interactions

        values |= student_t_interactions(tree, parts, nu)
    return pl.DataFrame(levels | values | {"s_value": _s_values(values["lfsr"])})


def require_interactions(tree: xr.DataTree, taker: str) -> Parts:
    """Refuse what is not the tree of a fit that has interactions; give the parts of its model."""
    require_fit(tree, taker)
    parts = parts_of(tree.attrs, factor_names(tree))
    if parts is None or "interactions" not in tree.children:
        raise InputError(
            "this fit has no interactions: fit a table with replicates with model='screen', or "
            "with a Model that has interaction=True."
        )
    return parts


def hits(cells: pl.DataFrame) -> pl.DataFrame:
    """Take the cells that may be called together with 5% of their signs wrong, surest first."""
    import polars as pl

    return cells.filter(pl.col("s_value") < S_VALUE_OF_HITS).sort("lfsr", maintain_order=True)


def _s_values(lfsr: np.ndarray) -> np.ndarray:
    """Mean of all rates that are no larger, for each; equal rates share theirs."""
    ordered = np.sort(lfsr)
    averages = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    return averages[np.searchsorted(ordered, lfsr, side="right") - 1]
