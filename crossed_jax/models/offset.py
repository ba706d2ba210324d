"""A response far from zero beside its spread, measured from a number nearby.

Sums over rows of 1e12 and a bit lose the bit. The response less its mean is exact, since the two
are close, so the model is fitted to that, the priors' means moved along; what has the mean in it
gets it back once everything is drawn.
"""

import dataclasses
from typing import Any

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.models.distributions import Normal
from crossed_jax.models.priors import Priors
from crossed_jax.tables.crossed_data import CrossedData

FAR = 1000.0  # SDs from zero
FEWEST_STEPS = 300.0  # of float64 at the response's size, in its SD


def offset_of(response: np.ndarray) -> float:
    """Give what to measure a response from: its mean if that is far from zero, or else 0.

    Raises
    ------
    InputError
        If numbers of that size are too coarse for the response's spread.
    """
    mean, sd = float(np.mean(response)), float(np.std(response))
    if not abs(mean) > FAR * sd > 0.0:
        return 0.0
    step = float(np.spacing(abs(mean)))
    # an intercept is known to about the SD over the root of the rows
    if sd < step * max(FEWEST_STEPS, len(response) ** 0.5):
        raise InputError(
            f"the response has an SD of {sd:.2g} about {mean:.6g}, and double precision tells "
            f"numbers of that size apart in steps of {step:.2g} only: subtract a constant near "
            "their mean before the table is written."
        )
    return mean


def subtract_offset(data: CrossedData, priors: Priors, offset: float) -> tuple[CrossedData, Priors]:
    """Measure a table's response, and the priors of its factors' means, from an offset."""
    if not offset:
        return data, priors
    share = offset / len(data.factors)
    means = tuple(Normal(mean.loc - share, mean.scale) for mean in priors.factor_means)
    return (
        dataclasses.replace(data, response=data.response - offset),
        priors._replace(factor_means=means),
    )


def add_offset(draws: dict[str, Any], offset: float) -> dict[str, Any]:
    """Give what was drawn for a response less an offset in the response's own unit.

    Parameters
    ----------
    draws
        By name, as :class:`~crossed_jax.models.parameterization.Parameterization` has them.
    offset
        As `offset_of` gave it.
    """
    if not offset:
        return draws
    restored = draws | {"intercept": draws["intercept"] + offset}
    for name in ("{factor}_mean", "{factor}_intercept"):
        if name in draws:
            share = offset / len(draws[name])
            restored[name] = tuple(values + share for values in draws[name])
    return restored
