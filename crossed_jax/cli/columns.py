"""Names of columns, as flags take them."""

from crossed_jax.errors import InputError


def split(flag: str, factors: list[str]) -> tuple[str, ...]:
    """Give the names of columns, with commas between or one for each time that a flag is given."""
    if len(factors) > 1:
        return tuple(factors)
    names = tuple(name.strip() for name in factors[0].split(","))
    if len(names) > 1 and "" in names:
        raise InputError(
            f"{flag} {factors[0]!r} names a column of no name: give names with one comma "
            "between, such as gene,cell_line."
        )
    return names
