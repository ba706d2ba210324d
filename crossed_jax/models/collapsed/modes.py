"""The modes of a collapsed posterior, looked for before it is sampled.

With the effects integrated out a posterior has a handful of coordinates, the log SDs. Where data
and priors quarrel it may have several modes that no chain walks between: an intercept far from its
prior may be explained by any factor's SD, and an SD whose prior lies far below what the data say
may be small or not. So the log-density is evaluated on a coarse grid, the local maxima found there
are climbed to the top, and those with a valley between them are modes. Chains then start in each
mode that has some of the mass, by Laplace's approximation.

Of a table with a dense block only the box is searched in which its log-density is known
(:mod:`crossed_jax.models.collapsed.interpolation`), where the likelihood alone is not negligible.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy import ndimage, optimize

from crossed_jax.models.collapsed.interpolation import Series
from crossed_jax.models.parameterization import Parameterization
from crossed_jax.models.sd_coordinate import FAR_LEFT, coordinates
from crossed_jax.tables.names import of_factor

GRID_POINTS = 40_000
# How far the grid reaches beyond the estimates, in log SD. No prior makes the noise much smaller
# than the residuals are.
BELOW, BELOW_SIGMA, ABOVE = 25.0, 4.0, 1.5
VALLEY = 2.0  # of log-density: a shallower one is no hindrance
LEAST_SHARE = 1e-3
MOST_CLIMBS = 30
EDGE = 0.02  # of a box's width


class Modes(NamedTuple):
    """Modes that hold some of the posterior's mass, the largest first.

    Attributes
    ----------
    log_sds
        Of the factors and the residual, shape (modes, factors + 1).
    shares
        Of the mass, shape (modes,).
    """

    log_sds: np.ndarray
    shares: np.ndarray


def find_modes(
    parameterization: Parameterization,
    model_data: Any,
    evaluate: Callable[[Parameterization, Any, np.ndarray], np.ndarray],
) -> Modes | None:
    """Look for the modes of the posterior; None if there is but one.

    Parameters
    ----------
    parameterization, model_data
        As the collapsed form of a table gives them.
    evaluate
        (parameterization, model data, flat positions of shape (points, coordinates)) -> the
        log-density at each, shape (points,).
    """
    point = model_data.estimate
    # with all anchors out of the way the coordinates are the log SDs
    model_data = model_data._replace(anchors=np.log(point.factor_sds) + 2.0 * FAR_LEFT)
    grids = _grids(model_data)
    places = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1)
    values = evaluate(parameterization, model_data, places.reshape(-1, len(grids))).reshape(
        places.shape[:-1]
    )
    values = np.where(np.isnan(values) | _outside(model_data, places), -np.inf, values)
    peaks = (values == ndimage.maximum_filter(values, size=3)) & np.isfinite(values)
    if np.count_nonzero(peaks) < 2:
        return None
    highest = np.argsort(-values[peaks])[:MOST_CLIMBS]
    density = _LogDensity(parameterization, model_data, [(grid[0], grid[-1]) for grid in grids])
    tops = sorted(
        (density.climb(place) for place in places[peaks][highest]), key=lambda top: -top[1]
    )
    modes: list[tuple[np.ndarray, float]] = []
    for place, height in tops:
        if all(density.valley_between(place, mode) > VALLEY for mode, _ in modes):
            modes.append((place, height))
    if len(modes) < 2:
        return None
    log_mass = np.array([height - 0.5 * density.log_curvature(place) for place, height in modes])
    shares = np.exp(log_mass - log_mass.max())
    shares /= shares.sum()
    order = np.argsort(-shares)
    order = order[shares[order] >= LEAST_SHARE]
    return Modes(np.array([modes[i][0] for i in order]), shares[order] / shares[order].sum())


def start_in(modes: Modes, model_data: Any, num_chains: int) -> tuple[Any, np.ndarray]:
    """Share the chains out among the modes, by their mass but at least one to each while they last.

    Returns
    -------
    model_data
        Without the anchors (:mod:`crossed_jax.models.sd_coordinate`) that a mode lies behind.
    shifts
        From the estimate to the mode in which each chain starts, shape (chains, coordinates).
    """
    chains = np.zeros(len(modes.shares), int)
    for number in range(num_chains):
        chains[np.argmax(modes.shares / (chains + 1)) if chains.all() else number] += 1
    log_sds = np.repeat(modes.log_sds, chains, axis=0)
    point, anchors = model_data.estimate, model_data.anchors
    behind = modes.log_sds[:, :-1].min(0) < anchors - 1.0
    anchors = np.where(behind, np.log(point.factor_sds) + FAR_LEFT, anchors)
    start = np.append(coordinates(np.log(point.factor_sds), anchors), np.log(point.sigma))
    ends = np.column_stack([coordinates(log_sds[:, :-1], anchors), log_sds[:, -1]])
    return model_data._replace(anchors=anchors), ends - start


def describe(modes: Modes, factor_names: Sequence[str]) -> list[dict[str, float]]:
    """Give each mode's SDs by name, and its share of the mass."""
    names = (*(of_factor(factor, "sd") for factor in factor_names), "sigma")
    return [
        dict(zip(names, np.exp(log_sds).tolist(), strict=True)) | {"share": float(share)}
        for log_sds, share in zip(modes.log_sds, modes.shares, strict=True)
    ]


