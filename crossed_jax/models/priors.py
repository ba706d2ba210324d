r"""Priors of a crossed varying-intercept model.

.. math::
    \mu_k \sim \mathrm{Normal}(m_k, s_k), \qquad \sigma_k,\ \sigma \sim \text{any positive prior}

`post` is the model as first posted: :math:`\mu_k \sim \mathrm{Normal}(0, 5)` and every SD
Exponential(1), meant for log fold changes. `scaled` is the same model of the standardized
response :math:`(y - \bar y)/\mathrm{sd}(y)`, written in the response's own unit: it fits
millimetres, seconds or dollars alike. Levels' intercepts are Normal with mean :math:`\mu_k` and SD
:math:`\sigma_k`, so the overall intercept :math:`m = \sum_k \bar\alpha_k` has the prior

.. math:: m \sim \mathrm{Normal}\Big(\sum_k m_k,\ \sqrt{\sum_k s_k^2 + \sigma_k^2 / L_k}\Big).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.errors import InputError, told
from crossed_jax.models.distributions import (
    Exponential,
    LogitNormal,
    Normal,
    log_density_of_log,
)
from crossed_jax.models.prior_checks import (
    checked_mean_prior,
    checked_positive_prior,
    checked_share_prior,
)
from crossed_jax.models.spelling import spell
from crossed_jax.tables.crossed_data import CrossedData, require_table
from crossed_jax.tables.names import of_factor
from crossed_jax.types import Array, PriorName

_NAMED = get_args(PriorName)


class Priors(NamedTuple):
    """Priors of the factor means, all SDs and what else a model has.

    Attributes
    ----------
    factor_means
        For each factor, the Normal prior of the mean of its levels' intercepts, this module's or
        NumPyro's.
    factor_sds
        For each factor, the prior of its SD: an :class:`Exponential`, or any positive NumPyro
        distribution.
    sigma
        The prior of the residual SD, or of the scale of Student-t noise, likewise.
    others
        Priors by the names that the results have for what they are priors of. They go before the
        fields above; of what a model has besides, such as `nu` of Student-t noise, what is not
        named has the prior that the model gives it.
    base
        The named priors that these began as. With `scaled` the SDs of what is nested are of the
        response's unit, as all others.
    """

    factor_means: tuple[Normal, ...]
    factor_sds: tuple[Any, ...]
    sigma: Any
    others: Mapping[str, Any] = {}
    base: PriorName | None = None

    @classmethod
    def post(cls, data: CrossedData) -> "Priors":
        """Give the post's priors for a table: of log fold changes.

        Parameters
        ----------
        data
            The table.
        """
        require_table(data, "Priors.post")
        return post_priors(len(data.factors))._replace(base="post")

    @classmethod
    def scaled(cls, data: CrossedData) -> "Priors":
        """Give the same priors for the table's response standardized, in its own unit.

        Parameters
        ----------
        data
            The table.
        """
        require_table(data, "Priors.scaled")
        return scaled_priors(data)._replace(base="scaled")

    def replace(self, named: Mapping[str, Any] | None = None, /, **priors: Any) -> "Priors":
        """Replace some priors by the names that the results have for what they are priors of.

        Parameters
        ----------
        named
            Priors by name, where names are no Python identifiers, such as `cell line_sd`.
        **priors
            Priors by name: `{factor}_mean`, a Normal; `{factor}_sd`; `sigma`; and what else the
            model has, such as `nu` or `interaction_share`. A fit refuses names that it has not.

        Examples
        --------
        >>> cj.Priors.scaled(data).replace(gene_sd=cj.HalfNormal(2), sigma=cj.Exponential(3))
        """
        return self._replace(others={**self.others, **(named or {}), **priors})

    def by_name(self, factor_names: Sequence[str]) -> dict[str, Any]:
        """All priors under the names that the results have for what they are priors of."""
        means = [of_factor(name, "mean") for name in factor_names]
        sds = [of_factor(name, "sd") for name in factor_names]
        named = zip([*means, *sds], [*self.factor_means, *self.factor_sds], strict=True)
        return dict(named) | {"sigma": self.sigma} | dict(self.others)

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

    def log_factor_sds(self, log_sds: Array) -> Iterator[Array]:
        """Log-densities of the logarithms of the factors' SDs, the Jacobians included."""
        yield from map(log_density_of_log, self.factor_sds, log_sds)

    def log_scales(self, log_factor_sds: Array, log_sigma: Array) -> Array:
        """Log-density of the logarithms of all SDs, the Jacobian included."""
        log_density = log_density_of_log(self.sigma, log_sigma)
        return sum(self.log_factor_sds(log_factor_sds), start=log_density)


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


