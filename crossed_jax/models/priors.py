r"""Priors of a crossed varying-intercept model.

.. math::
    \mu_k \sim \mathrm{Normal}(m_k, s_k), \qquad \sigma_k,\ \sigma \sim \text{any positive prior}

`post` is the model as first posted: :math:`\mu_k \sim \mathrm{Normal}(0, 5)` and every SD
Exponential(1), meant for log fold changes. `scaled` is the same model of the standardized
response :math:`(y - \bar y)/\mathrm{sd}(y)`, written in the response's own unit: it fits
millimetres, seconds or dollars alike. Levels' intercepts are Normal with mean :math:`\mu_k` and SD
:math:`\sigma_k`, so the overall intercept :math:`m = \sum_k \bar\alpha_k` has the prior

.. math:: m \sim \mathrm{Normal}\Big(\sum_k m_k,\ \sqrt{\sum_k s_k^2 + \sigma_k^2 / L_k}\Big).

The two distributions that the named priors need are written here: importing NumPyro takes longer
than sampling a small table, and is left to those who bring its distributions.
"""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.arguments import real_number
from crossed_jax.errors import InputError, told
from crossed_jax.models.spelling import spell
from crossed_jax.tables.crossed_data import LARGEST_RESPONSE, CrossedData
from crossed_jax.tables.names import of_factor
from crossed_jax.types import Array

PriorName = Literal["post", "scaled"]


class Normal(NamedTuple):
    """Normal(loc, scale)."""

    loc: Array | float
    scale: Array | float

    def log_prob(self, value: Array) -> Array:
        """Log-density."""
        constant = 0.5 * math.log(2.0 * math.pi)
        return -0.5 * ((value - self.loc) / self.scale) ** 2 - jnp.log(self.scale) - constant

    def sample(self, key: jax.Array, shape: tuple[int, ...]) -> Array:
        """Independent draws."""
        return self.loc + self.scale * jax.random.normal(key, shape)


class Exponential(NamedTuple):
    """Exponential(rate)."""

    rate: Array | float

    def log_prob(self, value: Array) -> Array:
        """Log-density of a positive value."""
        return jnp.log(self.rate) - self.rate * value

    def sample(self, key: jax.Array, shape: tuple[int, ...]) -> Array:
        """Independent draws."""
        return jax.random.exponential(key, shape) / self.rate

    def icdf(self, probability: float) -> float:
        """Quantile."""
        return -math.log1p(-probability) / float(self.rate)


class Priors(NamedTuple):
    """Priors of the factor means, the factors' SDs and the residual SD.

    Attributes
    ----------
    factor_means
        For each factor, the Normal prior of the mean of its levels' intercepts, this module's or
        NumPyro's.
    factor_sds
        For each factor, the prior of its SD: an :class:`Exponential`, or any positive NumPyro
        distribution.
    sigma
        The prior of the residual SD, likewise.
    """

    factor_means: tuple[Normal, ...]
    factor_sds: tuple[Any, ...]
    sigma: Any

    def intercept(self, factor_sds: Array, num_levels: tuple[int, ...]) -> Normal:
        """Prior of the intercept, the sum of the factors' level means, given the factors' SDs."""
        means = self.sum_of_means
        variance = means.scale**2 + jnp.sum(factor_sds**2 / jnp.asarray(num_levels))
        return Normal(means.loc, jnp.sqrt(variance))

    @property
    def sum_of_means(self) -> Normal:
        """Prior of the sum of the factor means, which is the intercept's where SDs are zero."""
        variance = sum(mean.scale**2 for mean in self.factor_means)
        return Normal(sum(mean.loc for mean in self.factor_means), variance**0.5)

    def log_scales(self, log_factor_sds: Array, log_sigma: Array) -> Array:
        """Log-density of the logarithms of all SDs, the Jacobian included."""
        log_density = log_density_of_log_sd(self.sigma, log_sigma)
        for prior, log_sd in zip(self.factor_sds, log_factor_sds, strict=True):
            log_density += log_density_of_log_sd(prior, log_sd)
        return log_density


def within(prior: Any, sd: float) -> float:
    """Give the SD nearest to one that lies well inside a prior's support."""
    support = getattr(prior, "support", None)
    if support is None or _begins_at_zero(support):
        return sd
    low, high = float(support.lower_bound), float(getattr(support, "upper_bound", np.inf))
    width = high - low
    highest = high - 0.05 * width if np.isfinite(high) else high
    return float(np.clip(sd, low + 0.05 * min(low, width), highest))


def log_density_of_log_sd(prior: Any, log_sd: Array) -> Array:
    """Log-density of the logarithm of an SD, the Jacobian included.

    It is minus infinity where the SD lies outside the prior's support; NumPyro's formulas go on.
    """
    sd = jnp.exp(log_sd)
    support = getattr(prior, "support", None)
    if support is None or _begins_at_zero(support):
        return prior.log_prob(sd) + log_sd
    return jnp.where(support(sd), prior.log_prob(sd), -jnp.inf) + log_sd


