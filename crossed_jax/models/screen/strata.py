r"""What the screen model needs of a table: genes by strata of a line and a number of replicates.

The weight of a cell depends on its line and on how many rows it has, so a gene's sums over its
cells are products of gene x stratum matrices with one number for each stratum. In most screens a
line has the same replicates for every gene, and there are as many strata as lines.

Responses are measured from a point estimate of the lines, so that no digits are lost where sums of
squares are taken about lines close to it.
"""

from typing import NamedTuple

import numpy as np

from crossed_jax.statistics.cells import Cells, cell_of_row
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.types import Array

BLOCK_BYTES = 2**20


class Matrices(NamedTuple):
    """Cells by gene and stratum; genes in blocks, the last filled up with empty ones.

    Attributes
    ----------
    seen
        One where a gene has a cell in a stratum, shape (blocks, genes, strata).
    mean
        The cells' means less the lines' estimates, zero where there is none; likewise.
    square
        The squares of those; likewise.
    within
        Sums of squares about the cells' means; likewise, or None where no cell has two rows.
    rows
        Number of rows of each gene, shape (blocks, genes).
    """

    seen: Array
    mean: Array
    square: Array
    within: Array | None
    rows: Array


class Strata(NamedTuple):
    """A table of two factors.

    Attributes
    ----------
    line
        Line of each stratum, shape (strata,).
    replicates
        Rows that each of its cells has, shape (strata,).
    location
        The lines' estimates that means are measured from, shape (lines,).
    matrices
        The cells.
    """

    line: Array
    replicates: Array
    location: Array
    matrices: Matrices


def strata_of(data: CrossedData, cells: Cells, genes: int, location: np.ndarray) -> Strata:
    """Lay a table of two factors out by gene and stratum.

    Parameters
    ----------
    data, cells
        The table, and its cells.
    genes
        Position of the factor that is integrated out; the other is the lines.
    location
        Estimates of the lines' mean responses, shape (lines,).
    """
    gene, line = cells.codes[:, genes], cells.codes[:, 1 - genes]
    most = int(cells.counts.max()) + 1
    stratum, cell_stratum = np.unique(line * most + cells.counts, return_inverse=True)
    num_genes = cells.num_levels[genes]
    size = max(1, BLOCK_BYTES // (8 * len(stratum)))
    num_blocks = -(-num_genes // size)
    size = -(-num_genes // num_blocks)

    def laid_out(values: np.ndarray | float) -> np.ndarray:
        matrix = np.zeros((num_blocks * size, len(stratum)))
        matrix[gene, cell_stratum] = values
        return matrix.reshape(num_blocks, size, -1)

    within = None
    if most > 2:
        cell = cell_of_row(cells, data)
        within = laid_out(np.bincount(cell, (data.response - cells.means[cell]) ** 2))
    mean = cells.means - location[line]
    rows = np.bincount(gene, cells.counts, minlength=num_blocks * size)
    matrices = Matrices(
        seen=laid_out(1.0),
        mean=laid_out(mean),
        square=laid_out(mean**2),
        within=within,
        rows=rows.reshape(num_blocks, size),
    )
    lines, replicates = np.divmod(stratum, most)
    return Strata(lines.astype(np.int32), replicates, location, matrices)
