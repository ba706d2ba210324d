"""Tables of a fit: every level's effect, and all that is a single number.

Posterior means, SDs and equal-tailed intervals are taken over all draws of all chains, except the
means and SDs of effects where the fit has them exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossed_jax.arguments import real_number
from crossed_jax.errors import InputError
from crossed_jax.models.model import parts_of
from crossed_jax.results.convergence import Convergence, convergence
from crossed_jax.results.tree import factor_names, require_fit
from crossed_jax.sampling.ess import by_blocks, quantile_of_sorted
from crossed_jax.tables.names import of_factor

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
        What `convergence` gave for this tree, if it was called already.

    Returns
    -------
    polars.DataFrame
        One row per level: factor, level, n (rows seen), raw_mean (mean response of those rows),
        mean, sd, lower, upper (of the effect, a deviation that sums to zero within its factor),
        p_negative (the probability that it is below zero), level_mean (posterior mean of intercept
        and effect: the mean response of the level over all levels of the other factors), ess_bulk
        and r_hat (null where they cannot be computed). In units of the response.

        A fit in the ``collapsed`` form knows mean and sd exactly, given the SDs drawn, and it is
        these that are tabulated; lower and upper are quantiles of the draws. If it has kept no
        draws of the effects, lower and upper are quantiles of the mixture of their Normal
        posteriors given each draw of the SDs, and ess_bulk and r_hat are null.

    Raises
    ------
    InputError
        If `interval` is not between 0 and 1, or `tree` not a fit.
    """
    import polars as pl

    require_fit(tree, "effects")
    constant = tree["constant_data"].to_dataset()
    factors = factor_names(tree)
    if statistics is None:
        names = [of_factor(factor, "effect") for factor in factors]
        statistics = convergence(tree, names)
    # in one order, however the draws lie in memory
    drawn = tree["posterior"]["intercept"].transpose("chain", "draw").to_numpy()
    intercept = float(np.ascontiguousarray(drawn).mean())
    tables = []
    for factor in factors:
        moments = effect_moments(tree, factor, interval)
        name = of_factor(factor, "effect")
        levels = [str(level) for level in constant[factor].values]
        unknown = np.full(len(levels), np.nan)
        tables.append(
            pl.DataFrame(
                {
                    "factor": [factor] * len(levels),
                    "level": levels,
                    "n": constant[of_factor(factor, "n")].values.astype(np.int64),
                    "raw_mean": constant[of_factor(factor, "raw_mean")].values.astype(float),
                    **moments,
                    "p_negative": _p_negative(tree, factor),
                    "level_mean": intercept + moments["mean"],
                    "ess_bulk": _values(statistics.ess_bulk, name, unknown),
                    "r_hat": _values(statistics.r_hat, name, unknown),
                    **_slope_and_noise(tree, factor, interval),
                }
            ).with_columns(pl.col("ess_bulk", "r_hat").fill_nan(None))
        )
    return pl.concat(tables)


def _slope_and_noise(tree: xr.DataTree, factor: str, interval: float) -> dict[str, pl.Series]:
    """Give the means and intervals of a factor's slopes and noise SDs, null where it has none."""
    import polars as pl

    if parts_of(tree.attrs, factor_names(tree)) is None:
        return {}
    found = slopes_and_noise(tree, factor, interval)
    unknown = np.full(tree["constant_data"].sizes[factor], None)
    return {
        f"{name}{ending}": pl.Series(
            found[name][end] if name in found else unknown, dtype=pl.Float64
        )
        for name in ("slope", "noise_sd")
        for end, ending in (("mean", ""), ("lower", "_lower"), ("upper", "_upper"))
    }


def slopes_and_noise(
    tree: xr.DataTree, factor: str, interval: float = 0.95
) -> dict[str, dict[str, np.ndarray]]:
    """Give mean, sd, lower and upper of a factor's slopes and noise SDs, as far as it has them."""
    posterior = tree["posterior"].to_dataset()
    drawn = {}
    if (slope := of_factor(factor, "slope")) in posterior:
        drawn["slope"] = posterior[slope]
    if (log_noise := of_factor(factor, "log_noise_sd")) in posterior:
        drawn["noise_sd"] = posterior["sigma"] * np.exp(posterior[log_noise])
    return {
        name: moments_of_draws(draws.transpose("chain", "draw", factor), interval)
        for name, draws in drawn.items()
    }


def effect_moments(tree: xr.DataTree, factor: str, interval: float = 0.95) -> dict[str, np.ndarray]:
    """Give mean, sd, lower and upper of each effect of a factor, as `effects` tabulates them."""
    posterior = tree["posterior"].to_dataset()
    exact = {}
    if "effect_moments" in tree.children:
        known = tree["effect_moments"].to_dataset()
        exact = {
            "mean": known[of_factor(factor, "effect_mean")].values,
            "sd": known[of_factor(factor, "effect_sd")].values,
        }
    if of_factor(factor, "effect") in posterior:
        draws = posterior[of_factor(factor, "effect")].transpose("chain", "draw", factor)
        return moments_of_draws(draws, interval) | exact
    _check_interval(interval)
    return exact | _interval(known[of_factor(factor, "effect_quantile")], interval)


