"""What is asked for of a table: the names of columns, as text."""

from collections.abc import Iterable, Sequence, Set
from typing import Any

import numpy as np

from crossed_jax.errors import InputError, told

# What names a column: text, or what pandas may have in its place.
_NAMES = (str, int, np.integer, tuple)


def names_of(response: Any, factors: Any) -> tuple[str, tuple[str, ...]]:
    """Give the names of columns as text, and refuse those that cannot be used."""
    ordered = isinstance(factors, Iterable) and not isinstance(factors, str | bytes | Set)
    factors = tuple(factors) if ordered else ()
    if not ordered or not all(isinstance(name, _NAMES) for name in (response, *factors)):
        raise InputError(
            "the response must be a column name and the factors a list of column names: "
            "give, for example, response='logfc', factors=('gene', 'cell_line')."
        )
    response, factors = str(response), tuple(map(str, factors))
    if len(factors) < 2:
        raise InputError(
            f"a crossed model needs at least two factors, got {len(factors)}: "
            "name two or more columns, such as gene and cell_line."
        )
    return response, factors


def names_of_units(factors: Sequence[str], nested: Any, sample: Any) -> dict[str, str]:
    """Give the names of columns of what is nested in the factors, by the argument that has them."""
    found = {}
    for argument, name, example in (("nested", nested, "guide"), ("sample", sample, "replicate")):
        if name is None:
            continue
        if not isinstance(name, _NAMES):
            raise InputError(
                f"{argument} is {told(name)}: give the name of a column, such as {example}."
            )
        found[argument] = str(name)
    if "sample" in found and len(factors) != 2:
        raise InputError(
            f"samples are told apart in tables of two factors, and this has {len(factors)}: leave "
            "sample out."
        )
    return found
