"""What a reader should know about the factors of a table, though the model can do with it."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import polars as pl

from crossed_jax.errors import shown
from crossed_jax.tables.crossed_data import Factor


def remarks(factors: Sequence[Factor]) -> tuple[str, ...]:
    """Give plain sentences on factors and levels that look like another by mistake."""
    return (*_similar_levels(factors), *_same_groupings(factors))


def _similar_levels(factors: Sequence[Factor]) -> Iterator[str]:
    for factor in factors:
        levels = pl.Series(factor.levels)
        folded = levels.str.strip_chars().str.to_lowercase()
        repeated = folded.is_duplicated()
        if repeated.any():
            first, second = levels.filter(folded == folded.filter(repeated)[0])[:2]
            yield (
                f"{factor.name} has levels that differ only by case or by space around them, such "
                f"as {shown(first)} and {shown(second)}: they are fitted as levels of their own."
            )


def _same_groupings(factors: Sequence[Factor]) -> Iterator[str]:
    for one, other in combinations(factors, 2):
        if len(one.levels) == len(other.levels):
            partner = np.empty(len(one.levels), np.int32)
            partner[one.codes] = other.codes
            if np.array_equal(partner[one.codes], other.codes):
                yield (
                    f"{one.name} and {other.name} group the rows alike: the data "
                    "inform the sum of their effects, and only the priors share it out."
                )