def _outside(model_data: Any, log_sds: np.ndarray) -> np.ndarray:
    """Whether log SDs, shape (..., factors + 1), lie where the log-density is not known.

    That is outside the box of a table with a dense block. What lies by an edge counts: a density
    that rises beyond is at its highest there.
    """
    condensed = getattr(model_data, "condensed", None)
    if not isinstance(condensed, Series):
        return np.zeros(log_sds.shape[:-1], bool)
    log_ratios = 2.0 * (log_sds[..., model_data.gridded] - log_sds[..., -1:])
    x = np.logaddexp(0.0, np.log(condensed.kappa) + log_ratios)
    low, high = np.asarray(condensed.box).T
    room = EDGE * (high - low)
    return np.any((x < low + np.where(low > 0.0, room, 0.0)) | (x > high - room), axis=-1)


def _grids(model_data: Any) -> list[np.ndarray]:
    """A grid of each log SD, from far below the estimate to where it would explain any offset."""
    point = model_data.estimate
    log_sds = np.log(np.append(point.factor_sds, point.sigma))
    offset = abs(float(model_data.mean) - float(model_data.priors.sum_of_means.loc))
    widest = np.log(np.exp(log_sds.max()) + offset)
    top = widest + 0.5 * np.log(np.max(model_data.num_levels)) + ABOVE
    below = np.append(np.full(len(log_sds) - 1, BELOW), BELOW_SIGMA)
    number = int(GRID_POINTS ** (1.0 / len(log_sds)))
    return [np.linspace(low, top, number) for low in log_sds - below]


class _LogDensity:
    """The log-density at single points, and what is asked of its modes."""

    def __init__(
        self, parameterization: Parameterization, model_data: Any, bounds: list[tuple[float, float]]
    ) -> None:
        _, unravel = ravel_pytree(parameterization.scale(model_data))
        self.bounds = bounds
        self.value = jax.jit(
            jax.vmap(lambda x: parameterization.log_density(unravel(x), model_data))
        )
        self.gradient = jax.jit(
            jax.value_and_grad(lambda x: -parameterization.log_density(unravel(x), model_data))
        )

    def climb(self, place: np.ndarray) -> tuple[np.ndarray, float]:
        """The top of the hill that a place is on, and its height."""

        def downwards(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = self.gradient(x)
            return float(np.nan_to_num(value, nan=np.inf)), np.nan_to_num(slope)

        top = optimize.minimize(downwards, place, jac=True, method="L-BFGS-B", bounds=self.bounds)
        return top.x, -float(top.fun)

    def valley_between(self, one: np.ndarray, other: np.ndarray) -> float:
        """How far the log-density falls on the straight way, below the lower of its two ends."""
        on_the_way = np.linspace(one, other, 101)
        values = np.asarray(self.value(on_the_way))
        return float(min(values[0], values[-1]) - np.nanmin(values))

    def log_curvature(self, place: np.ndarray, step: float = 1e-3) -> float:
        """Log-determinant of minus the Hessian, by central differences of the gradient."""
        shifts = step * np.eye(len(place))
        rows = [
            (np.asarray(self.gradient(place + s)[1]) - np.asarray(self.gradient(place - s)[1]))
            / (2.0 * step)
            for s in shifts
        ]
        curvatures = np.linalg.eigvalsh(0.5 * (np.array(rows) + np.array(rows).T))
        return float(np.log(np.maximum(curvatures, 1e-3)).sum())
