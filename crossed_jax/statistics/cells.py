r"""The sufficient statistics of a crossed table.

Rows that share a level of every factor form a cell. Under Gaussian noise the response enters only
through each cell's count :math:`n_c` and mean :math:`\bar y_c` and the sum of squares within cells,

.. math:: \sum_i (y_i - \mu_i)^2 = \mathrm{SSW} + \sum_c n_c (\bar y_c - \mu_c)^2 ,

so rows are reduced to cells once and never read again: what follows costs the same for two
replicates and for two hundred.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations
from typing import NamedTuple

import numpy as np
from scipy import sparse

from crossed_jax.errors import InputError
from crossed_jax.tables.crossed_data import CrossedData

type PairCounts = dict[tuple[int, int], np.ndarray | sparse.csr_array]


class Cells(NamedTuple):
    """The non-empty cells of a crossed table, in lexicographic order of their codes.

    Attributes
    ----------
    codes
        int32, shape (cells, factors): the level of each factor.
    counts
        float64, shape (cells,): rows in the cell.
    means
        float64, shape (cells,): mean response of the cell, in the response's unit.
    sum_squares_within
        Sum over all rows of the squared distance from their cell's mean.
    num_levels
        Levels of each factor.
    """

    codes: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    sum_squares_within: float
    num_levels: tuple[int, ...]

    @property
    def num_rows(self) -> int:
        return round(self.counts.sum())  # of rows with weights, too

    @property
    def complete(self) -> bool:
        """Whether every combination of levels was seen."""
        return len(self.counts) == np.prod([float(n) for n in self.num_levels])

    @property
    def balanced(self) -> bool:
        """Whether every combination of levels was seen equally often."""
        return self.complete and bool(np.all(self.counts == self.counts[0]))

    def residuals(self, intercept: float | np.ndarray, effects: Sequence[np.ndarray]) -> np.ndarray:
        """Subtract an intercept and the effects of each factor's levels from the cells' means."""
        residual = self.means - intercept
        for k, effect in enumerate(effects):
            residual -= effect[self.codes[:, k]]
        return residual

    def level_sums(self, factor: int, weights: np.ndarray) -> np.ndarray:
        """Sum a weight per cell over the cells of each level of a factor."""
        return np.bincount(
            self.codes[:, factor], weights=weights, minlength=self.num_levels[factor]
        )


def cells_of(data: CrossedData) -> Cells:
    """Reduce the rows of a table to its cells."""
    num_levels = tuple(len(factor.levels) for factor in data.factors)
    size = math.prod(num_levels)
    if size >= 2**63:
        raise InputError(
            f"the factors have {size:.1e} combinations of levels, too many to number: leave a "
            "factor out."
        )
    cell_of_row = _flat_index([factor.codes for factor in data.factors], num_levels)
    all_cells = _fit_an_array(size, data.num_rows)
    if not all_cells:
        seen, cell_of_row = np.unique(cell_of_row, return_inverse=True)
        size = len(seen)

    # Where most cells were seen, the empty ones are carried along: cheaper than to renumber rows.
    counts = np.bincount(cell_of_row, minlength=size)
    means = np.bincount(cell_of_row, weights=data.response, minlength=size)
    np.divide(means, counts, out=means, where=counts > 0)
    deviation = means[cell_of_row]
    deviation -= data.response
    if all_cells:
        seen = np.flatnonzero(counts)
        counts, means = counts[seen], means[seen]
    sum_squares = float(deviation @ deviation)
    del cell_of_row, deviation  # as large as the table, and the codes need room
    codes = np.empty((len(seen), len(num_levels)), np.int32, order="F")  # read by column
    for k in range(len(num_levels) - 1, 0, -1):
        higher = seen // num_levels[k]
        codes[:, k] = seen - higher * num_levels[k]
        seen = higher
    codes[:, 0] = seen
    return Cells(codes, counts.astype(np.float64), means, sum_squares, num_levels)


def has_replicates(data: CrossedData) -> bool:
    """Whether any two rows of a table share a level of every factor."""
    num_levels = [len(factor.levels) for factor in data.factors]
    cells = _flat_index([factor.codes for factor in data.factors], num_levels)
    if _fit_an_array(math.prod(num_levels), data.num_rows):
        return bool(np.bincount(cells).max() > 1)
    return len(np.unique(cells)) < data.num_rows


def cell_of_row(cells: Cells, data: CrossedData) -> np.ndarray:
    """Position among a table's cells of the one that each of its rows lies in."""
    of_cells = _flat_index(list(cells.codes.T), cells.num_levels)
    of_rows = _flat_index([factor.codes for factor in data.factors], cells.num_levels)
    size = math.prod(cells.num_levels)
    if not _fit_an_array(size, data.num_rows):
        return np.searchsorted(of_cells, of_rows)
    position = np.empty(size, np.int64)
    position[of_cells] = np.arange(len(of_cells))
    return position[of_rows]


