r"""Predictive density and intervals of values that a fit has not seen.

Given a draw of everything but the interactions, let :math:`\mu` be the expectation of a cell and V
the variance of one value about it, a share :math:`\rho` of which replicates have in common. Of n
values seen in the cell, with mean :math:`\bar y`, a further one is

.. math::
    y \mid \bar y \sim \mathrm{Normal}\Big(\mu + s\,(\bar y - \mu),\ \sqrt{(1 - \rho) V (1 + s/n)}
    \Big), \qquad s = \frac{n \rho}{n \rho + 1 - \rho},

and Normal(mu, sqrt(V)) where nothing was seen. The predictive distribution is the mixture of these
over the draws: its log-density is a log-mean-exp, and a value's place in it, the mixture's
distribution function there, says which central intervals cover it.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
import xarray as xr
from scipy.special import logsumexp, ndtr

import crossed_jax as cj
from benchmarks.screen.screens import RESPONSE, crossed

BLOCK_BYTES = 2**25


class Prediction(NamedTuple):
    """Of each value: the log predictive density, and its place in the predictive distribution."""

    log_density: np.ndarray
    place: np.ndarray


class Draws(NamedTuple):
    """What values are predicted from; draws last, so that those of a level lie together.

    Attributes
    ----------
    factors
        Names of the factors; the second may have slopes on the first one's effects.
    intercept, sigma
        Shape (draws,).
    effects
        Of the two factors, shape (levels, draws) each.
    slope
        Of the second factor's levels, shape (levels, draws); None where all are one.
    log_noise
        Of the two factors, likewise; None where a factor's levels have the same noise.
    share
        Of interactions, shape (draws,); zero where there are none.
    """

    factors: tuple[str, str]
    intercept: np.ndarray
    sigma: np.ndarray
    effects: tuple[np.ndarray, np.ndarray]
    slope: np.ndarray | None
    log_noise: tuple[np.ndarray | None, np.ndarray | None]
    share: np.ndarray


def draws_of(tree: xr.DataTree) -> Draws:
    """Take the draws of an additive fit, or of a screen model with any of its parts."""
    posterior = tree["posterior"].to_dataset()
    names = [str(name) for name in posterior.data_vars]
    factors = [n.removesuffix("_effect") for n in names if n.endswith("_effect")]
    factors.sort(key=lambda factor: f"{factor}_slope" in names)

    def flat(name: str) -> np.ndarray:
        values = posterior[name].values
        return np.ascontiguousarray(values.reshape(-1, *values.shape[2:]).T)

    def optional(name: str) -> np.ndarray | None:
        return flat(name) if name in names else None

    first, second = factors
    share = optional("interaction_share")
    intercept = flat("intercept")
    return Draws(
        (first, second),
        intercept,
        flat("sigma"),
        (flat(f"{first}_effect"), flat(f"{second}_effect")),
        optional(f"{second}_slope"),
        (optional(f"{first}_log_noise_sd"), optional(f"{second}_log_noise_sd")),
        np.zeros_like(intercept) if share is None else share,
    )


def predict(draws: Draws, train: pl.DataFrame, held: pl.DataFrame) -> Prediction:
    """Predict values from draws of a fit to others, in blocks of bounded memory.

    Parameters
    ----------
    draws
        Of the fit.
    train, held
        The tables that it was fitted to, and that are predicted; with columns of both factors and
        the response.
    """
    data = crossed(train)
    codes = [_codes(data, name, held) for name in draws.factors]
    seen, mean = _seen(data, draws.factors, codes)
    y = held[RESPONSE].to_numpy()
    found = Prediction(np.empty(len(y)), np.empty(len(y)))
    size = max(1, BLOCK_BYTES // (8 * len(draws.sigma)))
    for start in range(0, len(y), size):
        rows = slice(start, start + size)
        location, sd = _given_draws(draws, [c[rows] for c in codes], seen[rows], mean[rows])
        z = (y[rows, None] - location) / sd
        log_densities = -0.5 * z**2 - np.log(sd) - 0.5 * np.log(2 * np.pi)
        found.log_density[rows] = logsumexp(log_densities, axis=1) - np.log(len(draws.sigma))
        found.place[rows] = ndtr(z).mean(axis=1)
    return found


def _given_draws(
    draws: Draws, codes: list[np.ndarray], seen: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of values given each draw, shape (values, draws)."""
    first, second = (effect[code] for effect, code in zip(draws.effects, codes, strict=True))
    if draws.slope is not None:
        first *= draws.slope[codes[1]]
    expected = draws.intercept + first + second
    sd = np.broadcast_to(draws.sigma, expected.shape)
    for log_noise, code in zip(draws.log_noise, codes, strict=True):
        if log_noise is not None:
            sd = sd * np.exp(log_noise[code])
    n, share = seen[:, None], draws.share
    of_cell = share / (n * share + 1.0 - share)
    location = expected + n * of_cell * (mean[:, None] - expected)
    return location, sd * np.sqrt((1.0 - share) * (1.0 + of_cell))


def _codes(data: cj.CrossedData, name: str, held: pl.DataFrame) -> np.ndarray:
    levels = next(factor.levels for factor in data.factors if factor.name == name)
    code = {level: number for number, level in enumerate(levels)}
    return held[name].replace_strict(code, return_dtype=pl.Int32).to_numpy()


def _seen(
    data: cj.CrossedData, factors: tuple[str, str], codes: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Count and mean of the values that were seen in each cell that is asked for."""
    by_name = {factor.name: factor for factor in data.factors}
    shape = tuple(len(by_name[name].levels) for name in factors)
    cell = np.ravel_multi_index(tuple(by_name[name].codes for name in factors), shape)
    asked = np.ravel_multi_index(tuple(codes), shape)
    count = np.bincount(cell, minlength=shape[0] * shape[1])[asked].astype(float)
    total = np.bincount(cell, data.response, minlength=shape[0] * shape[1])[asked]
    return count, total / np.maximum(count, 1.0)
