r"""What a table says of its samples, the replicates of a line.

A sample has rows of many genes, and an effect of its own, :math:`s_r`. In a cell of n rows,
:math:`n_r` of which are of sample r, with means :math:`\bar y_r` and the overall mean
:math:`\bar y`, the squares about the means that samples would have in it are

.. math::
    \sum_i (y_i - \bar y)^2 - 2 \sum_r s_r\, n_r (\bar y_r - \bar y)
        + \sum_r n_r (s_r - \bar s)^2, \qquad \bar s = \sum_r n_r s_r / n ,

so beside what cells have without them a table enters through :math:`n_r (\bar y_r - \bar y)`, and
through the :math:`n_r`, of which there are few patterns.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from crossed_jax.statistics.cells import Cells, cell_of_row, cells_of
from crossed_jax.tables.crossed_data import CrossedData


class SampleCells(NamedTuple):
    """The rows of each sample in each cell; a line's samples side by side.

    Attributes
    ----------
    line, place
        Of each sample: its line, and which of the line's it is, shape (samples,).
    counts
        Rows in each cell, zero where a line has fewer samples, shape (cells, most samples).
    between
        Sum of their deviations from the mean of the cell, likewise.
    pattern
        A number for each cell that those of a line with the same counts share, shape (cells,).
    estimate
        What was taken off the responses of each sample, shape (samples,).
    """

    line: np.ndarray
    place: np.ndarray
    counts: np.ndarray
    between: np.ndarray
    pattern: np.ndarray
    estimate: np.ndarray

    @property
    def of_lines(self) -> np.ndarray:
        """Samples of each line, shape (lines, most samples), any where it has fewer."""
        table = np.zeros((int(self.line.max()) + 1, self.counts.shape[1]), np.intp)
        table[self.line, self.place] = np.arange(len(self.line))
        return table

    def between_by_group(self, line: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Add `between` up by group of cells and sample, shape (groups, samples).

        Parameters
        ----------
        line, groups
            Of each cell, shape (cells,).
        """
        num_samples, num_groups = len(self.line), int(groups.max()) + 1
        flat = groups[:, None] * num_samples + self.of_lines[line]
        total = np.bincount(flat.ravel(), self.between.ravel(), num_groups * num_samples)
        return total.reshape(num_groups, num_samples)


def without_samples(data: CrossedData, lines: int) -> tuple[CrossedData, Cells, SampleCells]:
    """Take estimates of the samples' effects off the responses, and say what is left of them.

    Of a line these are by least squares, with a mean for each of its cells, and sum to zero.

    Parameters
    ----------
    data
        A table of two factors and of samples.
    lines
        Position of the factor that samples are replicates of.
    """
    assert data.samples is not None
    code, line = data.samples.units.codes, data.samples.parent_of_unit
    first = np.searchsorted(np.sort(line), np.arange(line.max() + 1))
    place = np.empty(len(line), np.intp)
    place[np.argsort(line, kind="stable")] = np.arange(len(line)) - first[np.sort(line)]

    cells = cells_of(data)
    counts, between = _by_place(cells, data, place[code])
    estimate = np.zeros(len(line))
    for c in range(len(first)):
        own = cells.codes[:, lines] == c
        n = counts[own]
        known = np.diag(n.sum(0)) - (n / cells.counts[own, None]).T @ n
        effects = np.linalg.lstsq(known, between[own].sum(0), rcond=1e-9)[0]
        estimate[line == c] = effects[place[line == c]]
    rest = dataclasses.replace(data, response=data.response - estimate[code])
    cells = cells_of(rest)
    counts, between = _by_place(cells, rest, place[code])
    pattern = np.zeros(len(counts), np.intp)
    for column in counts.astype(np.intp).T:
        _, pattern = np.unique(pattern * (column.max() + 1) + column, return_inverse=True)
    return rest, cells, SampleCells(line, place, counts, between, pattern, estimate)


def _by_place(cells: Cells, data: CrossedData, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of each of a line's samples in the cells, and the sums of their deviations."""
    cell = cell_of_row(cells, data)
    most = int(place.max()) + 1
    flat = cell * most + place
    size = most * len(cells.counts)
    counts = np.bincount(flat, minlength=size)
    sums = np.bincount(flat, data.response - cells.means[cell], minlength=size)
    return counts.reshape(-1, most).astype(float), sums.reshape(-1, most)
