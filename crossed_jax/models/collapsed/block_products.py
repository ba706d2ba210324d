r"""The cross-products of a table in blocks: an eliminated factor, a dense block, and a border.

Each factor plays one of three roles. The one with most levels is *eliminated*: its own block of
:math:`X^\top X` is diagonal. The other factors with many levels form the *dense block*. Those with
few join the intercept in the *border* :math:`W`, and the response, measured from its mean so that
no digits cancel, is the last column beside it:

.. math::
    [Z_1\ Z_c\ W\ y]^\top [Z_1\ Z_c\ W\ y] = \begin{pmatrix}
        \mathrm{diag}(n) & N & R_1 \\ N^\top & Z_c^\top Z_c & R_c \\
        R_1^\top & R_c^\top & R_0 \end{pmatrix},

with `n` the rows of each eliminated level, :math:`N` its counts against the levels of the dense
block, and :math:`R_1, R_c, R_0` the products of :math:`[W\ y]` with the eliminated factor, with the
dense block and with itself.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from crossed_jax.statistics.cells import Cells, crosstab, to_dense

FEW_LEVELS = 24  # a border of this size costs less per gradient than the step around it


class Counts(NamedTuple):
    """N, counts of the eliminated factor against the dense block: a constant row plus the rest.

    A table with few cells missing is its usual count per level of the dense block less a few; a
    sparse one is zero plus a few. Either way products cost what the exceptions cost.
    """

    usual: np.ndarray
    difference: np.ndarray | sparse.csr_array

    def times(self, right: np.ndarray) -> np.ndarray:
        """N @ right."""
        product = self.difference @ right
        product += self.usual @ right
        return product

    def transposed_times(self, right: np.ndarray) -> np.ndarray:
        """N' @ right."""
        total = right.sum(0)
        constant = np.multiply.outer(self.usual, total)
        return self.difference.T @ right + constant

    def gram(self, weights: np.ndarray) -> np.ndarray:
        """N' diag(weights) N."""
        weighted = self.difference.T * weights
        inner = weighted @ self.difference
        if sparse.issparse(inner):
            inner = inner.toarray()
        cross = np.outer(self.usual, weighted.sum(1))
        return inner + cross + cross.T + weights.sum() * np.outer(self.usual, self.usual)

    def quadratic(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """N @ matrix, and the diagonal of N @ matrix @ N'."""
        product = self.times(matrix)
        elementwise = self.difference * product
        return product, np.asarray(elementwise.sum(1)).ravel() + product @ self.usual


class BlockProducts(NamedTuple):
    """The blocks of a table's cross-products; on the host.

    Attributes
    ----------
    mean
        Of the response, from which it is measured.
    eliminated, dense, border
        Which factors play which role.
    rows
        n, rows of each eliminated level, shape (G,).
    counts
        N, eliminated levels against those of the dense block, shape (G, C).
    dense_gram
        Z_c'Z_c, the dense block against itself, shape (C, C).
    eliminated_sums, dense_sums, border_gram
        R_1, R_c and R_0: [W y] summed over eliminated levels, over those of the dense block, and
        against itself, shapes (G, B + 1), (C, B + 1), (B + 1, B + 1). The last corner holds the
        sum of all squares.
    dense_owner, border_owner
        Position in `dense` of each level of the dense block, and factor of each of the border.
    kappa
        Most rows of any level, for the eliminated factor and each of the dense block.
    num_levels
        Of each factor.
    """

    mean: float
    eliminated: int
    dense: tuple[int, ...]
    border: tuple[int, ...]
    rows: np.ndarray
    counts: Counts
    dense_gram: np.ndarray
    eliminated_sums: np.ndarray
    dense_sums: np.ndarray
    border_gram: np.ndarray
    dense_owner: np.ndarray
    border_owner: np.ndarray
    kappa: np.ndarray
    num_levels: tuple[int, ...]

    @property
    def gridded(self) -> list[int]:
        """Factors whose variance ratios are interpolated: the eliminated one, the dense block's."""
        return [self.eliminated, *self.dense]


def block_products(cells: Cells) -> BlockProducts:
    """Gather the cross-products of a table, the response measured from its mean."""
    eliminated, *others = sorted(range(len(cells.num_levels)), key=lambda k: -cells.num_levels[k])
    dense = tuple(k for k in others if cells.num_levels[k] > FEW_LEVELS)
    border = tuple(k for k in others if cells.num_levels[k] <= FEW_LEVELS)
    mean = float(cells.counts @ cells.means / cells.counts.sum())
    response = cells.means - mean

    def pairs(j: int, k: int) -> np.ndarray:
        if j == k:
            return np.diag(cells.level_sums(k, cells.counts))
        return to_dense(crosstab(cells, j, k))

    def against_border(k: int) -> np.ndarray:
        return np.column_stack(
            [
                cells.level_sums(k, cells.counts),
                *(pairs(k, b) for b in border),
                cells.level_sums(k, cells.counts * response),
            ]
        )

    border_rows = [against_border(b) for b in border]
    total = cells.counts @ response
    squares = cells.counts @ response**2 + cells.sum_squares_within
    first = np.concatenate([[cells.counts.sum()], *(rows[:, 0] for rows in border_rows), [total]])
    last = np.concatenate([[total], *(rows[:, -1] for rows in border_rows), [squares]])
    border_gram = np.vstack([first, *border_rows, last])
    return BlockProducts(
        mean=mean,
        eliminated=eliminated,
        dense=dense,
        border=border,
        rows=cells.level_sums(eliminated, cells.counts),
        counts=_counts(cells, eliminated, dense),
        dense_gram=np.block([[pairs(j, k) for k in dense] for j in dense])
        if dense
        else np.zeros((0, 0)),
        eliminated_sums=against_border(eliminated),
        dense_sums=np.vstack(
            [np.zeros((0, len(border_gram))), *(against_border(k) for k in dense)]
        ),
        border_gram=border_gram,
        dense_owner=np.repeat(np.arange(len(dense)), [cells.num_levels[k] for k in dense]),
        border_owner=np.repeat(np.array(border, int), [cells.num_levels[k] for k in border]),
        kappa=np.array([cells.level_sums(k, cells.counts).max() for k in (eliminated, *dense)]),
        num_levels=cells.num_levels,
    )


def _counts(cells: Cells, eliminated: int, dense: tuple[int, ...]) -> Counts:
    usual, differences = [], []
    for k in dense:
        counts = crosstab(cells, eliminated, k)
        if isinstance(counts, np.ndarray):
            usual.append(np.median(counts, axis=0))
            differences.append(sparse.csr_array(counts - usual[-1]))
        else:
            usual.append(np.zeros(counts.shape[1]))
            differences.append(counts)
    if not dense:
        return Counts(np.zeros(0), np.zeros((cells.num_levels[eliminated], 0)))
    difference = sparse.hstack(differences, format="csr")
    sparse_enough = difference.nnz < 0.1 * difference.shape[0] * difference.shape[1]
    return Counts(np.concatenate(usual), difference if sparse_enough else difference.toarray())
