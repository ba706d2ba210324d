"""Rows without a response: left out, counted and told."""

import numpy as np

from crossed_jax.errors import InputError, listed, shown
from crossed_jax.tables.crossed_data import Factor


def leave_out_missing(
    values: np.ndarray, response: str, factors: list[Factor], where: str, unit: str = "row"
) -> tuple[np.ndarray, list[Factor], list[str]]:
    """Leave out the rows that have no response, and the levels that have no row but those.

    Parameters
    ----------
    values
        The response, NaN where it is missing.
    response
        Its name.
    factors
        With a code for each row.
    where
        The table, for a message.
    unit
        What of the table has a value of its own.

    Returns
    -------
    values, factors
        Of the rows that are left.
    notes
        What was left out, in plain sentences.

    Raises
    ------
    InputError
        If none is left.
    """
    missing = np.isnan(values)
    number = int(np.count_nonzero(missing))
    if number == len(values):
        raise InputError(
            f"{where}: {shown(response)} is missing in every {unit}: choose another response."
        )
    if not number:
        return values, factors, []
    have, were = ("has", "was") if number == 1 else ("have", "were")
    notes = [
        f"{number:,} of {len(values):,} {unit}s ({_percent(number / len(values))}) "
        f"{have} no value of {response} and {were} left out."
    ]
    kept = ~missing
    return values[kept], [_kept(factor, kept, response, notes) for factor in factors], notes


def _kept(factor: Factor, kept: np.ndarray, response: str, notes: list[str]) -> Factor:
    """Keep some rows, and the levels that have any of them."""
    codes = factor.codes[kept]
    seen = np.bincount(codes, minlength=len(factor.levels)) > 0
    if seen.all():
        return Factor(factor.name, factor.levels, codes)
    levels = np.array(factor.levels, dtype=object)
    lost = levels[~seen]
    noun, have, were = ("level", "has", "was") if len(lost) == 1 else ("levels", "have", "were")
    notes.append(
        f"{len(lost):,} {noun} of {factor.name} {have} no value of {response} at all "
        f"and {were} left out: {listed(lost.tolist(), 5)}."
    )
    position = np.cumsum(seen, dtype=np.int32) - np.int32(1)
    return Factor(factor.name, tuple(levels[seen]), position[codes])


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"
