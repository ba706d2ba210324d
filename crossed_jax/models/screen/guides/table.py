r"""What the model with guides needs of a table: sets of guides that were seen alike.

Guides of a gene that have the same number of rows in every line are exchangeable. Their mean and
their deviations from it are independent, and all deviations weigh the same, so a set enters through
its means and through sums over its guides. Most genes have a single set. Where some guides were not
seen everywhere there are several, whose means share the gene's interactions.
"""

from typing import NamedTuple

import numpy as np

from crossed_jax.statistics.cells import Cells
from crossed_jax.types import Array

GROUP = 4  # of lines


class Sets(NamedTuple):
    """Sets of guides by stratum, a line and a number of rows that each guide has in it.

    Attributes
    ----------
    seen
        One where a set has cells in a stratum, shape (sets, strata).
    mean
        The mean over its guides of their cells' means, less the line's estimate; likewise.
    spread
        Sum over the guides of the squares of their deviations from that; likewise.
    within
        Sum over the guides of squares within their cells; likewise.
    number
        Guides of a set, shape (sets,).
    deviations
        Of all guides from the means of their sets, shape (guides, strata).
    set_of_guide
        Shape (guides,).
    gene
        Place of each set's gene, shape (sets,).
    """

    seen: Array
    mean: Array
    spread: Array
    within: Array
    number: Array
    deviations: Array
    set_of_guide: Array
    gene: Array


class Genes(NamedTuple):
    """Genes in the lines where all their guides have equally many rows, by stratum.

    Attributes
    ----------
    seen, mean
        As those of `Sets`, over all guides, shape (genes, strata).
    guides, rows
        Numbers of each gene, shape (genes,).
    """

    seen: Array
    mean: Array
    guides: Array
    rows: Array


class Ragged(NamedTuple):
    """Genes with several sets of guides, and the lines in which not all have equally many rows.

    Filled up with sets and lines that there are not; a gene has as many groups of lines as need be.

    Attributes
    ----------
    set
        Shape (genes, sets).
    guides
        How many a set has, zero where there is none, likewise.
    gene
        Place among these genes of each group of lines, shape (groups,).
    line
        Shape (groups, lines).
    rows
        That each guide of a set has in such a line, shape (sets, groups, lines).
    mean
        As that of `Sets`, likewise.
    """

    set: Array
    guides: Array
    gene: Array
    line: Array
    rows: Array
    mean: Array


class GuideStrata(NamedTuple):
    """A table of genes, guides and lines; first the genes with one set, then those with several.

    Attributes
    ----------
    line, replicates
        Of the strata, shape (strata,).
    classes
        The distinct numbers of replicates, shape (classes,).
    in_class
        One where a stratum has such a number, shape (strata, classes).
    location
        The lines' estimates that means are measured from, shape (lines,).
    genes
        All of them.
    sets
        Of guides; the first so many are genes.
    ragged
        The genes with several sets.
    gene
        Which gene comes at which place, shape (genes,).
    """

    line: Array
    replicates: Array
    classes: Array
    in_class: Array
    location: Array
    genes: Genes
    sets: Sets
    ragged: Ragged
    gene: Array

    @property
    def alone(self) -> int:
        """How many genes have one set."""
        return int(self.gene.shape[0] - self.ragged.set.shape[0])


