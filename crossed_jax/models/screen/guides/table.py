r"""What the model with guides needs of a table: sets of guides that were seen alike.

Guides of a gene that have the same number of rows in every line, and of the same samples where
these have effects, are exchangeable. Their mean and their deviations from it are independent, and
all deviations weigh the same, so a set enters through its means and through sums over its guides.
Most genes have a single set. Where some guides were not seen everywhere there are several, whose
means share the gene's interactions. Guides that differ in their noise are a set each.
"""

from typing import NamedTuple

import numpy as np

from crossed_jax.models.screen.strata import OfSamples, samples_of_strata
from crossed_jax.statistics.cells import Cells
from crossed_jax.statistics.samples import SampleCells
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
    between
        Sum over the guides of what `Matrices.between` is of genes, shape (sets, samples), or None.
    guide
        The one guide of each set, shape (sets,), where guides are a set each; otherwise None.
    """

    seen: Array
    mean: Array
    spread: Array
    within: Array
    number: Array
    deviations: Array
    set_of_guide: Array
    gene: Array
    between: Array | None = None
    guide: Array | None = None


class Genes(NamedTuple):
    """Genes in the lines where all their guides are seen alike, by stratum.

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
    """Genes with like numbers of sets of guides, and the lines in which not all are seen alike.

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
    stratum
        Of a set in such a line, shape (sets, groups, lines).
    there
        Whether it has a cell there, likewise.
    mean
        As that of `Sets`, likewise.
    """

    set: Array
    guides: Array
    gene: Array
    line: Array
    stratum: Array
    there: Array
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
        The genes with several sets, by how many these are.
    gene
        Which gene comes at which place, shape (genes,).
    samples
        None where these have no effects.
    """

    line: Array
    replicates: Array
    classes: Array
    in_class: Array
    location: Array
    genes: Genes
    sets: Sets
    ragged: tuple[Ragged, ...]
    gene: Array
    samples: OfSamples | None = None

    @property
    def alone(self) -> int:
        """How many genes have one set; none where guides are a set each."""
        return int(self.gene.shape[0] - sum(each.set.shape[0] for each in self.ragged))

    @property
    def groups(self) -> list[tuple[slice, Ragged | None]]:
        """Places of the genes with one set, if there are any, and of those with several."""
        found: list[tuple[slice, Ragged | None]] = []
        start = 0
        for ragged in (None, *self.ragged):
            stop = start + (self.alone if ragged is None else ragged.set.shape[0])
            if start < stop:
                found.append((slice(start, stop), ragged))
            start = stop
        return found


def guide_strata(
    cells: Cells,
    within: np.ndarray | None,
    gene_of_guide: np.ndarray,
    location: np.ndarray,
    samples: SampleCells | None = None,
    *,
    a_set_each: bool = False,
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
    samples
        What the cells have of each; None where these have no effects.
    a_set_each
        Whether guides are kept apart that were seen alike.
    """
    guide, line = cells.codes.T
    shape = cells.num_levels
    rows, mean, squares, kind = (np.zeros(shape) for _ in range(4))
    rows[guide, line] = cells.counts
    stratum, first = _strata_of_cells(cells, None if samples is None else samples.pattern)
    kind[guide, line] = stratum + 1.0
    mean[guide, line] = cells.means - location[line]
    if within is not None:
        squares[guide, line] = within

    sets = np.arange(len(kind)), gene_of_guide
    set_of_guide, gene_of_set = sets if a_set_each else _sets(kind, gene_of_guide)
    number = np.bincount(set_of_guide).astype(float)
    kind_of_set = np.zeros((len(number), shape[1]))
    kind_of_set[set_of_guide] = kind
    set_mean = sums_by_group(mean, set_of_guide) / number[:, None]
    deviations = (mean - set_mean[set_of_guide]) * (rows > 0)

    sets_of_gene = np.bincount(gene_of_set)
    alone = (sets_of_gene == 1) & (not a_set_each)
    several = _by_number(np.flatnonzero(~alone), sets_of_gene)
    gene = np.concatenate([np.flatnonzero(alone), *several])
    guides = np.bincount(gene_of_guide)[gene].astype(float)
    gene_kind = np.zeros((len(gene), shape[1]))
    gene_kind[gene_of_guide] = kind  # of any guide
    alike = sums_by_group(kind != gene_kind[gene_of_guide], gene_of_guide)[gene] == 0.0
    gene_mean = sums_by_group(mean, gene_of_guide)[gene] / guides[:, None]

    strata_line, replicates = line[first], cells.counts[first]
    classes = np.unique(replicates)

    def by_stratum(kind: np.ndarray, values: np.ndarray) -> np.ndarray:
        own = kind[:, strata_line] == np.arange(1, len(first) + 1)
        return np.where(own, values[:, strata_line], 0.0)

    each = np.where(alike, gene_kind[gene], 0.0)
    between = of_samples = None
    if samples is not None:
        between = samples.between_by_group(line, set_of_guide[guide])
        of_samples = samples_of_strata(samples, cells, strata_line, first)
    return GuideStrata(
        line=strata_line,
        replicates=replicates,
        classes=classes,
        in_class=(replicates[:, None] == classes).astype(float),
        location=location,
        genes=Genes(
            seen=by_stratum(each, np.ones_like(each)),
            mean=by_stratum(each, gene_mean),
            guides=guides,
            rows=np.bincount(gene_of_guide, rows.sum(1))[gene],
        ),
        sets=Sets(
            seen=by_stratum(kind_of_set, np.ones_like(kind_of_set)),
            mean=by_stratum(kind_of_set, set_mean),
            spread=by_stratum(kind_of_set, sums_by_group(deviations**2, set_of_guide)),
            within=by_stratum(kind_of_set, sums_by_group(squares, set_of_guide)),
            number=number,
            deviations=by_stratum(kind, deviations),
            set_of_guide=set_of_guide,
            gene=np.argsort(gene)[gene_of_set],
            between=between,
            guide=np.arange(len(kind)) if a_set_each else None,
        ),
        ragged=tuple(
            _ragged(genes, gene, ~alike, gene_of_set, number, kind_of_set, set_mean)
            for genes in several
        ),
        gene=gene,
        samples=of_samples,
    )


