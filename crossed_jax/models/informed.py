"""What a table can inform of a screen model, and what a reader should know of what is left out."""

import numpy as np

from crossed_jax.errors import InputError, told
from crossed_jax.models.screen.parts import Parts
from crossed_jax.statistics.cells import has_replicates
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.tables.remarks import guides_are_hidden

FEWEST_LEVELS = 3
MOST_UNITS = 16


def lacking_in(data: CrossedData, genes: int) -> dict[str, str]:
    """Parts that the table cannot inform, and why."""
    lacking = {}
    few = [len(factor.levels) < FEWEST_LEVELS for factor in data.factors]
    num_lines = len(data.factors[1 - genes].levels)
    names = data.factor_names
    why = "fewer than 3 levels cannot tell how levels differ"
    if few[1 - genes]:
        lacking["slopes"] = f"slopes by {names[1 - genes]}: {why}."
        lacking["line_noise"] = f"noise by {names[1 - genes]}: {why}."
    if few[genes]:
        lacking["gene_noise"] = f"noise by {names[genes]}: {why}."
    if not has_replicates(data):
        lacking["interaction"] = (
            "interaction: replicates alone tell it from noise, and no two rows share all levels."
        )
    if data.samples is not None:
        name, line = data.samples.units.name, names[1 - genes]
        if len(data.samples.units.levels) == num_lines:
            lacking["sample"] = f"effects of {name}: each level of {line} has a single one."
        elif "interaction" in lacking:
            lacking["sample"] = (
                f"effects of {name}: rows that share all levels tell these from those of {line}, "
                "and no two do."
            )
    return lacking


def require_several(data: CrossedData) -> None:
    """Refuse nested units that are no other than the levels that they are nested in."""
    if data.nested is None:
        return
    outer, units = data.factors[data.nested.parent], data.nested.units
    if len(units.levels) == len(outer.levels):
        raise InputError(
            f"each level of {outer.name} has a single {units.name}, which cannot be told from it: "
            "leave nested out."
        )


def require_few(data: CrossedData) -> None:
    """Refuse noise by unit where a level has very many: each is a row of a matrix of its own."""
    if data.nested is None:
        return
    outer, name = data.factors[data.nested.parent], data.nested.units.name
    number = np.bincount(data.nested.parent_of_unit)
    if number.max() > MOST_UNITS:
        raise InputError(
            f"{outer.name} {told(outer.levels[number.argmax()])} has {number.max():,} levels of "
            f"{name}, and with noise by {name} {MOST_UNITS} are the most: leave {name} out of "
            "noise_by, or these rows out of the table."
        )


def unused(parts: Parts | None, data: CrossedData) -> tuple[str, ...]:
    """What to say of units that were read, and that the model has no effects of."""
    has = (None, None) if parts is None else (parts.nested, parts.sample)
    read = (each.units.name for each in data.units)
    return tuple(
        f"The model has no effects of {name}, which the table was read with: model='screen' has."
        for name in read
        if name not in has
    )


def hidden(parts: Parts | None, data: CrossedData) -> tuple[str, ...]:
    """What to say where interactions hold what is guides'."""
    if parts is None or not parts.interaction or data.guide_column is None:
        return ()
    return (guides_are_hidden(data.guide_column),)
