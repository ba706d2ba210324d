r"""The collapsed form as the sampler sees it: a log-density of the log SDs, and what they are.

With the effects integrated out only :math:`\log\sigma_1, \dots, \log\sigma_K, \log\sigma` are
left, the first moved in the coordinates of :mod:`crossed_jax.models.sd_coordinate`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from crossed_jax.models.parameterization import Parameterization, log_sd_scales, scatter
from crossed_jax.models.sd_coordinate import coordinates, log_sds
from crossed_jax.types import Array


class LogSDs(NamedTuple):
    """What the posterior depends on once the effects are integrated out; (factors,) and scalar."""

    log_factor_sds: Array
    log_sigma: Array


class SDs(NamedTuple):
    """The SDs of the factors' levels and of the noise: what is kept of each draw.

    Shapes (factors,) and scalar; of draws, (chains, draws, factors) and (chains, draws).
    """

    factor_sds: Array
    sigma: Array


class SDPosition(NamedTuple):
    """A position of the sampler; see `sd_coordinate`."""

    factor_sds: Array
    log_sigma: Array


def collapsed_parameterization(
    log_density: Callable[[LogSDs, Any], Array],
) -> Parameterization[SDPosition, Any]:
    """Make a form of a log-density of the log SDs.

    What it keeps of a draw are the :class:`SDs`, which the effects are drawn given; names as in the
    results come with those.

    Parameters
    ----------
    log_density
        (log SDs, data) -> log posterior density. The data has the attributes `anchors`,
        `estimate`, `num_levels` and `num_rows`.
    """

    def density(position: SDPosition, data: Any) -> Array:
        log_factor_sds, log_jacobian = log_sds(position.factor_sds, data.anchors)
        return log_density(LogSDs(log_factor_sds, position.log_sigma), data) + log_jacobian

    def start(key: jax.Array, data: Any) -> SDPosition:
        point = data.estimate
        center = SDPosition(
            coordinates(jnp.log(point.factor_sds), data.anchors), jnp.log(point.sigma)
        )
        return scatter(key, center, scale(data))

    def scale(data: Any) -> SDPosition:
        return SDPosition(*log_sd_scales(data.num_levels, data.num_rows))

    def sds(position: SDPosition, data: Any) -> SDs:
        log_factor_sds, _ = log_sds(position.factor_sds, data.anchors)
        return SDs(jnp.exp(log_factor_sds), jnp.exp(position.log_sigma))

    return Parameterization("collapsed", density, start, scale, sds)
