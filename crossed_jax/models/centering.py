r"""Which factors are centred.

A factor `k` may be centred (:math:`z = u`) or not (:math:`z = u / \sigma_k`). Both are one
expression, the partial centering of Papaspiliopoulos, Roberts and Sköld (2007, *Statistical
Science* 22:59) with weight :math:`w_k`, an argument of the compiled log-density:

.. math:: u = \sigma_k^{1 - w_k} z, \qquad z \sim \mathrm{Normal}(0, \sigma_k^{w_k}).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from crossed_jax.errors import InputError, told
from crossed_jax.models.distributions import Normal
from crossed_jax.statistics.cells import Cells
from crossed_jax.statistics.point_estimate import Estimate
from crossed_jax.tables.names import of_factor
from crossed_jax.types import Array

# With less, log-density falls too little towards an SD of zero for the draws to stay out of the
# funnel that the centred parameterization has there.
CENTERING_EVIDENCE = 5.0


def uncentered_factor(log_sd: Array, weight: Array) -> Array:
    """The factor sd^(1 - weight) that takes a partially centred coordinate to an effect."""
    return jnp.exp((1.0 - weight) * log_sd)


def centered_prior(log_sd: Array, weight: Array) -> Normal:
    """The prior Normal(0, sd^weight) of a partially centred coordinate."""
    return Normal(jnp.asarray(0.0), jnp.exp(weight * log_sd))


def centering_weights(wanted: Sequence[bool | None], cells: Cells, point: Estimate) -> np.ndarray:
    """Choose for each factor, 1 to centre it and 0 not to, where None leaves it to the data."""
    informed = (reliability(cells, point) > 0.5) & (point.evidence >= CENTERING_EVIDENCE)
    weights = [
        float(chosen if given is None else given)
        for given, chosen in zip(wanted, informed, strict=True)
    ]
    return np.asarray(weights)


def reliability(cells: Cells, point: Estimate) -> np.ndarray:
    """How much a typical level's data says against its prior, per factor, from 0 to 1.

    It is n / (n + sigma^2 / sd^2) for the factor's mean n rows per level: the weight that the
    level's own data has in its conditional mean. Above one half the centred parameterization has
    the milder posterior, below it the non-centred one (Papaspiliopoulos, Roberts and Sköld, 2007),
    unless the SD may be zero.
    """
    rows = np.array([np.mean(cells.level_sums(k, cells.counts)) for k in range(len(point.effects))])
    return rows / (rows + (point.sigma / point.factor_sds) ** 2)


def checked_centering(
    centered: Mapping[str, bool] | None, parameterization: str, factor_names: Sequence[str]
) -> dict[str, bool]:
    """Check which factors are asked to be centred, or not to be.

    Raises
    ------
    InputError
        If something else than factors is named, or the parameterization leaves no choice.
    """
    if centered is None:
        return {}
    if not isinstance(centered, Mapping):
        raise InputError(
            f"centered is {told(centered)}: give True or False by factor, such as "
            f"centered={{{factor_names[0]!r}: True}}."
        )
    if centered and parameterization not in ("original", "sum_to_zero"):
        raise InputError(
            f"the {parameterization} form samples no effects that could be centered: leave out "
            "centered, or choose parameterization='sum_to_zero'."
        )
    for name, wanted in centered.items():
        if name not in factor_names:
            raise InputError(
                f"cannot center {told(name)}: the factors are {', '.join(factor_names)}."
            )
        if not isinstance(wanted, bool | np.bool_):
            raise InputError(f"centered is {told(wanted)} for {name!r}: give True or False.")
    return {str(name): bool(wanted) for name, wanted in centered.items()}


def describe_centering(
    weights: Array, evidence: np.ndarray, factor_names: Sequence[str]
) -> dict[str, Any]:
    """Say which factors are centred, and the SDs that have a funnel because theirs are."""
    centered = {name: bool(w) for name, w in zip(factor_names, weights, strict=True)}
    funnels = [
        of_factor(name, "sd")
        for (name, chosen), firmness in zip(centered.items(), evidence, strict=True)
        if chosen and firmness < CENTERING_EVIDENCE
    ]
    return {"centered": centered, "funnels": funnels}
