"""What a reader should know about the factors of a table, though the model can do with it."""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import polars as pl

from crossed_jax.errors import escaped, shown
from crossed_jax.tables.crossed_data import Factor

_GUIDE = r"(?:(?:sg|g|sh)[ _-]?rnas?|guides?)"
_NAMES_GUIDES = re.compile(rf"{_GUIDE}(?:[ _-]?(?:id|name|seq|sequence))?", re.IGNORECASE)
_COUNTS_GUIDES = re.compile(
    rf"(?:n|num|number|count)[ _-]?(?:of)?[ _-]?{_GUIDE}|{_GUIDE}[ _-]?(?:n|num|number|counts?)",
    re.IGNORECASE,
)


def hidden_guides(columns: Sequence[str]) -> str | None:
    """Find the column that names guides, or else that counts them."""
    found = [
        name for kind in (_NAMES_GUIDES, _COUNTS_GUIDES) for name in columns if kind.fullmatch(name)
    ]
    return found[0] if found else None


def guides_are_hidden(column: str) -> str:
    """Say what that means for interactions."""
    if _COUNTS_GUIDES.fullmatch(column):
        says = f"the column {escaped(column)} says that values are means over guides"
        way_out = "if you have the guides' own rows, read these with nested="
    else:
        says = f"the column {escaped(column)} names guides that the model knows nothing of"
        way_out = f"read the table with nested={shown(column)}"
    return (
        f"{says}: what single guides do to a line is then taken for their gene's interaction, and "
        f"many a call will have the wrong sign: {way_out}."
    )


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
