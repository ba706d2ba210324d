"""Effects of the collapsed form, drawn back for a run that may have been extended.

Their noise is drawn for many draws of the SDs at once, on a grid that the draws' SDs decide, so the
effects of a draw depend on which others were there. Those that were given out must not change when
a run is extended. So a run is drawn in parts, one for each length that it was given out at, each
with noise and a grid of its own: the first as if there were no others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from crossed_jax.models.collapsed import back_substitution, balanced
from crossed_jax.models.collapsed.parameterization import SDs

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


def split(sds: SDs, lengths: Sequence[int]) -> list[SDs]:
    """Cut draws of the SDs, leading dimensions (chains, draws), where they were given out.

    `lengths` are numbers of draws, in order; the last is that of all.
    """
    return [
        SDs(sds.factor_sds[:, start:stop], sds.sigma[:, start:stop])
        for start, stop in pairwise([0, *lengths])
    ]


def draw_effects(
    parts: Sequence[EffectsGivenSDs], seed: int, effects: Sequence[Any] | None
) -> np.ndarray:
    """Draw the intercept, and the effects into arrays, given draws of the SDs.

    Parameters
    ----------
    parts
        The effects' posterior given the SDs of each part of the draws.
    seed
        Of the draws.
    effects
        For each factor what its effects are assigned to, of shape (chains, draws, levels): an
        array, or a file's; None to draw the intercept alone.

    Returns
    -------
    ndarray
        The intercept, shape (chains, draws).
    """
    intercepts: list[np.ndarray] = []
    first = 0
    for part in parts:
        chains, number = np.shape(part.sds.sigma)
        put = None if effects is None else [Rows(array, first, number) for array in effects]
        noise = np.random.SeedSequence(seed, spawn_key=(EXTENSION, first) if first else ())
        intercepts.append(part.draw(noise, put).reshape(chains, number))
        first += number
    return np.concatenate(intercepts, axis=1)
