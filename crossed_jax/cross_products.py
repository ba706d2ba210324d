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

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from crossed_jax.cells import Cells, crosstab


class ProportionalPairs(NamedTuple):
    """Pairs seen in proportion to their levels' counts, as in every balanced table: O(levels)."""

    row_counts: jax.Array
    column_counts: jax.Array

    def bilinear(self, rows: jax.Array, columns: jax.Array) -> jax.Array:
        total = self.row_counts.sum()
        return (self.row_counts @ rows) * (self.column_counts @ columns) / total


class DensePairs(NamedTuple):
    """Counts of all pairs as a matrix."""

    counts: jax.Array

    def bilinear(self, rows: jax.Array, columns: jax.Array) -> jax.Array:
        return rows @ (self.counts @ columns)


class SparsePairs(NamedTuple):
    """Counts of the pairs that were seen, in row-major order."""

    row: jax.Array
    column: jax.Array
    counts: jax.Array

    def bilinear(self, rows: jax.Array, columns: jax.Array) -> jax.Array:
        return jnp.sum(self.counts * rows[self.row] * columns[self.column])


Pairs = ProportionalPairs | DensePairs | SparsePairs


class CrossProducts(NamedTuple):
    """The cross-products of a crossed table about a fixed centre.

    Attributes
    ----------
    count
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

    count: jax.Array
    level_counts: tuple[jax.Array, ...]
    pairs: tuple[Pairs, ...]
    center_intercept: jax.Array
    center_effects: tuple[jax.Array, ...]
    sum_squares: jax.Array
    level_sums: tuple[jax.Array, ...]


def cross_products(
    cells: Cells, center_intercept: np.ndarray, center_effects: tuple[np.ndarray, ...]
) -> CrossProducts:
    """Build the cross-products of a table about a centre; see the module's formula."""
    num_factors = len(cells.num_levels)
    residual = cells.mean - center_intercept
    for k, effects in enumerate(center_effects):
        residual = residual - effects[cells.codes[:, k]]
    level_counts = tuple(cells.level_sums(k, cells.count) for k in range(num_factors))
    pairs = tuple(
        _pairs(crosstab(cells, j, k), level_counts[j], level_counts[k])
        for j in range(num_factors)
        for k in range(j + 1, num_factors)
    )
    return CrossProducts(
        count=cells.count.sum(),
        level_counts=level_counts,
        pairs=pairs,
        center_intercept=np.asarray(center_intercept, float),
        center_effects=center_effects,
        sum_squares=cells.sum_squares_within + cells.count @ residual**2,
        level_sums=tuple(cells.level_sums(k, cells.count * residual) for k in range(num_factors)),
    )


def _pairs(
    counts: np.ndarray | sparse.csr_array, row_counts: np.ndarray, column_counts: np.ndarray
) -> Pairs:
    if isinstance(counts, np.ndarray):
        # whole numbers: the comparison is exact
        if np.array_equal(counts * row_counts.sum(), np.outer(row_counts, column_counts)):
            return ProportionalPairs(row_counts, column_counts)
        return DensePairs(counts)
    seen = counts.tocoo()
    return SparsePairs(seen.row, seen.col, seen.data)


def sum_of_squares(
    table: CrossProducts, intercept: jax.Array, effects: tuple[jax.Array, ...]
) -> jax.Array:
    """Sum over rows of the squared distance between the response and its expectation.

    Parameters
    ----------
    table
        The cross-products of the table.
    intercept
        Scalar.
    effects
        For each factor, shape (levels,). They need not sum to zero.
    """
    shift = intercept - table.center_intercept
    shifts = [e - c for e, c in zip(effects, table.center_effects, strict=True)]
    linear = shift * table.level_sums[0].sum()
    square = table.count * shift**2
    for d, n, r in zip(shifts, table.level_counts, table.level_sums, strict=True):
        linear += d @ r
        square += n @ d**2 + 2 * shift * (n @ d)
    index = ((j, k) for j in range(len(shifts)) for k in range(j + 1, len(shifts)))
    for (j, k), pairs in zip(index, table.pairs, strict=True):
        square += 2 * pairs.bilinear(shifts[j], shifts[k])
    return table.sum_squares - 2 * linear + square


def gaussian_log_likelihood(
    table: CrossProducts,
    intercept: jax.Array,
    effects: tuple[jax.Array, ...],
    sigma: jax.Array,
) -> jax.Array:
    """Log-density of all responses, independent Normal(intercept + effects, sigma)."""
    squares = sum_of_squares(table, intercept, effects)
    return -table.count * jnp.log(sigma) - 0.5 * (
        table.count * jnp.log(2 * jnp.pi) + squares / sigma**2
    )