def guide_strata(
    cells: Cells, within: np.ndarray | None, gene_of_guide: np.ndarray, location: np.ndarray
) -> GuideStrata:
    """Lay a table out by sets of guides.

    Parameters
    ----------
    cells, within
        Cells of guides by lines, and their sums of squares about their means if any has two rows.
    gene_of_guide
        The gene of each guide, shape (guides,).
    location
        Estimates of the lines' mean responses, shape (lines,).
    """
    guide, line = cells.codes.T
    shape = cells.num_levels
    rows, mean, squares = (np.zeros(shape) for _ in range(3))
    rows[guide, line] = cells.counts
    mean[guide, line] = cells.means - location[line]
    if within is not None:
        squares[guide, line] = within

    set_of_guide, gene_of_set = _sets(rows, gene_of_guide)
    number = np.bincount(set_of_guide).astype(float)
    set_rows = np.zeros((len(number), shape[1]))
    set_rows[set_of_guide] = rows
    set_mean = sums_by_group(mean, set_of_guide) / number[:, None]
    deviations = (mean - set_mean[set_of_guide]) * (rows > 0)

    sets_of_gene = np.bincount(gene_of_set)
    several = np.flatnonzero(sets_of_gene > 1)
    gene = np.concatenate([np.flatnonzero(sets_of_gene == 1), several])
    guides = np.bincount(gene_of_guide)[gene].astype(float)
    gene_rows = sums_by_group(rows, gene_of_guide)[gene]
    each = gene_rows / guides[:, None]
    alike = sums_by_group(rows**2, gene_of_guide)[gene] == each**2 * guides[:, None]
    gene_mean = sums_by_group(mean, gene_of_guide)[gene] / guides[:, None]

    most = int(rows.max()) + 1
    pairs = np.unique((np.arange(shape[1]) * most + set_rows.astype(int))[set_rows > 0])
    strata_line, replicates = np.divmod(pairs, most)
    classes = np.unique(replicates)

    def by_stratum(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.where(rows[:, strata_line] == replicates, values[:, strata_line], 0.0)

    each = np.where(alike, each, 0.0)
    return GuideStrata(
        line=strata_line,
        replicates=replicates.astype(float),
        classes=classes.astype(float),
        in_class=(replicates[:, None] == classes).astype(float),
        location=location,
        genes=Genes(
            seen=by_stratum(each, np.ones_like(each)),
            mean=by_stratum(each, gene_mean),
            guides=guides,
            rows=gene_rows.sum(1),
        ),
        sets=Sets(
            seen=by_stratum(set_rows, np.ones_like(set_rows)),
            mean=by_stratum(set_rows, set_mean),
            spread=by_stratum(set_rows, sums_by_group(deviations**2, set_of_guide)),
            within=by_stratum(set_rows, sums_by_group(squares, set_of_guide)),
            number=number,
            deviations=by_stratum(rows, deviations),
            set_of_guide=set_of_guide,
            gene=np.argsort(gene)[gene_of_set],
        ),
        ragged=_ragged(several, ~alike[-len(several) :], gene_of_set, number, set_rows, set_mean),
        gene=gene,
    )


def sums_by_group(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Sum rows by group, shape (groups, columns)."""
    total = np.zeros((int(group.max()) + 1, values.shape[1]))
    np.add.at(total, group, values)
    return total


def _sets(rows: np.ndarray, gene_of_guide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the sets of guides, those that are a whole gene first.

    Returns
    -------
    set_of_guide, gene_of_set
    """
    _, alike = np.unique(rows, axis=0, return_inverse=True)
    pair = gene_of_guide.astype(np.int64) * len(rows) + alike.ravel()
    pairs, set_of_guide = np.unique(pair, return_inverse=True)
    gene = pairs // len(rows)
    alone = np.bincount(gene)[gene] == 1
    order = np.argsort(~alone, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[set_of_guide], gene[order]


def _ragged(
    genes: np.ndarray,
    unlike: np.ndarray,
    gene_of_set: np.ndarray,
    number: np.ndarray,
    rows: np.ndarray,
    mean: np.ndarray,
) -> Ragged:
    """Put the sets of some genes side by side, and the lines in which they are unlike."""
    sets = [np.flatnonzero(gene_of_set == gene) for gene in genes]
    most = max(map(len, sets), default=0)
    of_genes, guides = np.zeros((len(genes), most), np.intp), np.zeros((len(genes), most))
    groups = []
    for place, of_gene in enumerate(sets):
        of_genes[place, : len(of_gene)] = of_gene
        guides[place, : len(of_gene)] = number[of_gene]
        lines = np.flatnonzero(unlike[place])
        groups += [(place, lines[i : i + GROUP]) for i in range(0, len(lines), GROUP)]
    gene = np.array([place for place, _ in groups], np.intp)
    line = np.zeros((len(groups), GROUP), np.intp)
    there = np.zeros(line.shape, bool)
    for i, (_, lines) in enumerate(groups):
        line[i, : len(lines)] = lines
        there[i, : len(lines)] = True
    at = np.moveaxis(of_genes[gene], 1, 0)[..., None], line
    there = there & (np.moveaxis(guides[gene], 1, 0)[..., None] > 0)
    return Ragged(of_genes, guides, gene, line, rows[at] * there, mean[at] * there)
