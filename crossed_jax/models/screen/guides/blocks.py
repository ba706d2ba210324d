"""A table with guides in blocks of genes, which devices can share.

All blocks have the same shape, filled up with zeros: genes of no rows, sets of no guides. A block
is a table of its own, of genes with one set of guides and of genes with several.
"""

from typing import NamedTuple

import jax
import numpy as np

from crossed_jax.models.screen.blocks import sum_over_blocks
from crossed_jax.models.screen.guides.density import GuideRules, log_likelihood
from crossed_jax.models.screen.guides.lines import GuideLines
from crossed_jax.models.screen.guides.shares import ShareRule
from crossed_jax.models.screen.guides.table import Genes, GuideStrata, Ragged, Sets
from crossed_jax.models.screen.quadrature import Rule
from crossed_jax.models.screen.strata import OfSamples
from crossed_jax.types import Array

MOST_GENES = 256  # of a block; fewer cost more loops than they save memory


class Block(NamedTuple):
    """What of a table belongs to some genes, and the rule of their shares; see `GuideStrata`."""

    genes: Genes
    sets: Sets
    ragged: tuple[Ragged, ...]
    gene: Array
    share: ShareRule


class Shared(NamedTuple):
    """What of a table belongs to no gene; see `GuideStrata`."""

    line: Array
    replicates: Array
    classes: Array
    in_class: Array
    location: Array
    samples: OfSamples | None


class GuideBlocks(NamedTuple):
    """A table in blocks, and the rules of the genes' shares.

    Attributes
    ----------
    blocks
        Leading dimension (blocks,).
    shared
        What they share.
    """

    blocks: Block
    shared: Shared


def log_likelihood_of_blocks(at: GuideLines, table: GuideBlocks, noise: Rule) -> Array:
    """Log-likelihood of the lines, genes and guides integrated out."""
    return sum_over_blocks(_of_block, at, table.blocks, (table.shared, noise))


def _of_block(at: GuideLines, block: Block, shared: tuple[Shared, Rule]) -> Array:
    of_all, noise = shared
    strata = GuideStrata(
        line=of_all.line,
        replicates=of_all.replicates,
        classes=of_all.classes,
        in_class=of_all.in_class,
        location=of_all.location,
        genes=block.genes,
        sets=block.sets,
        ragged=block.ragged,
        gene=block.gene,
        samples=of_all.samples,
    )
    return log_likelihood(at, strata, GuideRules(noise, block.share))


def in_blocks(strata: GuideStrata, share: ShareRule) -> GuideBlocks:
    """Cut a table into blocks, which have like numbers of genes of each kind."""
    number = -(-len(strata.gene) // MOST_GENES)
    sizes = [strata.alone, *(len(each.set) for each in strata.ragged)]
    alone, *several = (_of_equal_length(np.array_split(np.arange(size), number)) for size in sizes)
    blocks = [
        _block(strata, share, alone[i], [places[i] for places in several]) for i in range(number)
    ]
    shared = Shared(
        strata.line,
        strata.replicates,
        strata.classes,
        strata.in_class,
        strata.location,
        strata.samples,
    )
    return GuideBlocks(jax.tree.map(_side_by_side, *blocks), shared)


def _block(
    strata: GuideStrata, share: ShareRule, alone: np.ndarray, several: list[np.ndarray]
) -> Block:
    """Take the genes at some places among those with one set, and among those with several."""
    sets = strata.sets
    start, genes, kept = strata.alone, [alone], [alone]
    for ragged, chosen in zip(strata.ragged, several, strict=True):
        genes.append(np.where(chosen < 0, -1, chosen + start))
        kept.append(_taken(ragged.set, chosen)[_taken(ragged.guides, chosen) > 0])
        start += len(ragged.set)
    of_genes, of_sets = np.concatenate(genes), np.concatenate(kept)
    place, place_of_gene = _places(of_sets, len(sets.number)), _places(of_genes, len(strata.gene))
    guides = np.flatnonzero(np.isin(sets.set_of_guide, of_sets))
    return Block(
        genes=Genes(*(_taken(values, of_genes) for values in strata.genes)),
        sets=Sets(
            seen=_taken(sets.seen, of_sets),
            mean=_taken(sets.mean, of_sets),
            spread=_taken(sets.spread, of_sets),
            within=_taken(sets.within, of_sets),
            number=_taken(sets.number, of_sets),
            deviations=sets.deviations[guides],
            set_of_guide=place[sets.set_of_guide[guides]],
            gene=place_of_gene[_taken(sets.gene, of_sets)],
            between=None if sets.between is None else _taken(sets.between, of_sets),
            guide=None if sets.guide is None else _taken(sets.guide, of_sets),
        ),
        ragged=tuple(
            _ragged(ragged, chosen, place)
            for ragged, chosen in zip(strata.ragged, several, strict=True)
        ),
        gene=_taken(strata.gene, of_genes),
        share=jax.tree.map(lambda values: _taken(values.T, of_genes).T, share),
    )


def _ragged(ragged: Ragged, chosen: np.ndarray, place: np.ndarray) -> Ragged:
    """Take some genes, given the places of their sets."""
    number = _taken(ragged.guides, chosen)
    groups = np.flatnonzero(np.isin(ragged.gene, chosen))
    return Ragged(
        set=np.where(number > 0, place[_taken(ragged.set, chosen)], 0),
        guides=number,
        gene=_places(chosen, len(ragged.set))[ragged.gene[groups]],
        line=ragged.line[groups],
        stratum=ragged.stratum[:, groups],
        there=ragged.there[:, groups],
        mean=ragged.mean[:, groups],
    )


def _of_equal_length(parts: list[np.ndarray]) -> list[np.ndarray]:
    """Fill places up with -1, which stands for none."""
    longest = max(map(len, parts))
    return [np.pad(part, (0, longest - len(part)), constant_values=-1) for part in parts]


def _taken(values: Array, places: np.ndarray) -> np.ndarray:
    """Values at some places, zero where there is none."""
    there = (places >= 0).reshape(-1, *(1,) * (np.ndim(values) - 1))
    return np.where(there, np.asarray(values)[places], np.zeros((), np.asarray(values).dtype))


def _places(kept: np.ndarray, size: int) -> np.ndarray:
    """Where each of so many is among those that are kept."""
    places = np.zeros(size, np.intp)
    places[kept[kept >= 0]] = np.flatnonzero(kept >= 0)
    return places


def _side_by_side(*arrays: np.ndarray) -> np.ndarray:
    """Stack arrays, filled up with zeros to the largest."""
    shape = np.max([array.shape for array in arrays], axis=0)
    stacked = np.zeros((len(arrays), *shape), arrays[0].dtype)
    for one, array in zip(stacked, arrays, strict=True):
        one[tuple(map(slice, array.shape))] = array
    return stacked