def _p_negative(tree: xr.DataTree, factor: str) -> np.ndarray:
    """Probability that each effect of a factor is below zero."""
    posterior = tree["posterior"].to_dataset()
    if (name := of_factor(factor, "effect")) in posterior:
        return share_negative(posterior[name].transpose("chain", "draw", factor))
    from scipy.special import ndtr, ndtri

    known = tree["effect_moments"][of_factor(factor, "effect_quantile")].transpose(
        factor, "probability"
    )
    scores = ndtri(known["probability"].values)
    return np.array([ndtr(_score_of_zero(scores, quantiles)) for quantiles in known.values])


def _score_of_zero(scores: np.ndarray, quantiles: np.ndarray) -> float:
    """Where quantiles, which are nearly a line in their scores, reach zero; beyond them a line."""
    slopes = (scores[[1, -1]] - scores[[0, -2]]) / (quantiles[[1, -1]] - quantiles[[0, -2]])
    if quantiles[0] > 0.0:
        return float(scores[0] - quantiles[0] * slopes[0])
    if quantiles[-1] < 0.0:
        return float(scores[-1] - quantiles[-1] * slopes[1])
    return float(np.interp(0.0, quantiles, scores))


def share_negative(draws: np.ndarray | xr.DataArray) -> np.ndarray:
    """Share of draws below zero, of a (chain, draw, n) array."""

    def compute(block: np.ndarray) -> np.ndarray:
        return (block < 0.0).reshape(len(block), -1).mean(-1)[None]

    return by_blocks(draws, compute)[0]


def _interval(quantiles: xr.DataArray, interval: float) -> dict[str, np.ndarray]:
    """Ends of an equal-tailed interval, between the quantiles kept by monotone interpolation.

    Quantiles of a Normal are a line in its scores, and those of its mixtures not far from one.
    """
    from scipy.interpolate import PchipInterpolator
    from scipy.special import ndtri

    kept = quantiles.transpose("probability", ...)
    at_score = PchipInterpolator(ndtri(kept["probability"].values), kept.values)
    ends = {"lower": (1 - interval) / 2, "upper": (1 + interval) / 2}
    return {name: at_score(ndtri(probability)) for name, probability in ends.items()}


def parameters(
    tree: xr.DataTree, interval: float = 0.95, statistics: Convergence | None = None
) -> pl.DataFrame:
    """Tabulate all that is a single number: intercept, SDs, and what else a model draws.

    Parameters
    ----------
    tree
        A fit, or what :func:`crossed_jax.sample` gives.
    interval
        Probability inside the equal-tailed interval.
    statistics
        What `convergence` gave for this tree, if it was called already.

    Returns
    -------
    polars.DataFrame
        One row per parameter: parameter, mean, sd, lower, upper, ess_bulk and r_hat (null where
        they cannot be computed). No rows where all that was drawn are arrays.

    Raises
    ------
    InputError
        If `interval` is not between 0 and 1, or `tree` not a fit.
    """
    import polars as pl

    require_fit(tree, "parameters", of_factors=False)
    _check_interval(interval)
    posterior = tree["posterior"].to_dataset()
    names = [str(name) for name, values in posterior.data_vars.items() if values.ndim == 2]
    if not names:
        numbers = ("mean", "sd", "lower", "upper", "ess_bulk", "r_hat")
        return pl.DataFrame(schema={"parameter": pl.String} | dict.fromkeys(numbers, pl.Float64))
    if statistics is None:
        statistics = convergence(tree, names)
    draws = [posterior[name].transpose("chain", "draw").values for name in names]
    return pl.DataFrame(
        {
            "parameter": names,
            **moments_of_draws(np.stack(draws, -1), interval),
            "ess_bulk": [float(statistics.ess_bulk[name]) for name in names],
            "r_hat": [float(statistics.r_hat[name]) for name in names],
        }
    ).with_columns(pl.col("ess_bulk", "r_hat").fill_nan(None))


def moments_of_draws(draws: np.ndarray | xr.DataArray, interval: float) -> dict[str, np.ndarray]:
    """Mean, SD and interval over the leading axes chain and draw of a (chain, draw, n) array."""
    _check_interval(interval)

    def compute(block: np.ndarray) -> np.ndarray:
        flat = block.reshape(len(block), -1)
        mean = flat.mean(-1)
        sd = flat.std(-1, ddof=1) if flat.shape[1] > 1 else np.full(len(flat), np.nan)
        flat.sort(-1)
        ends = [quantile_of_sorted(flat, (1 + sign * interval) / 2) for sign in (-1, 1)]
        return np.stack([mean, sd, *ends])

    return dict(zip(("mean", "sd", "lower", "upper"), by_blocks(draws, compute), strict=True))


def _check_interval(interval: float) -> None:
    if not 0 < real_number("interval", interval) < 1:
        raise InputError(
            f"the interval is {interval}: give the probability inside it, between 0 and 1."
        )


def _values(statistic: xr.Dataset, name: str, otherwise: np.ndarray) -> np.ndarray:
    return statistic[name].values if name in statistic else otherwise
