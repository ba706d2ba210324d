r"""The rows of a crossed table, laid out to be summed over each factor's levels without scattering.

Noise that is not Gaussian needs each residual :math:`r_i = y_i - m - \sum_k a^k_{l_k(i)}`, and the
gradient of a sum over rows needs sums of their scores :math:`s_i` over the levels of each factor,
:math:`\sum_{i: l_k(i) = l} s_i`. The factor with most levels *leads*: its levels are the lines of
blocks, so that its sums run along lines. Where nearly every level of it was seen with the same
combinations of the others, equally often, as in most screens, a block's columns belong to one
combination each, and the others' sums begin with sums along columns. Elsewhere lines are padded to
a few common lengths, and the others' levels gather from the scores laid end to end.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import sparse

from crossed_jax.statistics.cross_products import Neighbours, neighbours
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.types import Array

MOST_PADDING = 1.25  # of a rectangular layout, in entries per row
FEW_LENGTHS = 8


class Block(NamedTuple):
    """Rows of some levels of the leading factor, a line for each level.

    Attributes
    ----------
    levels
        Of the leading factor, shape (lines,); None for all of them in order.
    response
        Shape (lines, length).
    present
        1 where there is a row, 0 where the line was padded, shape (lines, length); None where all
        are rows.
    codes
        For each other factor the level of each entry, shape (lines, length); or of each column,
        shape (1, length).
    """

    levels: Array | None
    response: Array
    present: Array | None
    codes: tuple[Array, ...]


class Rows(NamedTuple):
    """All rows of a table.

    Attributes
    ----------
    num_rows
        N.
    blocks
        The rows.
    leading
        As many None as there are factors before the leading one, whose place that is: of a pytree
        they are structure and no leaves, so that a compiled function knows it.
    place
        Where each level of the leading factor stands when the blocks' lines are put in a row; None
        if that is their order.
    others
        For each other factor, where the entries (or columns) of each level are when those of all
        blocks are put in a row.
    """

    num_rows: Array
    blocks: tuple[Block, ...]
    leading: tuple[None, ...]
    place: Array | None
    others: tuple[Neighbours, ...]

    def residuals(self, intercept: Array, effects: Sequence[Array]) -> Iterator[Array]:
        """Residuals of each block's entries, shape (lines, length)."""
        lead, others = self._split(effects)
        for block in self.blocks:
            # in this order, and with no gathering of lines, XLA takes half as long
            expected = intercept
            for effect, codes in zip(others, block.codes, strict=True):
                expected = expected + effect[codes]
            of_lines = lead if block.levels is None else lead[block.levels]
            yield (block.response - expected) - of_lines[:, None]

    def level_sums(self, scores: Sequence[Array]) -> tuple[Array, ...]:
        """Sum a score of each entry, zero where it is none, over the levels of each factor."""
        # products with ones: XLA's sums take half as long again
        lines = [score @ jnp.ones(score.shape[1]) for score in scores]
        entries = [
            jnp.ones(len(score)) @ score if block.codes[0].shape[0] == 1 else score.ravel()
            for score, block in zip(scores, self.blocks, strict=True)
        ]
        sums = [where.sums(jnp.concatenate(entries)) for where in self.others]
        position = len(self.leading)
        of_levels = jnp.concatenate(lines)
        if self.place is not None:
            of_levels = of_levels[self.place]
        return (*sums[:position], of_levels, *sums[position:])

    def _split(self, effects: Sequence[Array]) -> tuple[Array, list[Array]]:
        position = len(self.leading)
        return effects[position], [*effects[:position], *effects[position + 1 :]]