def resolve_priors(
    priors: PriorName | Priors, data: CrossedData, defaults: Mapping[str, Any]
) -> Priors:
    """Turn a name into priors for a table, or check priors that were given.

    Parameters
    ----------
    priors
        As given.
    data
        The table.
    defaults
        Priors of what the model has besides means and SDs, by name.

    Raises
    ------
    InputError
        If the name is unknown, there is not one prior for each factor, a factor mean's prior is
        not Normal, an SD's prior can be negative, or a parameter makes no sense.
    """
    if isinstance(priors, Priors):
        return _checked(priors, data, _in_unit(priors.base, data, defaults))
    if isinstance(priors, str) and priors in _NAMED:
        named = post_priors(len(data.factors)) if priors == "post" else scaled_priors(data)
        return named._replace(others=_in_unit(priors, data, defaults))
    raise InputError(f"unknown priors {told(priors)}: choose 'post' or 'scaled', or give a Priors.")


def _in_unit(base: str | None, data: CrossedData, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Give a model's own priors, SDs of what is nested in the response's unit if it is scaled."""
    if base != "scaled":
        return dict(defaults)
    sd = scaled_priors(data).sigma
    of_units = {of_factor(each.units.name, "sd") for each in data.units}
    return {name: sd if name in of_units else prior for name, prior in defaults.items()}


def _checked(priors: Priors, data: CrossedData, defaults: Mapping[str, Any]) -> Priors:
    """Refuse priors that make no sense, and make the numbers of the others plain."""
    for part in ("factor_means", "factor_sds"):
        given = getattr(priors, part)
        if hasattr(given, "log_prob") or not isinstance(given, tuple | list):
            raise InputError(
                f"priors.{part} is {told(given)}: give a tuple of one distribution for each factor."
            )
        if len(given) != len(data.factors):
            raise InputError(
                f"priors.{part} has {len(given)} distributions for {len(data.factors)} factors: "
                "give one for each factor."
            )
    if not isinstance(priors.others, Mapping):
        raise InputError(
            f"priors.others is {told(priors.others)}: give priors by name, such as "
            "others={'nu': Gamma(2, 0.1)}."
        )
    factors = data.factor_names
    own = priors._replace(others={}).by_name(factors)
    for name in priors.others:
        if name not in own and name not in defaults:
            raise InputError(
                f"there is no prior of {told(name)} in this model: it has "
                f"{', '.join([*own, *defaults])}."
            )
    given = own | dict(defaults) | dict(priors.others)
    sds = [of_factor(name, "sd") for name in factors]
    return Priors(
        tuple(
            checked_mean_prior(name, given[name])
            for name in (of_factor(factor, "mean") for factor in factors)
        ),
        tuple(checked_positive_prior(name, given[name]) for name in sds),
        checked_positive_prior("sigma", given["sigma"]),
        {name: _checked_other(name, given[name], default) for name, default in defaults.items()},
    )


def _checked_other(name: str, prior: Any, default: Any) -> Any:
    """Refuse a prior of numbers of another kind than those that the model's own is of."""
    of_share = isinstance(default, LogitNormal)
    return (checked_share_prior if of_share else checked_positive_prior)(name, prior)


def describe_priors(priors: Priors, data: CrossedData, given: PriorName | Priors | str) -> dict:
    """Describe priors in plain values that fit into JSON, for the record of a run.

    Parameters
    ----------
    priors
        As they were resolved.
    data
        The table.
    given
        As they were given.
    """
    factor_names = [factor.name for factor in data.factors]
    means = priors.factor_means
    sds = dict(zip(factor_names, priors.factor_sds, strict=True))
    return {
        **_named(given),
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
        **{name: spell(prior) for name, prior in priors.others.items()},
    }


def _named(given: PriorName | Priors | str) -> dict[str, str]:
    if not isinstance(given, Priors):
        return {"name": given}
    return {"name": "custom"} | ({} if given.base is None else {"base": given.base})


def exact_priors(priors: Priors, data: CrossedData) -> dict[str, str]:
    """Write priors out so that no two different ones read the same.

    Raises
    ------
    InputError
        If one is not of this package or NumPyro: what it computes may change from run to run.
    """
    written = {}
    for name, prior in priors.by_name(data.factor_names).items():
        try:
            written[name] = spell(prior, exactly=True)
        except TypeError as error:
            raise InputError(
                f"the prior of {name} cannot be kept in a checkpoint, as {error} may be another "
                "in the next run: give a distribution of numpyro, or leave the checkpoint out."
            ) from None
    return written


def _median(prior: Any) -> float | None:
    try:
        with jax.enable_x64(True):
            return float(prior.icdf(0.5))
    except (NotImplementedError, ImportError):  # some quantiles need an optional package
        return None