def _begins_at_zero(support: Any) -> bool:
    from numpyro.distributions import constraints

    return support in (constraints.positive, constraints.nonnegative)


def post_priors(num_factors: int) -> Priors:
    """Normal(0, 5) means and Exponential(1) SDs, as in the original post."""
    return _priors(num_factors, location=0.0, scale=1.0)


def scaled_priors(data: CrossedData) -> Priors:
    """Give the post's priors of the standardized response, in the response's own unit.

    The response is standardized by its mean and its sample SD (n - 1). The mean is shared out
    equally among the factor means, whose sum is all that the data can tell.
    """
    location = float(np.mean(data.response)) / len(data.factors)
    return _priors(len(data.factors), location, scale=float(np.std(data.response, ddof=1)))


def _priors(num_factors: int, location: float, scale: float) -> Priors:
    sd = Exponential(1.0 / scale)
    return Priors((Normal(location, 5.0 * scale),) * num_factors, (sd,) * num_factors, sd)


def resolve_priors(priors: PriorName | Priors, data: CrossedData) -> Priors:
    """Turn a name into priors for a table, or check priors that were given.

    Raises
    ------
    InputError
        If the name is unknown, there is not one prior for each factor, a factor mean's prior is
        not Normal, an SD's prior can be negative, or a parameter makes no sense.
    """
    if isinstance(priors, Priors):
        return _checked(priors, data)
    if isinstance(priors, str) and priors == "post":
        return post_priors(len(data.factors))
    if isinstance(priors, str) and priors == "scaled":
        return scaled_priors(data)
    raise InputError(f"unknown priors {told(priors)}: choose 'post' or 'scaled', or give a Priors.")


def _checked(priors: Priors, data: CrossedData) -> Priors:
    """Refuse priors that make no sense, and make the numbers of the others plain."""
    for part in ("factor_means", "factor_sds"):
        given = getattr(priors, part)
        if isinstance(given, Normal | Exponential) or not isinstance(given, tuple | list):
            raise InputError(
                f"priors.{part} is {told(given)}: give a tuple of one distribution for each factor."
            )
        if len(given) != len(data.factors):
            raise InputError(
                f"priors.{part} has {len(given)} distributions for {len(data.factors)} factors: "
                "give one for each factor."
            )
    names = data.factor_names
    return Priors(
        tuple(
            _mean_prior(of_factor(name, "mean"), prior)
            for name, prior in zip(names, priors.factor_means, strict=True)
        ),
        tuple(
            _sd_prior(of_factor(name, "sd"), prior)
            for name, prior in zip(names, priors.factor_sds, strict=True)
        ),
        _sd_prior("sigma", priors.sigma),
    )


def _mean_prior(name: str, prior: Any) -> Normal:
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


def _sd_prior(name: str, prior: Any) -> Any:
    if isinstance(prior, Exponential):
        rate = real_number(f"rate of the prior of {name}", prior.rate)
        if not _is_size(rate):
            raise InputError(
                f"the prior of {name} is Exponential({rate:g}): give a positive rate, of one over "
                "a size that a response can have."
            )
        return Exponential(rate)
    from numpyro.distributions import Distribution

    if not isinstance(prior, Distribution):
        raise InputError(
            f"the prior of {name} is {told(prior)}, not a distribution of numpyro: "
            "give an Exponential, HalfNormal, Gamma or another positive distribution."
        )
    if prior.batch_shape != () or prior.event_shape != ():
        raise InputError(f"the prior of {name} is of several numbers: give one of a single SD.")
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


def describe_priors(priors: Priors, data: CrossedData, name: str) -> dict:
    """Describe priors in plain values that fit into JSON, for the record of a run."""
    factor_names = [factor.name for factor in data.factors]
    means = priors.factor_means
    sds = dict(zip(factor_names, priors.factor_sds, strict=True))
    return {
        "name": name,
        "factor_means": {
            factor: {"loc": float(mean.loc), "scale": float(mean.scale)}
            for factor, mean in zip(factor_names, means, strict=True)
        },
        "factor_sds": {factor: spell(prior) for factor, prior in sds.items()},
        "sigma": spell(priors.sigma),
        "factor_sd_medians": {factor: _median(prior) for factor, prior in sds.items()},
        "sigma_median": _median(priors.sigma),
        "intercept_loc": sum(float(mean.loc) for mean in means),
        "intercept_scale": float(np.sqrt(sum(float(mean.scale) ** 2 for mean in means))),
    }


def _median(prior: Any) -> float | None:
    try:
        with jax.enable_x64(True):
            return float(prior.icdf(0.5))
    except (NotImplementedError, ImportError):  # some quantiles need an optional package
        return None
