r"""Interpolation of smooth functions on a box by products of Chebyshev polynomials.

On an interval mapped to :math:`[-1, 1]`, the polynomial of degree `n - 1` through the values at the
Chebyshev nodes :math:`\cos(\pi (i + 1/2)/n)` has coefficients given by a discrete cosine
transform, and an error that falls as :math:`\varrho^{-n}`, where :math:`\varrho` is the sum of the
half-axes of the largest ellipse about the interval in which the function is analytic (Trefethen,
2019, *Approximation Theory and Approximation Practice*, theorem 8.2).
"""

from collections.abc import Sequence
from functools import reduce
from types import ModuleType

import jax.numpy as jnp
import numpy as np

from crossed_jax.types import Array


def namespace(array: Array) -> ModuleType:
    """NumPy for arrays on the host, jax.numpy for others."""
    return np if isinstance(array, np.ndarray) else jnp


def num_nodes(half_width: float, distance: float, tolerance: float) -> int:
    """Nodes for a relative error below a tolerance.

    Parameters
    ----------
    half_width
        Half the width of the interval.
    distance
        Of the nearest singularity from the real axis.
    tolerance
        Relative error allowed.
    """
    aspect = distance / max(half_width, 1e-12)
    return max(2, int(np.ceil(-np.log(tolerance) / np.arcsinh(aspect))))


def nodes(low: float, high: float, number: int) -> np.ndarray:
    """Chebyshev nodes of an interval, from high to low, shape (number,)."""
    return low + (high - low) * (_roots(number) + 1.0) / 2.0


def coefficients(values: np.ndarray, num_axes: int) -> np.ndarray:
    """Coefficients of the interpolating polynomial.

    Parameters
    ----------
    values
        At the product of the axes' nodes: leading dimensions one per axis, then any.
    num_axes
        Of the box.
    """
    axes = map(values_to_coefficients, values.shape[:num_axes])
    transform = reduce(np.kron, axes).astype(values.dtype)
    return (transform @ values.reshape(len(transform), -1)).reshape(values.shape)


def values_to_coefficients(number: int) -> np.ndarray:
    """Matrix that takes values at the nodes to coefficients, shape (number, number)."""
    transform = np.polynomial.chebyshev.chebvander(_roots(number), number - 1).T * (2.0 / number)
    transform[0] /= 2.0
    return transform


def basis(point: Array, box: Array, shape: Sequence[int]) -> Array:
    """Evaluate all products of Chebyshev polynomials at a point of a box.

    Parameters
    ----------
    point
        Shape (..., axes).
    box
        Lowest and highest value of each axis, shape (axes, 2).
    shape
        Polynomials along each axis.

    Returns
    -------
    Array
        Shape (..., *shape).
    """
    xp = namespace(point)
    scaled = 2.0 * (point - box[:, 0]) / (box[:, 1] - box[:, 0]) - 1.0
    product = xp.ones(point.shape[:-1])
    for axis, number in enumerate(shape):
        t = scaled[..., axis]
        terms = [xp.ones_like(t), t]
        for _ in range(number - 2):
            terms.append(2.0 * t * terms[-1] - terms[-2])
        along = xp.stack(terms[:number], -1)
        product = product[..., None] * along.reshape(*t.shape, *(1,) * axis, number)
    return product


def _roots(number: int) -> np.ndarray:
    return np.cos(np.pi * (np.arange(number) + 0.5) / number)
