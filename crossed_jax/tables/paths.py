"""A table's file: whether it is there, of what kind, and which bytes it holds."""

import hashlib
from pathlib import Path

from crossed_jax.errors import InputError, shown
from crossed_jax.tables.checks import reading, reason
from crossed_jax.tables.delimited import DELIMITERS


def named(path: object) -> str:
    """Show a path in a message."""
    text = str(path)
    return text if text.isprintable() else shown(text)


def kind_of(path: Path, where: str) -> str:
    """Tell a table's kind by its suffix, one of :data:`DELIMITERS` or `.parquet`.

    Raises
    ------
    InputError
        If there is no such file, nothing in it, or it is of no kind that can be read.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = suffixes[-1:] in ([".gz"], [".zst"])
    kind = "".join(suffixes[-2:-1] if compressed else suffixes[-1:])
    try:
        if not path.exists():
            raise InputError(f"{where} does not exist: check the path.")
        if not path.is_file():
            raise InputError(f"{where} is not a file: give the path of a table.")
        if path.stat().st_size == 0:
            raise InputError(f"{where} is empty: give a table with column names and rows.")
    except (OSError, UnicodeError) as error:
        raise InputError(f"{where} cannot be opened ({reason(error)}): check the path.") from None
    if kind in DELIMITERS or (kind == ".parquet" and not compressed):
        return kind
    raise InputError(
        f"{where} is of no kind that can be read: give .csv or .tsv (plain, .gz or .zst), "
        "or .parquet, and rename the file if it is one of these."
    )


def sha256_of(path: Path, where: str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with reading(where, "a file"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
