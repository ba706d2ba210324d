r"""The Gaussian likelihood as a quadratic form in the model's coordinates.

Take the residuals :math:`r_i = y_i - \hat\mu_i` about any fixed centre :math:`\hat\mu`, and write
:math:`d` for what an intercept and effects differ from that centre. Then exactly

.. math::
    \sum_i (y_i - \mu_i)^2 = \sum_i r_i^2 - 2 \Big(d_0 r_\cdot + \sum_k d_k^\top r_k\Big)
        + N d_0^2 + 2 d_0 \sum_k n_k^\top d_k + \sum_k n_k^\top d_k^2
        + 2 \sum_{j<k} d_j^\top N_{jk} d_k

where :math:`r_k` and :math:`n_k` sum residuals and rows over each level of factor `k` and
:math:`N_{jk}` counts the rows of each pair of levels. These cross-products are built once; a
log-density then never sees a row, nor a cell where the pairs are balanced. A centre near the
posterior mode keeps every term small, so that no digits cancel, whatever the response's offset.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from crossed_jax.statistics.cells import Cells, crosstab
from crossed_jax.types import Array


class ProportionalPairs(NamedTuple):
    """Pairs seen in proportion to their levels' counts, as in every balanced table: O(levels)."""

    row_counts: Array
    column_counts: Array

    def bilinear(self, rows: Array, columns: Array) -> Array:
        total = self.row_counts.sum()
        return (self.row_counts @ rows) * (self.column_counts @ columns) / total


class DensePairs(NamedTuple):
    """Counts of all pairs as a matrix."""

    counts: Array

    def bilinear(self, rows: Array, columns: Array) -> Array:
        return rows @ (self.counts @ columns)


class Neighbours(NamedTuple):
    """For each level of one factor, the levels of the other that it was seen with.

    Levels with up to 1, 2, 4, 8, ... neighbours are padded to that length and summed together, so
    that a gradient gathers from either side, where the transpose of one gather would scatter.

    Attributes
    ----------
    levels, counts
        For each length, the neighbours and the rows of each pair, shape (levels, length).
    place
        Where a level stands when those of all lengths are put in a row, shape (levels,).
    """

    levels: tuple[Array, ...]
    counts: tuple[Array, ...]
    place: Array

    def sums(self, values: Array) -> Array:
        """Sum a value of each neighbour, times the pair's rows, shape (levels,)."""
        parts = [
            jnp.sum(counts * values[levels], axis=1)
            for levels, counts in zip(self.levels, self.counts, strict=True)
        ]
        return jnp.concatenate(parts)[self.place]


class SparsePairs(NamedTuple):
    """The pairs that were seen, from either factor's side."""

    of_rows: Neighbours
    of_columns: Neighbours

    def bilinear(self, rows: Array, columns: Array) -> Array:
        return _bilinear(self, rows, columns)


@jax.custom_vjp
def _bilinear(pairs: SparsePairs, rows: Array, columns: Array) -> Array:
    return rows @ pairs.of_rows.sums(columns)


def _bilinear_forward(pairs: SparsePairs, rows: Array, columns: Array) -> tuple:
    by_rows, by_columns = pairs.of_rows.sums(columns), pairs.of_columns.sums(rows)
    return rows @ by_rows, (by_rows, by_columns)


def _bilinear_backward(gradients: tuple[Array, Array], cotangent: Array) -> tuple:
    by_rows, by_columns = gradients
    return None, cotangent * by_rows, cotangent * by_columns


_bilinear.defvjp(_bilinear_forward, _bilinear_backward)


Pairs = ProportionalPairs | DensePairs | SparsePairs


class CrossProducts(NamedTuple):
    """The cross-products of a crossed table about a fixed centre.

    Attributes
    ----------
    num_rows
        N, the number of rows.
    level_counts
        For each factor, rows per level, shape (levels,).
    pairs
        Counts of the pairs of levels for each two factors (j, k), j < k, in lexicographic order.
    center_intercept, center_effects
        The centre: a scalar, and for each factor shape (levels,).
    sum_squares
        Residual sum of squares about the centre.
    level_sums
        For each factor, residuals about the centre summed over each level, shape (levels,).
    """

    num_rows: Array
    level_counts: tuple[Array, ...]
    pairs: tuple[Pairs, ...]
    center_intercept: Array
    center_effects: tuple[Array, ...]
    sum_squares: Array
    level_sums: tuple[Array, ...]


