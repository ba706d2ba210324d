"""Distributions written out: for a reader, or so that no two different ones read the same."""

import importlib.metadata
import weakref
from typing import Any

import jax
import numpy as np


def spell(value: Any, *, exactly: bool = False) -> str:
    """Write a distribution out, those within it included.

    Parameters
    ----------
    value
        A distribution, or anything that one holds.
    exactly
        Whether to tell the types of numbers, the versions of classes and what was derived, too.

    Raises
    ------
    TypeError
        If a part has no description that lasts, where one is asked for.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        numbers = np.asarray(value)
        return f"{numbers.dtype}({numbers.tolist()})" if exactly else repr(numbers.tolist())
    kind = type(value)
    if kind in (list, tuple):
        return f"[{', '.join(spell(part, exactly=exactly) for part in value)}]"
    package = kind.__module__.split(".")[0]
    if exactly and package not in ("crossed_jax", "numpyro"):
        raise TypeError(f"a {kind.__name__}")
    parts = (f"{k}={spell(v, exactly=exactly)}" for k, v in _parts(value, exactly).items())
    written = f"{kind.__name__}({', '.join(parts)})"
    return f"{package}-{importlib.metadata.version(package)}.{written}" if exactly else written


def _parts(value: Any, exactly: bool) -> dict[str, Any]:
    """Give what a distribution, transform or constraint consists of, by name; or what it was given.

    NumPyro's pytrees are of no use here: the order of their leaves differs from process to process.
    """
    kind = type(value)
    if hasattr(value, "_asdict"):  # of this package
        return value._asdict()
    if not hasattr(kind, "gather_pytree_data_fields"):
        parts = vars(value) if kind.__module__.startswith("numpyro") else {}
        return {k: v for k, v in sorted(parts.items()) if not isinstance(v, weakref.ref)}
    if exactly:
        held = {*kind.gather_pytree_data_fields(), *kind.gather_pytree_aux_fields()}
        names = sorted(held - {"_validate_args"}, key=lambda name: (name.startswith("_"), name))
    else:
        declared = (
            vars(base).get("pytree_data_fields", vars(base).get("arg_constraints", ()))
            for base in kind.mro()
        )
        given = list(next(filter(None, declared), ()))
        names = [name for name in given if not name.startswith("_")] or given
    return {name: vars(value).get(name) for name in names}
