r"""Effects integrated out by Schur complements, at given ratios of variances.

With :math:`\rho_k = \sigma_k^2/\sigma^2` and the blocks of
:mod:`crossed_jax.models.collapsed.block_products`, first the eliminated factor is integrated out,
whose block is diagonal, then the dense block:

.. math::
    D &= \rho_1/(1 + n\rho_1), \quad F = \mathrm{diag}\sqrt{\rho_c}, \quad
        S = I + F (Z_c^\top Z_c - N^\top D N) F, \quad T = R_c - N^\top D R_1 \\
    \log|H| &= \sum \log(1 + n\rho_1) + \log|S|, \qquad
        \Gamma = R_0 - R_1^\top D R_1 - (FT)^\top S^{-1} (FT) = [W\ y]^\top H^{-1} [W\ y]

for :math:`H = I + Z_1 \rho_1 Z_1^\top + Z_c F^2 Z_c^\top`. Written with :math:`\sqrt\rho` and not
:math:`1/\rho`, nothing is singular as an SD goes to zero. What is left of a table, :math:`\log|H|`
and :math:`\Gamma`, is no larger than its border.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import linalg

from crossed_jax.models.collapsed import chebyshev
from crossed_jax.models.collapsed.block_products import BlockProducts
from crossed_jax.types import Array


class Condensed(NamedTuple):
    """All that the log-density needs of a table at given ratios.

    Attributes
    ----------
    log_det
        log|H|.
    gram
        Gamma = [W y]' H^-1 [W y], shape (B + 1, B + 1).
    """

    log_det: Array
    gram: Array


class Eliminated(NamedTuple):
    """The blocks that are left with the eliminated factor integrated out, at one ratio.

    Attributes
    ----------
    ratio
        Of the eliminated factor.
    log_det
        Sum of log(1 + n rho).
    dense_gram, dense_sums, gram
        Schur complements of the dense block, of its products with [W y] (T), and of [W y] with
        itself.
    """

    ratio: float
    log_det: float
    dense_gram: np.ndarray
    dense_sums: np.ndarray
    gram: np.ndarray


def elimination_weights(products: BlockProducts, ratio: float | np.ndarray) -> np.ndarray:
    """D, the posterior variance over sigma^2 of each eliminated level alone: rho/(1 + n rho)."""
    return ratio / (1.0 + products.rows * ratio)


def eliminate(products: BlockProducts, ratio: float) -> Eliminated:
    """Integrate the eliminated factor out at a ratio sd^2/sigma^2."""
    weights = elimination_weights(products, ratio)
    weighted = weights[:, None] * products.eliminated_sums
    return Eliminated(
        ratio,
        float(np.log1p(products.rows * ratio).sum()),
        products.dense_gram - products.counts.gram(weights),
        products.dense_sums - products.counts.transposed_times(weighted),
        products.border_gram - products.eliminated_sums.T @ weighted,
    )


def factor_dense_block(
    products: BlockProducts, eliminated: Eliminated, dense_ratios: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Factor S at the dense block's ratios: F's diagonal, and the lower Cholesky factor of S."""
    relative_sds = np.sqrt(dense_ratios)[products.dense_owner]
    matrix = relative_sds[:, None] * eliminated.dense_gram * relative_sds
    matrix[np.diag_indices_from(matrix)] += 1.0
    # symmetric, and LAPACK would copy what does not run by columns
    factor = linalg.cholesky(matrix.T, lower=True, overwrite_a=True, check_finite=False)
    return relative_sds, factor


def condense(
    products: BlockProducts, eliminated: Eliminated, dense_ratios: np.ndarray
) -> Condensed:
    """Integrate the dense block out as well, exactly."""
    if not products.dense:
        return Condensed(np.asarray(eliminated.log_det), eliminated.gram)
    relative_sds, factor = factor_dense_block(products, eliminated, dense_ratios)
    half = linalg.solve_triangular(
        factor, relative_sds[:, None] * eliminated.dense_sums, lower=True, check_finite=False
    )
    log_det = eliminated.log_det + 2.0 * np.log(np.diag(factor)).sum()
    return Condensed(np.asarray(log_det), eliminated.gram - half.T @ half)


class ByCount(NamedTuple):
    """A table without a dense block: sums over eliminated levels with the same number of rows."""

    rows: Array
    levels: Array
    grams: Array
    border_gram: Array

    def at(self, log_ratios: Array) -> tuple[Condensed, Array]:
        """Condense at log ratios of shape (..., 1); exact everywhere."""
        xp = chebyshev.namespace(log_ratios)
        ratio = xp.exp(log_ratios)
        weights = ratio / (1.0 + self.rows * ratio)
        condensed = Condensed(
            xp.log1p(self.rows * ratio) @ self.levels,
            self.border_gram - xp.tensordot(weights, self.grams, 1),
        )
        return condensed, xp.zeros(log_ratios.shape[:-1])


class Fixed(NamedTuple):
    """A table condensed exactly at the one point of interest."""

    condensed: Condensed

    def at(self, log_ratios: Array) -> tuple[Condensed, Array]:
        """Give what is known, whatever the ratios."""
        del log_ratios
        return self.condensed, jnp.asarray(0.0)


def by_count(products: BlockProducts) -> ByCount:
    """Group the eliminated levels of a table without a dense block by their number of rows.

    Groups without a level fill their number up to a power of two: they add nothing, and most tables
    share one compiled log-density.
    """
    rows, group, levels = np.unique(products.rows, return_inverse=True, return_counts=True)
    pad = max(8, 1 << (len(rows) - 1).bit_length()) - len(rows)
    grams = np.zeros((len(rows) + pad, *products.border_gram.shape))
    for index, sums in enumerate(_split(products.eliminated_sums, group, len(rows))):
        grams[index] = sums.T @ sums
    return ByCount(
        np.pad(rows, (0, pad)), np.pad(levels.astype(float), (0, pad)), grams, products.border_gram
    )


def _split(values: np.ndarray, group: np.ndarray, number: int) -> list[np.ndarray]:
    order = np.argsort(group, kind="stable")
    return np.split(values[order], np.searchsorted(group[order], np.arange(1, number)))