def whole_cells(data: CrossedData, num_rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Go through a table some whole cells at a time, in the order of their codes.

    Gives positions of rows, of about so many, cell by cell; and where among these each cell begins.
    """
    cell = cell_of_row(cells_of(data), data)
    order = np.argsort(cell, kind="stable")
    first = np.flatnonzero(np.diff(cell[order], prepend=-1))
    # a block begins with the cell that has the next of so many rows
    marks = np.arange(0, len(order), max(1, num_rows))
    begins = np.unique(np.searchsorted(first, marks, "right") - 1)
    ends = np.append(begins[1:], len(first))
    for begin, end in zip(begins, ends, strict=True):
        last = first[end] if end < len(first) else len(order)
        yield order[first[begin] : last], first[begin:end] - first[begin]


def squares_within(cells: Cells, data: CrossedData) -> np.ndarray | None:
    """Sum of squares of each cell's rows about its mean, shape (cells,); None if all have one."""
    if cells.counts.max() <= 1:
        return None
    cell = cell_of_row(cells, data)
    deviation = data.response - cells.means[cell]
    deviation *= deviation
    return np.bincount(cell, deviation, minlength=len(cells.counts))


def crosstab(cells: Cells, rows: int, columns: int) -> np.ndarray | sparse.csr_array:
    """Count the rows of the table for each pair of levels of two factors.

    Returns
    -------
    ndarray or csr_array
        Shape (levels of `rows`, levels of `columns`); sparse where fewer than one pair in ten
        was seen.
    """
    shape = (cells.num_levels[rows], cells.num_levels[columns])
    pair = cells.codes[:, rows], cells.codes[:, columns]
    enough = 0.1 * shape[0] * shape[1]
    if len(cells.counts) < enough:
        return sparse.coo_array((cells.counts, pair), shape=shape).tocsr()
    flat = _flat_index(pair, shape)
    counts = np.bincount(flat, weights=cells.counts, minlength=shape[0] * shape[1]).reshape(shape)
    return sparse.csr_array(counts) if np.count_nonzero(counts) < enough else counts


def pair_counts(cells: Cells) -> PairCounts:
    """Give the crosstabs of each two factors, in either order."""
    factors = range(len(cells.num_levels))
    return {(j, k): crosstab(cells, j, k) for j, k in permutations(factors, 2)}


def _fit_an_array(num_combinations: int, num_rows: int) -> bool:
    """Whether an array of all combinations of levels is of the size of the table."""
    return num_combinations <= 4 * num_rows + 1024


def _flat_index(codes: Sequence[np.ndarray], num_levels: Sequence[int]) -> np.ndarray:
    """Number each combination of levels by its lexicographic rank."""
    flat = codes[0].astype(np.int64)
    for code, size in zip(codes[1:], num_levels[1:], strict=True):
        flat *= size
        flat += code
    return flat


def to_dense(counts: np.ndarray | sparse.csr_array) -> np.ndarray:
    """Give a crosstab as an ordinary array."""
    return counts if isinstance(counts, np.ndarray) else counts.toarray()


def blocks(cells: Cells) -> list[list[np.ndarray]]:
    """Split the levels into blocks that share no row with each other.

    Two levels are connected if some row has both. Between levels of different blocks the data say
    nothing about the contrast of one factor's levels apart from that of another's. With two
    factors a single block means that every contrast is estimable (Weeks and Williams, 1964); with
    more it is necessary, not sufficient.

    Returns
    -------
    list of list of ndarray
        For each block, largest first, the level codes of each factor in it.
    """
    starts = np.concatenate([[0], np.cumsum(cells.num_levels)])
    nodes = cells.codes + starts[:-1]
    first = np.repeat(nodes[:, 0], nodes.shape[1] - 1)
    others = nodes[:, 1:].ravel()
    size = int(starts[-1])
    graph = sparse.coo_array((np.ones(len(first), np.int8), (first, others)), shape=(size, size))
    num_blocks, label = sparse.csgraph.connected_components(graph, directed=False)
    by_factor = []
    for a, b in pairwise(starts):
        order = np.argsort(label[a:b], kind="stable")
        edges = np.searchsorted(label[a:b][order], np.arange(1, num_blocks))
        by_factor.append(np.split(order, edges))
    found = [list(block) for block in zip(*by_factor, strict=True)]
    return sorted(found, key=lambda block: -sum(map(len, block)))