def rows_of(data: CrossedData) -> Rows:
    """Lay out the rows of a table."""
    num_levels = [len(factor.levels) for factor in data.factors]
    leading = int(np.argmax(num_levels))
    codes = [factor.codes for factor in data.factors]
    lead = codes.pop(leading)
    lines, columns, shared = _rectangle(lead, codes, num_levels[leading])
    if shared is None:
        blocks = _ragged(data.response, lead, codes, num_levels[leading])
    else:
        size = (num_levels[leading], len(shared[0]))
        response, present = np.zeros(size), np.zeros(size)
        response[lines, columns], present[lines, columns] = data.response, 1.0
        of_columns = tuple(code[None] for code in shared)
        blocks = [Block(None, response, None if present.all() else present, of_columns)]
    others = [
        _places(blocks, k, size)
        for k, size in enumerate(n for j, n in enumerate(num_levels) if j != leading)
    ]
    return Rows(
        num_rows=np.asarray(float(data.num_rows)),
        blocks=tuple(blocks),
        leading=(None,) * leading,
        place=None
        if shared is not None
        else np.argsort(np.concatenate([b.levels for b in blocks])),
        others=tuple(others),
    )


def _rectangle(
    lead: np.ndarray, codes: list[np.ndarray], num_lines: int
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray] | None]:
    """Give each row a line and a column of its own, and each column its levels.

    Columns are combinations of the others' levels, each as often as the line that has it most. The
    levels are None where too many entries of the rectangle would be empty.
    """
    order = np.lexsort([*reversed(codes), lead])
    sorted_codes = [code[order] for code in codes]
    new_cell = np.diff(lead[order], prepend=-1) != 0
    for code in sorted_codes:
        new_cell |= np.diff(code, prepend=-1) != 0
    starts = np.flatnonzero(new_cell)
    replicate = np.arange(len(lead)) - np.repeat(starts, np.diff(starts, append=len(lead)))
    keys = np.stack([*sorted_codes, replicate.astype(np.int32)], axis=1)
    found, column = np.unique(keys, axis=0, return_inverse=True)
    lines, columns = np.empty_like(order), np.empty_like(order)
    lines[order], columns[order] = lead[order], column.ravel()
    if num_lines * len(found) > MOST_PADDING * len(lead):
        return lines, columns, None
    return lines, columns, [found[:, k].astype(np.int32) for k in range(len(codes))]


def _ragged(
    response: np.ndarray, lead: np.ndarray, codes: list[np.ndarray], num_lines: int
) -> list[Block]:
    """Lay lines of about the same length out together, padded to the longest."""
    order = np.argsort(lead, kind="stable")
    number = np.bincount(lead, minlength=num_lines)
    starts = np.cumsum(number) - number
    length = number
    if len(np.unique(number)) > FEW_LENGTHS:  # four lengths an octave: padded by a quarter at most
        step = 2 ** np.maximum(np.floor(np.log2(number)).astype(int) - 2, 0)
        length = -(-number // step) * step
    blocks = []
    for size in np.unique(length):
        levels = np.flatnonzero(length == size)
        there = np.arange(size) < number[levels, None]
        entry = order[np.where(there, starts[levels, None] + np.arange(size), 0)]
        blocks.append(
            Block(
                levels.astype(np.int32),
                np.where(there, response[entry], 0.0),
                None if there.all() else there.astype(float),
                tuple(code[entry] for code in codes),
            )
        )
    return blocks


def _places(blocks: list[Block], factor: int, num_levels: int) -> Neighbours:
    """Where the entries of each level are, when those of all blocks are put in a row."""
    codes = np.concatenate([np.ravel(block.codes[factor]) for block in blocks])
    there = np.concatenate([_occupied(block, factor) for block in blocks])
    entries = np.flatnonzero(there)
    shape = (num_levels, len(codes))
    ones = np.ones(len(entries))
    return neighbours(sparse.csr_array((ones, (codes[entries], entries)), shape=shape))


def _occupied(block: Block, factor: int) -> np.ndarray:
    """Which of a block's entries, or columns, hold rows."""
    codes = block.codes[factor]
    of_columns = codes.shape[0] == 1
    if block.present is None or of_columns:
        return np.ones(codes.size, bool)
    return np.ravel(block.present) > 0.0
