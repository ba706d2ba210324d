"""Priors that were given, checked before anything is run."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.arguments import real_number
from crossed_jax.errors import InputError, told
from crossed_jax.models.distributions import Exponential, Gamma, HalfNormal, LogitNormal, Normal
from crossed_jax.tables.crossed_data import LARGEST_RESPONSE


def checked_mean_prior(name: str, prior: Any) -> Normal:
    """Refuse what is not Normal, and give it with plain numbers."""
    if not _is_normal(prior):
        raise InputError(
            f"the prior of {name} is {told(prior)}, and must be Normal: give a Normal of a number."
        )
    loc = real_number(f"loc of the prior of {name}", prior.loc)
    scale = real_number(f"scale of the prior of {name}", prior.scale)
    if not abs(loc) <= LARGEST_RESPONSE or not _is_size(scale):
        raise InputError(
            f"the prior of {name} is Normal({loc:g}, {scale:g}): give a finite loc and a positive "
            "scale, of a size that a response can have."
        )
    return Normal(loc, scale)


def _is_normal(prior: Any) -> bool:
    if isinstance(prior, Normal):
        return True
    import numpyro.distributions as dist

    return type(prior) is dist.Normal and prior.batch_shape == ()


def _is_size(scale: float) -> bool:
    return 1 / LARGEST_RESPONSE <= scale <= LARGEST_RESPONSE


def checked_positive_prior(name: str, prior: Any) -> Any:
    """Refuse what is not a prior of a single positive number, or make no sense."""
    if isinstance(prior, Exponential):
        rate = real_number(f"rate of the prior of {name}", prior.rate)
        if not _is_size(rate):
            raise InputError(
                f"the prior of {name} is Exponential({rate:g}): give a positive rate, of one over "
                "a size that a response can have."
            )
        return Exponential(rate)
    if isinstance(prior, HalfNormal):
        scale = real_number(f"scale of the prior of {name}", prior.scale)
        if not _is_size(scale):
            raise InputError(
                f"the prior of {name} is HalfNormal({scale:g}): give a positive scale, of a size "
                "that a response can have."
            )
        return HalfNormal(scale)
    if isinstance(prior, Gamma):
        shape, rate = (
            real_number(f"{part} of the prior of {name}", getattr(prior, part))
            for part in prior._fields
        )
        if not (_is_size(shape) and _is_size(rate)):
            raise InputError(
                f"the prior of {name} is Gamma({shape:g}, {rate:g}): give a positive concentration "
                "and rate."
            )
        return Gamma(shape, rate)
    from numpyro.distributions import Distribution

    if not isinstance(prior, Distribution):
        raise InputError(
            f"the prior of {name} is {told(prior)}, not a distribution of numpyro: "
            "give an Exponential, HalfNormal, Gamma or another positive distribution."
        )
    if prior.batch_shape != () or prior.event_shape != ():
        raise InputError(f"the prior of {name} is of several numbers: give one of a single number.")
    kind = type(prior).__name__
    try:
        if not _is_positive(prior.support):
            raise InputError(
                f"the prior of {name} is {kind}, which is not confined to positive numbers: "
                "give an Exponential, HalfNormal, Gamma or another positive distribution."
            )
        if not _has_density(prior):
            raise InputError(
                f"the prior of {name} is {kind}, whose density with these parameters is zero or "
                "not a number everywhere: look at them."
            )
    except TypeError:  # what jax traces is not yet a number
        raise InputError(
            f"the prior of {name} is {kind} with parameters that are not numbers: give numbers, "
            "and call fit outside of jax.jit."
        ) from None
    return prior


def checked_share_prior(name: str, prior: Any) -> Any:
    """Refuse what is not a prior of a single number between 0 and 1, or make no sense."""
    if isinstance(prior, LogitNormal):
        loc, scale = (
            real_number(f"{part} of the prior of {name}", getattr(prior, part))
            for part in prior._fields
        )
        if not (abs(loc) <= LARGEST_RESPONSE and _is_size(scale)):
            raise InputError(
                f"the prior of {name} is LogitNormal({loc:g}, {scale:g}): give a finite loc and a "
                "positive scale."
            )
        return LogitNormal(loc, scale)
    prior = checked_positive_prior(name, prior)
    if getattr(getattr(prior, "support", None), "upper_bound", np.inf) > 1:
        raise InputError(
            f"the prior of {name} is {type(prior).__name__}, which is not confined to numbers "
            "between 0 and 1: give a Beta, or another distribution of a share."
        )
    return prior


def _is_positive(support: Any) -> bool:
    from numpyro.distributions import constraints

    bounded = isinstance(support, constraints.greater_than | constraints.interval)
    return bounded and bool(support.lower_bound >= 0)


def _has_density(prior: Any) -> bool:
    """Whether a prior has a density at any of many SDs, of all sizes and all over its support."""
    support = prior.support
    low, high = support.lower_bound, getattr(support, "upper_bound", LARGEST_RESPONSE)
    sds = np.concatenate(
        [np.geomspace(1 / LARGEST_RESPONSE, LARGEST_RESPONSE, 281), np.linspace(low, high, 101)]
    )
    with jax.enable_x64(True):
        log_densities = np.asarray(prior.log_prob(jnp.asarray(sds[np.asarray(support(sds))])))
    return bool(np.isfinite(log_densities).any())