def cross_products(
    cells: Cells, center_intercept: np.ndarray, center_effects: tuple[np.ndarray, ...]
) -> CrossProducts:
    """Build the cross-products of a table about a centre; see the module's formula."""
    num_factors = len(cells.num_levels)
    residual = cells.residuals(center_intercept, center_effects)
    level_counts = tuple(cells.level_sums(k, cells.counts) for k in range(num_factors))
    pairs = tuple(
        _pairs(crosstab(cells, j, k), level_counts[j], level_counts[k])
        for j in range(num_factors)
        for k in range(j + 1, num_factors)
    )
    return CrossProducts(
        num_rows=cells.counts.sum(),
        level_counts=level_counts,
        pairs=pairs,
        center_intercept=np.asarray(center_intercept, float),
        center_effects=center_effects,
        sum_squares=cells.sum_squares_within + cells.counts @ residual**2,
        level_sums=tuple(cells.level_sums(k, cells.counts * residual) for k in range(num_factors)),
    )


def _pairs(
    counts: np.ndarray | sparse.csr_array, row_counts: np.ndarray, column_counts: np.ndarray
) -> Pairs:
    if isinstance(counts, np.ndarray):
        # whole numbers: the comparison is exact
        if np.array_equal(counts * row_counts.sum(), np.outer(row_counts, column_counts)):
            return ProportionalPairs(row_counts, column_counts)
        return DensePairs(counts)
    return SparsePairs(neighbours(counts.tocsr()), neighbours(counts.T.tocsr()))


def neighbours(counts: sparse.csr_array) -> Neighbours:
    """Read the neighbours of each row off a sparse matrix of counts."""
    number = np.diff(counts.indptr)
    length = 2 ** np.ceil(np.log2(np.maximum(number, 1))).astype(int)
    lengths = np.unique(length)
    index, padded, order = [], [], []
    for size in lengths:
        levels = np.flatnonzero(length == size)
        entry = counts.indptr[levels, None] + np.arange(size)
        there = np.arange(size) < number[levels, None]
        entry = np.where(there, entry, 0)
        index.append(np.where(there, counts.indices[entry], 0))
        padded.append(np.where(there, counts.data[entry], 0.0))
        order.append(levels)
    return Neighbours(tuple(index), tuple(padded), np.argsort(np.concatenate(order)))


def sum_of_squares(products: CrossProducts, intercept: Array, effects: tuple[Array, ...]) -> Array:
    """Sum over rows of the squared distance between the response and its expectation.

    Parameters
    ----------
    products
        The cross-products of the table.
    intercept
        Scalar.
    effects
        For each factor, shape (levels,). They need not sum to zero.
    """
    shift = intercept - products.center_intercept
    shifts = [e - c for e, c in zip(effects, products.center_effects, strict=True)]
    linear = shift * products.level_sums[0].sum()
    square = products.num_rows * shift**2
    for d, n, r in zip(shifts, products.level_counts, products.level_sums, strict=True):
        linear += d @ r
        square += n @ d**2 + 2 * shift * (n @ d)
    index = ((j, k) for j in range(len(shifts)) for k in range(j + 1, len(shifts)))
    for (j, k), pairs in zip(index, products.pairs, strict=True):
        square += 2 * pairs.bilinear(shifts[j], shifts[k])
    return products.sum_squares - 2 * linear + square


def gaussian_log_likelihood(
    products: CrossProducts,
    intercept: Array,
    effects: tuple[Array, ...],
    sigma: Array,
) -> Array:
    """Log-density of all responses, independent Normal(intercept + effects, sigma)."""
    squares = sum_of_squares(products, intercept, effects)
    constant = 0.5 * math.log(2 * math.pi)
    return -products.num_rows * (constant + jnp.log(sigma)) - 0.5 * squares / sigma**2
