"""The distributions that the named priors need, and densities of any prior's logarithm.

Importing NumPyro takes longer than sampling a small table, and is left to those who bring its
distributions.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.types import Array


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


class HalfNormal(NamedTuple):
    """The absolute value of Normal(0, scale)."""

    scale: Array | float

    def log_prob(self, value: Array) -> Array:
        """Log-density of a positive value."""
        return math.log(2.0) + Normal(0.0, self.scale).log_prob(value)

    def sample(self, key: jax.Array, shape: tuple[int, ...]) -> Array:
        """Independent draws."""
        return jnp.abs(Normal(0.0, self.scale).sample(key, shape))

    def icdf(self, probability: float) -> float:
        """Quantile."""
        from scipy.special import ndtri

        return float(self.scale) * float(ndtri(0.5 + 0.5 * probability))


class Gamma(NamedTuple):
    """Gamma(concentration, rate)."""

    concentration: Array | float
    rate: Array | float

    def log_prob(self, value: Array) -> Array:
        """Log-density of a positive value."""
        log_density = (self.concentration - 1.0) * jnp.log(value) - self.rate * value
        constant = self.concentration * jnp.log(self.rate)
        return log_density + constant - jax.scipy.special.gammaln(self.concentration)

    def sample(self, key: jax.Array, shape: tuple[int, ...]) -> Array:
        """Independent draws."""
        return jax.random.gamma(key, self.concentration, shape) / self.rate

    def icdf(self, probability: float) -> float:
        """Quantile."""
        from scipy.stats import gamma

        return float(gamma.ppf(probability, self.concentration, scale=1.0 / float(self.rate)))


class LogitNormal(NamedTuple):
    """A number between 0 and 1 whose logit is Normal(loc, scale)."""

    loc: Array | float
    scale: Array | float

    def log_prob(self, value: Array) -> Array:
        """Log-density of a number between 0 and 1."""
        normal = Normal(self.loc, self.scale).log_prob(jax.scipy.special.logit(value))
        return normal - jnp.log(value) - jnp.log1p(-value)

    def sample(self, key: jax.Array, shape: tuple[int, ...]) -> Array:
        """Independent draws."""
        return jax.nn.sigmoid(Normal(self.loc, self.scale).sample(key, shape))

    def icdf(self, probability: float) -> float:
        """Quantile."""
        from scipy.special import expit, ndtri

        return float(expit(self.loc + self.scale * ndtri(probability)))


def inside_support(prior: Any, value: float) -> float:
    """Move a positive number to where a prior reaches, and not to its very bounds.

    Chains start about the number, to both sides of it. It keeps a twentieth of the support's width
    from a bound, or of the lower bound where that is less; one that starts at zero and has no end
    leaves it as it is.
    """
    support = getattr(prior, "support", None)
    if support is None or _begins_at_zero(support):
        return value
    low, high = float(support.lower_bound), float(getattr(support, "upper_bound", np.inf))
    width = high - low
    highest = high - 0.05 * width if np.isfinite(high) else high
    return float(np.clip(value, low + 0.05 * min(low, width), highest))


def log_density_of_log(prior: Any, log_value: Array) -> Array:
    """Log-density of the logarithm of a positive number, the Jacobian included.

    It is minus infinity where the number is outside the prior's support; NumPyro's formulas go on.
    """
    value = jnp.exp(log_value)
    support = getattr(prior, "support", None)
    if support is None or _begins_at_zero(support):
        return prior.log_prob(value) + log_value
    return jnp.where(support(value), prior.log_prob(value), -jnp.inf) + log_value


def log_density_of_logit(prior: Any, logit: Array) -> Array:
    """Log-density of the logit of a number between 0 and 1, the Jacobian included.

    It is minus infinity where the number is outside the prior's support.
    """
    if isinstance(prior, LogitNormal):
        return Normal(prior.loc, prior.scale).log_prob(logit)
    log_value, log_rest = jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)
    value = jnp.exp(log_value)
    log_density = jnp.where(prior.support(value), prior.log_prob(value), -jnp.inf)
    return log_density + log_value + log_rest


def _begins_at_zero(support: Any) -> bool:
    from numpyro.distributions import constraints

    return support in (constraints.positive, constraints.nonnegative)
