"""How bad input is told, and how what it holds is shown in a message."""

from collections.abc import Sequence


class InputError(ValueError):
    """Bad input, told in one sentence: what is wrong, where, and the way out."""


def shown(value: object, limit: int = 40) -> str:
    """Quote a value for a message, on one line and of bounded length."""
    text = str(value)
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")


def escaped(value: object, limit: int = 40) -> str:
    """Show a value as `shown` does, without quotes."""
    return shown(value, limit)[1:-1]


def listed(values: Sequence[object], limit: int) -> str:
    """Show the first of some values, and how many more there are."""
    more = [f"and {len(values) - limit:,} more"] if len(values) > limit else []
    return ", ".join([*map(shown, values[:limit]), *more])


def told(value: object) -> str:
    """Show an argument as Python writes it."""
    return shown(value) if isinstance(value, str) else escaped(repr(value))
