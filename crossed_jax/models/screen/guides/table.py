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
    """

    seen: Array
    mean: Array
    spread: Array
    within: Array
    number: Array
    deviations: Array
    set_of_guide: Array


class Ragged(NamedTuple):
    """Genes with several sets of guides, by set and line; filled up with sets that saw nothing.

    Attributes
    ----------
    set
        Shape (genes, sets).
    guides
        How many a set has, zero where there is none, likewise.
    rows
        Rows that each guide of the set has, shape (genes, sets, lines).
    mean
        As in `Sets`, likewise.
    """

    set: Array
    guides: Array
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
    sets
        Of guides; the first so many are genes.
    ragged
        The genes with several sets.
    rows
        Number of rows of each gene, shape (genes,).
    gene
        Which gene comes at which place, shape (genes,).
    """

    line: Array
    replicates: Array
    classes: Array
    in_class: Array
    location: Array
    sets: Sets
    ragged: Ragged
    rows: Array
    gene: Array


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
    num_sets = len(gene_of_set)
    first = np.zeros(num_sets, np.intp)
    first[set_of_guide[::-1]] = np.arange(len(set_of_guide))[::-1]
    number = np.bincount(set_of_guide, minlength=num_sets).astype(float)
    summed = _SumBySet(set_of_guide, num_sets)
    set_rows, set_mean = rows[first], summed(mean) / number[:, None]
    deviations = (mean - set_mean[set_of_guide]) * (rows > 0)

    most = int(rows.max()) + 1
    pairs = np.unique((np.arange(shape[1]) * most + set_rows.astype(int))[set_rows > 0])
    strata_line, replicates = np.divmod(pairs, most)
    classes = np.unique(replicates)

    def by_stratum(of_sets: np.ndarray, of_lines: np.ndarray) -> np.ndarray:
        return np.where(of_sets[:, strata_line] == replicates, of_lines[:, strata_line], 0.0)

    sets = Sets(
        seen=by_stratum(set_rows, np.ones_like(set_rows)),
        mean=by_stratum(set_rows, set_mean),
        spread=by_stratum(set_rows, summed(deviations**2)),
        within=by_stratum(set_rows, summed(squares)),
        number=number,
        deviations=by_stratum(rows, deviations),
        set_of_guide=set_of_guide,
    )
    num_genes = int(gene_of_guide.max()) + 1
    sets_of_gene = np.bincount(gene_of_set, minlength=num_genes)
    several = np.flatnonzero(sets_of_gene > 1)
    return GuideStrata(
        line=strata_line,
        replicates=replicates.astype(float),
        classes=classes.astype(float),
        in_class=(replicates[:, None] == classes).astype(float),
        location=location,
        sets=sets,
        ragged=_ragged(several, gene_of_set, number, set_rows, set_mean),
        rows=np.bincount(gene_of_guide, rows.sum(1), minlength=num_genes)[
            gene := np.concatenate([np.flatnonzero(sets_of_gene == 1), several])
        ],
        gene=gene,
    )


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


class _SumBySet(NamedTuple):
    set_of_guide: np.ndarray
    num_sets: int

    def __call__(self, of_guides: np.ndarray) -> np.ndarray:
        total = np.zeros((self.num_sets, of_guides.shape[1]))
        np.add.at(total, self.set_of_guide, of_guides)
        return total


def _ragged(
    genes: np.ndarray,
    gene_of_set: np.ndarray,
    number: np.ndarray,
    rows: np.ndarray,
    mean: np.ndarray,
) -> Ragged:
    """Put the sets of some genes side by side."""
    found = [np.flatnonzero(gene_of_set == gene) for gene in genes]
    most = max((len(sets) for sets in found), default=0)
    of_genes = np.zeros((len(genes), most), np.intp)
    guides = np.zeros((len(genes), most))
    for place, sets in enumerate(found):
        of_genes[place, : len(sets)] = sets
        guides[place, : len(sets)] = number[sets]
    there = (guides > 0)[..., None]
    return Ragged(of_genes, guides, rows[of_genes] * there, mean[of_genes] * there)