def _strata_of_cells(cells: Cells, pattern: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Number the pairs of a line and a number of rows; which one each cell has, a cell of each.

    Cells of different patterns of samples are kept apart.
    """
    most = int(cells.counts.max()) + 1
    number = cells.codes[:, 1].astype(np.int64) * most + cells.counts.astype(np.int64)
    if pattern is not None:
        number = number * (int(pattern.max()) + 1) + pattern
    _, first, stratum = np.unique(number, return_index=True, return_inverse=True)
    return stratum, first


def sums_by_group(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Sum rows by group, shape (groups, columns)."""
    total = np.zeros((int(group.max()) + 1, values.shape[1]))
    np.add.at(total, group, values)
    return total


def _sets(kind: np.ndarray, gene_of_guide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the sets of guides, those that are a whole gene first.

    Returns
    -------
    set_of_guide, gene_of_set
    """
    _, alike = np.unique(kind, axis=0, return_inverse=True)
    pair = gene_of_guide.astype(np.int64) * len(kind) + alike.ravel()
    pairs, set_of_guide = np.unique(pair, return_inverse=True)
    gene = pairs // len(kind)
    alone = np.bincount(gene)[gene] == 1
    order = np.argsort(~alone, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[set_of_guide], gene[order]


def _by_number(genes: np.ndarray, sets_of_gene: np.ndarray) -> list[np.ndarray]:
    """Part genes by their number of sets: up to two, four, eight and so on."""
    power = np.ceil(np.log2(np.maximum(sets_of_gene[genes], 2)))
    return [genes[power == each] for each in np.unique(power)]


def _ragged(
    genes: np.ndarray,
    in_order: np.ndarray,
    unlike: np.ndarray,
    gene_of_set: np.ndarray,
    number: np.ndarray,
    kind: np.ndarray,
    mean: np.ndarray,
) -> Ragged:
    """Put the sets of some genes side by side, and the lines in which they are unlike."""
    sets = [np.flatnonzero(gene_of_set == gene) for gene in genes]
    most = max(map(len, sets), default=0)
    of_genes, guides = np.zeros((len(genes), most), np.intp), np.zeros((len(genes), most))
    groups = []
    unlike = unlike[np.isin(in_order, genes)]
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
    there = there & (np.moveaxis(guides[gene], 1, 0)[..., None] > 0) & (kind[at] > 0)
    stratum = np.where(there, kind[at] - 1.0, 0.0).astype(np.intp)
    return Ragged(of_genes, guides, gene, line, stratum, there, mean[at] * there)
