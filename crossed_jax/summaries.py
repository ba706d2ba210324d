r"""Tables of a fit: every level's effect, and where the variance comes from.

Posterior means, SDs and equal-tailed intervals are taken over all draws of all chains. The share of
variance of a component is the posterior mean of

.. math:: \frac{\sigma_k^2}{\sum_j \sigma_j^2},

the sum running over the SD of each factor and the residual :math:`\sigma`: a mean of ratios, draw
by draw, so that the shares add up to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crossed_jax.diagnostics import Convergence, convergence
from crossed_jax.posterior import factor_names

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr


def effects(
    tree: xr.DataTree, interval: float = 0.95, statistics: Convergence | None = None
) -> pl.DataFrame:
    """Tabulate the effect of each level of each factor.

    Parameters
    ----------
    tree
        A fit.
    interval
        Probability inside the equal-tailed interval.
    statistics
        What `diagnostics.convergence` gave for this tree, if it was called already.

    Returns
    -------
    polars.DataFrame
        One row per level: factor, level, n (rows seen), raw_mean (mean response of those rows),
        mean, sd, lower, upper (of the effect, a deviation that sums to zero within its factor),
        ess_bulk and r_hat (null where they cannot be computed). In units of the response.

    Raises
    ------
    ValueError
        If `interval` is not between 0 and 1.
    """
    import polars as pl

    posterior, constant = tree["posterior"].to_dataset(), tree["constant_data"].to_dataset()
    factors = factor_names(tree)
    if statistics is None:
        names = [f"{factor}_effect" for factor in factors]
        statistics = convergence(tree, names)
    tables = []
    for factor in factors:
        name = f"{factor}_effect"
        draws = posterior[name]
        levels = [str(level) for level in draws[factor].values]
        unknown = np.full(len(levels), np.nan)
        tables.append(
            pl.DataFrame(
                {
                    "factor": [factor] * len(levels),
                    "level": levels,
                    "n": constant[f"{factor}_n"].values.astype(np.int64),
                    "raw_mean": constant[f"{factor}_raw_mean"].values.astype(float),
                    **_moments(draws.transpose("chain", "draw", factor).values, interval),
                    "ess_bulk": _values(statistics.ess_bulk, name, unknown),
                    "r_hat": _values(statistics.r_hat, name, unknown),
                }
            ).with_columns(pl.col("ess_bulk", "r_hat").fill_nan(None))
        )
    return pl.concat(tables)


def variance_components(tree: xr.DataTree, interval: float = 0.95) -> pl.DataFrame:
    """Tabulate the SD of each factor and of the residual.

    Parameters
    ----------
    tree
        A fit.
    interval
        Probability inside the equal-tailed interval.

    Returns
    -------
    polars.DataFrame
        One row per factor and a last one, ``sigma``, for the residual: component, sd_mean, sd_sd,
        lower, upper (in units of the response), share_of_variance. The ``design_matrix`` form
        gives its effects a fixed prior and so has no factor SDs: its table has the row ``sigma``
        alone, whose share, of a total that is not defined, is null.

    Raises
    ------
    ValueError
        If `interval` is not between 0 and 1.
    """
    import polars as pl

    posterior = tree["posterior"].to_dataset()
    factors = [f for f in factor_names(tree) if f"{f}_sd" in posterior]
    names = [*(f"{factor}_sd" for factor in factors), "sigma"]
    sds = np.stack([posterior[name].transpose("chain", "draw").values for name in names], -1)
    moments = _moments(sds, interval)
    variances = sds**2
    shares = (variances / variances.sum(-1, keepdims=True)).mean((0, 1))
    return pl.DataFrame(
        {
            "component": [*factors, "sigma"],
            "sd_mean": moments["mean"],
            "sd_sd": moments["sd"],
            "lower": moments["lower"],
            "upper": moments["upper"],
            "share_of_variance": pl.Series(shares if factors else [None], dtype=pl.Float64),
        }
    )


def _moments(draws: np.ndarray, interval: float) -> dict[str, Any]:
    """Mean, SD and interval over the leading axes chain and draw of a (chain, draw, n) array."""
    if not 0 < interval < 1:
        raise ValueError(f"interval must be between 0 and 1, not {interval}")
    flat = draws.reshape(-1, draws.shape[-1])
    lower, upper = np.quantile(flat, [(1 - interval) / 2, (1 + interval) / 2], axis=0)
    return {
        "mean": flat.mean(0),
        "sd": flat.std(0, ddof=1) if len(flat) > 1 else np.full(flat.shape[1], np.nan),
        "lower": lower,
        "upper": upper,
    }


def _values(statistic: xr.Dataset, name: str, otherwise: np.ndarray) -> np.ndarray:
    return statistic[name].values if name in statistic else otherwise
