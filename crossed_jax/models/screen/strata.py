r"""What the screen model needs of a table: genes by strata of a line and a number of replicates.

The weight of a cell depends on its line and on how many rows it has, so a gene's sums over its
cells are products of gene x stratum matrices with one number for each stratum. In most screens a
line has the same replicates for every gene, and there are as many strata as lines.

Responses are measured from a point estimate of the lines, so that no digits are lost where sums of
squares are taken about lines close to it.
"""

from typing import Any, NamedTuple

import numpy as np

from crossed_jax.statistics.cells import Cells
from crossed_jax.statistics.samples import SampleCells
from crossed_jax.types import Array

BLOCK_BYTES = 2**22


class Matrices(NamedTuple):
    """Cells by gene and stratum; genes in blocks, the last filled up with empty ones.

    Attributes
    ----------
    seen
        One where a gene has a cell in a stratum, shape (blocks, genes, strata).
    mean
        The cells' means less the lines' estimates, zero where there is none; likewise.
    within
        Sums of squares about the cells' means, of the strata of more than one row, which come
        first; None if there are none.
    rows
        Number of rows of each gene, shape (blocks, genes).
    between
        Sums of the deviations of samples' rows from their cells' means, shape (blocks, genes,
        samples); None where samples have no effects.
    """

    seen: Array
    mean: Array
    within: Array | None
    rows: Array
    between: Array | None = None


class OfSamples(NamedTuple):
    """What the strata need to know of samples (:mod:`crossed_jax.statistics.samples`).

    Attributes
    ----------
    line
        Shape (samples,).
    of_strata
        Samples of a stratum's line, shape (strata, most samples), any where it has fewer.
    share
        Theirs of the rows of its cells, likewise.
    estimate
        What was taken off their responses, shape (samples,).
    """

    line: Array
    of_strata: Array
    share: Array
    estimate: Array


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
        The cells; None where sums over the genes stand for them.
    samples
        None where these have no effects.
    """

    line: Array
    replicates: Array
    location: Array
    matrices: Any
    samples: OfSamples | None = None


def strata_of(
    cells: Cells,
    within: np.ndarray | None,
    genes: int,
    location: np.ndarray,
    samples: SampleCells | None = None,
) -> Strata:
    """Lay a table of two factors out by gene and stratum.

    Parameters
    ----------
    cells, within
        The table's cells, and their sums of squares about their means if any has two rows.
    genes
        Position of the factor that is integrated out; the other is the lines.
    location
        Estimates of the lines' mean responses, shape (lines,).
    samples
        What the cells have of each; None where these have no effects.
    """
    gene, line = cells.codes[:, genes], cells.codes[:, 1 - genes]
    pattern = None if samples is None else samples.pattern
    stratum, cell_stratum, first = _strata_of_cells(cells, genes, pattern)
    num_genes = cells.num_levels[genes]
    size = max(1, BLOCK_BYTES // (8 * len(stratum)))
    num_blocks = -(-num_genes // size)
    size = -(-num_genes // num_blocks)

    def laid_out(values: np.ndarray | float) -> np.ndarray:
        matrix = np.zeros((num_blocks * size, len(stratum)))
        matrix[gene, cell_stratum] = values
        return matrix.reshape(num_blocks, size, -1)

    replicated = np.count_nonzero(stratum["rows"] > 1.0)
    rows = np.bincount(gene, cells.counts, minlength=num_blocks * size)
    matrices = Matrices(
        seen=laid_out(1.0),
        mean=laid_out(cells.means - location[line]),
        within=None if within is None else laid_out(within)[..., :replicated].copy(),
        rows=rows.reshape(num_blocks, size),
    )
    found = Strata(stratum["line"], stratum["rows"], location, matrices)
    if samples is None:
        return found
    between = np.zeros((num_blocks * size, len(samples.line)))
    between[:num_genes] = samples.between_by_group(line, gene)
    matrices = matrices._replace(between=between.reshape(num_blocks, size, -1))
    of_samples = samples_of_strata(samples, cells, stratum["line"], first)
    return found._replace(matrices=matrices, samples=of_samples)


def samples_of_strata(
    samples: SampleCells, cells: Cells, line: np.ndarray, first: np.ndarray
) -> OfSamples:
    """Say what strata have of samples.

    Parameters
    ----------
    samples, cells
        The table's.
    line, first
        Of each stratum, and one of its cells, shape (strata,).
    """
    share = samples.counts[first] / cells.counts[first, None]
    return OfSamples(samples.line, samples.of_lines[line], share, samples.estimate)


def in_order_of_cells(values: np.ndarray, strata: Strata, cells: Cells, genes: int) -> np.ndarray:
    """Take from matrices of genes by strata what belongs to the cells, shape (cells,)."""
    seen = np.asarray(strata.matrices.seen)
    gene, stratum = np.nonzero(seen.reshape(-1, seen.shape[-1]))
    place = np.zeros((cells.num_levels[genes], cells.num_levels[1 - genes]), np.int32)
    place[gene, np.asarray(strata.line)[stratum]] = stratum
    gene = cells.codes[:, genes]
    return values.reshape(-1, values.shape[-1])[gene, place[gene, cells.codes[:, 1 - genes]]]


def _strata_of_cells(
    cells: Cells, genes: int, pattern: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of a line and a number of rows that cells have; which one each has; a cell of each.

    Those of one row come last. Cells of different patterns of samples are kept apart.
    """
    pairs = np.empty(len(cells.counts), [("line", np.int32), ("rows", float)])
    pairs["line"], pairs["rows"] = cells.codes[:, 1 - genes], cells.counts
    most, num_lines = int(cells.counts.max()) + 1, cells.num_levels[1 - genes]
    block = pairs["line"] + num_lines * (pairs["rows"] == 1.0)
    number = block * most + pairs["rows"]
    if pattern is not None:
        number = number * (pattern.max() + 1) + pattern
    _, first, of_cells = np.unique(number, return_index=True, return_inverse=True)
    return pairs[first], of_cells, first
