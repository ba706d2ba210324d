r"""A table with a dense block: what it condenses to, interpolated over the ratios of variances.

:math:`\log|H|` and :math:`\Gamma` of :mod:`crossed_jax.models.collapsed.elimination` depend on the
ratios :math:`\rho` of the eliminated factor and of the dense block alone, and smoothly. They are
interpolated by Chebyshev polynomials in

.. math:: x_k = \log(1 + \kappa_k \rho_k), \qquad \kappa_k \text{ the most rows of any level of } k,

for which :math:`\sigma_k \to 0` is the finite point :math:`x_k = 0`, and the singularities
:math:`1 + n\rho = 0, n \le \kappa` lie at least :math:`\pi` off the real axis, so that the number
of nodes follows from the width of the box. The box covers the posterior, or grows.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.models.collapsed import chebyshev
from crossed_jax.models.collapsed.block_products import FEW_LEVELS, BlockProducts
from crossed_jax.models.collapsed.border import border_system
from crossed_jax.models.collapsed.elimination import Condensed, Eliminated, condense, eliminate
from crossed_jax.models.priors import Priors
from crossed_jax.statistics.point_estimate import Estimate
from crossed_jax.types import Array

MOST_DENSE_FACTORS = 2  # nodes multiply with every factor
LOG_DENSITY_TOLERANCE = 1e-7
DISTANCE = np.pi  # of the nearest singularity in x
HALF_WIDTH = 11.0  # of the first box, in units of sqrt(2/(levels - 1))
DROP = 18.0  # in log-density: what lies further down has a mass below 1e-7
MOST_BOXES = 20


class Series(NamedTuple):
    """Chebyshev series of what a table condenses to, on a box of x.

    Attributes
    ----------
    box
        Lowest and highest x of each gridded factor, shape (gridded, 2).
    kappa
        Shape (gridded,).
    log_det, gram
        Coefficients, leading dimensions one per gridded factor.
    """

    box: Array
    kappa: Array
    log_det: Array
    gram: Array

    def at(self, log_ratios: Array) -> tuple[Condensed, Array]:
        """Condense at log ratios of shape (..., gridded); and say how far outside the box."""
        xp = chebyshev.namespace(log_ratios)
        low, high = self.box[:, 0], self.box[:, 1]
        x = xp.log1p(self.kappa * xp.exp(log_ratios))
        inside = xp.clip(x, low, high)
        axes = self.log_det.ndim
        basis = chebyshev.basis(inside, self.box, self.log_det.shape)
        condensed = Condensed(
            xp.tensordot(basis, self.log_det, axes), xp.tensordot(basis, self.gram, axes)
        )
        return condensed, xp.sum(((x - inside) / (high - low)) ** 2, -1)


def at_nodes(
    products: BlockProducts, box: np.ndarray, shape: tuple[int, ...]
) -> Iterator[tuple[Eliminated, np.ndarray]]:
    """Eliminate at each node of a box, the eliminated factor's outermost.

    Yields
    ------
    Eliminated
        At the node's ratio of the eliminated factor.
    ndarray
        The node's ratios of the dense block's factors.
    """
    axes = [
        np.expm1(chebyshev.nodes(low, high, number)) / kappa
        for (low, high), number, kappa in zip(box, shape, products.kappa, strict=True)
    ]
    for ratio in axes[0]:
        eliminated = eliminate(products, ratio)
        for dense_ratios in product(*axes[1:]):
            yield eliminated, np.array(dense_ratios)


def interpolate(products: BlockProducts, box: np.ndarray) -> Series:
    """Condense a table at the Chebyshev nodes of a box.

    The series are padded with zeros to a few common lengths, so that most tables share one
    compiled log-density.

    Raises
    ------
    InputError
        If too many factors have many levels.
    """
    if len(products.dense) > MOST_DENSE_FACTORS:
        raise InputError(
            f"{len(products.dense) + 1} factors with more than {FEW_LEVELS} levels are too many "
            "for the collapsed form: fit with parameterization='sum_to_zero'."
        )
    shape = tuple(
        max(3, chebyshev.num_nodes((high - low) / 2.0, DISTANCE, LOG_DENSITY_TOLERANCE))
        for low, high in box
    )
    values = [
        condense(products, eliminated, dense_ratios)
        for eliminated, dense_ratios in at_nodes(products, box, shape)
    ]
    log_det = np.array([v.log_det for v in values]).reshape(shape)
    gram = np.array([v.gram for v in values]).reshape(*shape, *products.border_gram.shape)
    pad = [(0, 8 * -(-number // 8) - number) for number in shape]
    return Series(
        box,
        products.kappa,
        np.pad(chebyshev.coefficients(log_det, len(shape)), pad),
        np.pad(chebyshev.coefficients(gram, len(shape)), [*pad, (0, 0), (0, 0)]),
    )


def interpolate_over_posterior(products: BlockProducts, priors: Priors, point: Estimate) -> Series:
    """Interpolate over a box about an estimate, moved and widened until it covers the posterior.

    That is, until the profile likelihood is negligible at its edges.

    Raises
    ------
    InputError
        If it never is, or if too many factors have many levels.
    """
    gridded = products.gridded
    levels = np.array([products.num_levels[k] for k in gridded])
    center = np.log1p(products.kappa * (point.factor_sds[gridded] / point.sigma) ** 2)
    half = HALF_WIDTH * np.sqrt(2.0 / (levels - 1.0))
    box = np.stack([np.maximum(center - half, 0.0), center + half], axis=1)
    for _ in range(MOST_BOXES):
        series = interpolate(products, box)
        better = _better_box(series, products, priors, point)
        if better is None:
            return series
        box = better
    raise InputError(
        "the likelihood of the variance ratios has no end in sight: fit with "
        "parameterization='sum_to_zero'."
    )


def _better_box(
    series: Series, products: BlockProducts, priors: Priors, point: Estimate, points: int = 41
) -> np.ndarray | None:
    """Move a box to where the likelihood is, or return None if it covers it well."""
    box = np.asarray(series.box)
    axes = [np.linspace(low, high, points) for low, high in box]
    near = _profile_likelihood(series, axes, products, priors, point)
    near = near > near.max() - DROP
    better = box.copy()
    for axis, grid in enumerate(axes):
        others = tuple(other for other in range(len(axes)) if other != axis)
        inside = np.flatnonzero(near.any(others))
        low, high = inside[0], inside[-1]
        cut_low, cut_high = low == 0 and box[axis, 0] > 0.0, high == points - 1
        if cut_low or cut_high or high - low < 0.4 * (points - 1):
            pad = max(2, (high - low) // 10)
            width = box[axis, 1] - box[axis, 0]
            better[axis] = (
                max(grid[max(low - pad, 0)] - cut_low * width, 0.0),
                grid[min(high + pad, points - 1)] + cut_high * width,
            )
    return None if np.array_equal(better, box) else better


def _profile_likelihood(
    series: Series,
    axes: list[np.ndarray],
    products: BlockProducts,
    priors: Priors,
    point: Estimate,
) -> np.ndarray:
    """Log-likelihood on a grid of x, maximized over sigma, the border's relative SDs held fixed."""
    log_det, gram = np.asarray(series.log_det), np.asarray(series.gram)
    for axis, (grid, limits) in enumerate(zip(axes, series.box, strict=True)):
        along = chebyshev.basis(grid[:, None], limits[None], (log_det.shape[axis],))
        log_det = np.moveaxis(np.tensordot(along, log_det, (1, axis)), 0, axis)
        gram = np.moveaxis(np.tensordot(along, gram, (1, axis)), 0, axis)
    intercept = priors.sum_of_means
    border_sds = point.factor_sds[products.border_owner]
    relative_sds = np.concatenate([[float(intercept.scale)], border_sds]) / point.sigma
    matrix, score, total = border_system(gram, relative_sds, float(intercept.loc) - products.mean)
    explained = (score * np.linalg.solve(matrix, score[..., None])[..., 0]).sum(-1)
    squares = np.maximum(total - explained, np.finfo(float).tiny)
    return -0.5 * (products.rows.sum() * np.log(squares) + log_det + np.linalg.slogdet(matrix)[1])
