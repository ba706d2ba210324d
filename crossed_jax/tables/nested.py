"""A factor whose levels belong to those of another: the guides of genes, the samples of lines."""

import numpy as np

from crossed_jax.errors import InputError, escaped, shown
from crossed_jax.tables.crossed_data import Factor, Nested


def nested_in(
    factors: tuple[Factor, ...], parent: int, units: Factor, argument: str, where: str
) -> Nested:
    """Nest units in a factor.

    Labels that start again with each of its levels, such as 1 to 4 in each gene, are told apart by
    these.

    Parameters
    ----------
    factors, parent
        The crossed factors, and the position of the one that they are nested in.
    units
        What is nested, by its labels.
    argument, where
        That named them, and the table, for messages.

    Raises
    ------
    InputError
        If single units belong to two levels, or none has another beside it.
    """
    outer = factors[parent]
    pairs = outer.codes.astype(np.int64) * len(units.levels) + units.codes
    found, codes = np.unique(pairs, return_inverse=True)
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
    if len(found) == len(outer.levels):
        raise InputError(
            f"{where}: each level of {escaped(outer.name)} has a single {escaped(units.name)}, "
            f"which cannot be told from it: leave {argument} out."
        )
    labels = [units.levels[k] for k in of_units]
    if starts_again:
        labels = [f"{outer.levels[k]} {label}" for k, label in zip(of_outer, labels, strict=True)]
    factor = Factor(units.name, tuple(labels), codes.astype(np.int32))
    return Nested(factor, parent, of_outer.astype(np.int32))
