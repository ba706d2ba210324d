"""What callers give, made plain before anything is run: it decides the draws and is recorded.

Whole numbers are whatever Python takes for an index, NumPy's among them. A float is none, even one
that is a whole number: where it came from a division the next may not be.
"""

import operator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from crossed_jax.errors import InputError, told

_NOT_NUMBERS = (bool, np.bool_, str, bytes)


def whole_number(name: str, value: Any, *, at_least: int) -> int:
    """Give a whole number as an int.

    Parameters
    ----------
    name
        What it is, for the message.
    value
        As given.
    at_least
        The smallest that makes sense.

    Raises
    ------
    InputError
        If it is none, or smaller.
    """
    if not isinstance(value, _NOT_NUMBERS):
        with suppress(TypeError):
            number = operator.index(value)
            if number >= at_least:
                return number
    raise InputError(f"the {name} is {told(value)}: give a whole number, {at_least} or more.")


def real_number(name: str, value: Any) -> float:
    """Give a single number as a float, NaN and infinity among them.

    Raises
    ------
    InputError
        If it is none.
    """
    if not isinstance(value, _NOT_NUMBERS):
        with suppress(TypeError, ValueError, OverflowError):
            return float(value)
    raise InputError(f"the {name} is {told(value)}: give a number.")


def seed_number(value: Any) -> int:
    """Give a seed as an int.

    Raises
    ------
    InputError
        If it is no whole number of 63 bits.
    """
    with suppress(InputError):
        seed = whole_number("seed", value, at_least=0)
        if seed < 2**63:
            return seed
    raise InputError(f"the seed is {told(value)}: give a whole number from 0 to 2**63 - 1.")


def path_of(name: str, value: Any) -> Path:
    """Give a path.

    Raises
    ------
    InputError
        If it is none.
    """
    with suppress(TypeError):
        path = Path(value)
        if "\0" not in str(path):
            return path
    raise InputError(f"{name} is {told(value)}: give a path.")
