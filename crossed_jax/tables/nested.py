"""A factor whose levels belong to those of another: the guides of genes, the samples of lines."""

from collections import Counter

import numpy as np

from crossed_jax.errors import InputError, escaped, shown
from crossed_jax.tables.crossed_data import Factor, Nested


def parent_of(factors: tuple[Factor, ...], units: Factor) -> int | None:
    """Find the one factor in a single level of which each unit lies, by position; None if unclear.

    Labels that start again with each level do not tell; nor do units of which each has one row.
    """
    found = [
        k for k, factor in enumerate(factors) if len(_pairs(factor, units)) == len(units.levels)
    ]
    return found[0] if len(found) == 1 else None


def nested_in(factors: tuple[Factor, ...], parent: int, units: Factor, where: str) -> Nested:
    """Nest units in a factor.

    Labels that start again with each of its levels, such as 1 to 4 in each gene, are told apart by
    these.

    Parameters
    ----------
    factors, parent
        The crossed factors, and the position of the one that they are nested in.
    units
        What is nested, by its labels.
    where
        The table, for messages.

    Raises
    ------
    InputError
        If single units belong to two levels, or labels told apart by these are no longer so.
    """
    outer = factors[parent]
    found = _pairs(outer, units)
    codes = np.searchsorted(found, _numbered(outer, units))
    of_outer, of_units = np.divmod(found, len(units.levels))
    owners = np.bincount(of_units, minlength=len(units.levels))
    starts_again = np.count_nonzero(owners > 1) > len(owners) / 2
    if owners.max() > 1 and not starts_again:
        unit = int(np.argmax(owners))
        first, second = (outer.levels[k] for k in of_outer[of_units == unit][:2])
        raise InputError(
            f"{where}: {escaped(units.name)} {shown(units.levels[unit])} belongs to two levels of "
            f"{escaped(outer.name)}, {shown(first)} and {shown(second)}: leave its rows out, or "
            "give it a label for each."
        )
    labels = [units.levels[k] for k in of_units]
    if starts_again:
        labels = [
            told_apart(outer.levels[k], label) for k, label in zip(of_outer, labels, strict=True)
        ]
    if len(set(labels)) < len(labels):
        twice = Counter(labels).most_common(1)[0][0]
        raise InputError(
            f"{where}: two levels of {escaped(units.name)} would be called {shown(twice)}, by "
            f"{escaped(outer.name)} and label: rename one of them."
        )
    factor = Factor(units.name, tuple(labels), codes.astype(np.int32))
    return Nested(factor, parent, of_outer.astype(np.int32), units)


def told_apart(level: str, label: str) -> str:
    """Name a unit whose label starts again with each level."""
    return f"{level} {label}"


def _numbered(outer: Factor, units: Factor) -> np.ndarray:
    """Number the pairs of a level and a label, shape (rows,)."""
    return outer.codes.astype(np.int64) * len(units.levels) + units.codes


def _pairs(outer: Factor, units: Factor) -> np.ndarray:
    """Those that there are, in order."""
    return np.unique(_numbered(outer, units))
