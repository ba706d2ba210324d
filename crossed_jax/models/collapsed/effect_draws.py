"""Effects of the collapsed form, drawn back for a run that may have been extended.

Their noise is drawn for many draws of the SDs at once, on a grid that the draws' SDs decide, so the
effects of a draw depend on which others were there. Those that were given out must not change when
a run is extended. So a run is drawn in parts, one for each length that it was given out at, each
with noise and a grid of its own: the first as if there were no others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from crossed_jax.models.collapsed import back_substitution, balanced
from crossed_jax.models.parameterization import Quantities

if TYPE_CHECKING:
    from crossed_jax.results.draws_file import DrawsFile

type EffectsGivenSDs = balanced.EffectsGivenSDs | back_substitution.EffectsGivenSDs

EXTENSION = 2**32 - 1  # no noise of a first part is spawned under this number


@dataclass(frozen=True)
class Rows:
    """Some draws of all chains, assigned to as rows of an array of shape (chains * draws, levels).

    Attributes
    ----------
    array
        Shape (chains, draws, levels).
    first, number
        Of the draws of each chain.
    """

    array: Any
    first: int
    number: int

    def __setitem__(self, rows: slice, values: np.ndarray) -> None:
        start = rows.start
        while len(values):
            chain, draw = divmod(start, self.number)
            fitting = min(len(values), self.number - draw)
            begin = self.first + draw
            self.array[chain, begin : begin + fitting] = values[:fitting]
            values, start = values[fitting:], start + fitting


def split(scales: Quantities, lengths: Sequence[int]) -> list[Quantities]:
    """Cut draws of the SDs, leading dimensions (chains, draws), where they were given out.

    `lengths` are numbers of draws, in order; the last is that of all.
    """
    return [
        jax.tree.map(itemgetter((slice(None), slice(*ends))), scales)
        for ends in pairwise([0, *lengths])
    ]


def draw_effects(
    given: EffectsGivenSDs,
    seed: int,
    num_levels: tuple[int, ...],
    *,
    keep_effects: bool = True,
    file: "DrawsFile | None" = None,
    parts: Sequence[EffectsGivenSDs] | None = None,
) -> Quantities:
    """Complete draws of the SDs with the intercept, and with the effects if they are to be kept.

    Parameters
    ----------
    given
        The effects' posterior given those SDs.
    seed
        Of the draws.
    num_levels
        Of each factor.
    keep_effects
        Whether to draw the effects, or the intercept alone.
    file
        Where to put them; by default they are held in memory.
    parts
        The same given the SDs of each part of the draws; by default they are one.
    """
    scales = given.scales
    chains_draws = np.shape(scales.sigma)
    held = [np.empty((*chains_draws, size)) for size in num_levels if keep_effects and file is None]
    arrays = held if file is None else file.effects
    intercept = np.empty(chains_draws)
    first = 0
    for part in [given] if parts is None else parts:
        chains, number = np.shape(part.scales.sigma)
        put = [Rows(array, first, number) for array in arrays] if keep_effects else None
        noise = np.random.SeedSequence(seed, spawn_key=(EXTENSION, first) if first else ())
        drawn = part.draw(noise, put)
        intercept[:, first : first + number] = drawn.reshape(chains, number)
        first += number
    return scales._replace(intercept=intercept, effects=tuple(held))
