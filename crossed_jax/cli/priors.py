"""Priors as they are written on the command line: ``gene_sd=HalfNormal(2)``.

The text is taken apart as Python's grammar has it and never evaluated: a distribution of this list,
and numbers.
"""

import ast
import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from crossed_jax.errors import InputError, shown

if TYPE_CHECKING:
    from crossed_jax.models.priors import Priors
    from crossed_jax.tables.crossed_data import CrossedData

DISTRIBUTIONS = {  # and their parameters, as NumPyro calls them
    "Normal": ("loc", "scale"),
    "HalfNormal": ("scale",),
    "Exponential": ("rate",),
    "Gamma": ("concentration", "rate"),
    "InverseGamma": ("concentration", "rate"),
    "LogNormal": ("loc", "scale"),
    "HalfCauchy": ("scale",),
    "Uniform": ("low", "high"),
    "Beta": ("concentration1", "concentration0"),
    "LogitNormal": ("loc", "scale"),
}
_LONGEST = 1_000


class _Written(NamedTuple):
    name: str
    distribution: str
    parameters: tuple[float, ...]


def check_priors(texts: Sequence[str]) -> None:
    """Refuse what is written wrongly.

    Raises
    ------
    InputError
        For the first of the texts that is no prior, or is of what another is of.
    """
    names = [_read(text).name for text in texts]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--prior is given twice for {shown(name)}: leave one of them out.")


def with_priors(name: str, texts: Sequence[str], data: "CrossedData") -> "str | Priors":
    """Give the named priors, some of them replaced."""
    from crossed_jax.models.priors import Priors

    if not texts:
        return name
    base = Priors.scaled(data) if name == "scaled" else Priors.post(data)
    return base.replace({each.name: _distribution(each) for each in map(_read, texts)})


def _distribution(prior: _Written) -> Any:
    from crossed_jax.models import distributions

    ours = getattr(distributions, prior.distribution, None)
    if ours is not None:
        return ours(*prior.parameters)
    import numpyro.distributions as dist

    try:
        return getattr(dist, prior.distribution)(*prior.parameters)
    except ValueError:
        given = ", ".join(f"{number:g}" for number in prior.parameters)
        raise InputError(
            f"--prior {prior.name}={prior.distribution}({given}) has parameters that "
            f"{prior.distribution} cannot have: scales, rates and concentrations are positive."
        ) from None


def _read(text: str) -> _Written:
    name, equals, written = (part.strip() for part in text.partition("="))
    if not name or not equals:
        raise InputError(
            f"--prior {shown(text)} is no prior: write one as gene_sd=HalfNormal(2), with the name "
            "of what it is a prior of."
        )
    call = _call(written)
    if call is None:
        raise InputError(
            f"--prior {shown(text)} has no distribution after the equals sign: write one with its "
            "parameters, such as HalfNormal(2)."
        )
    kind, given, by_name = call
    if kind not in DISTRIBUTIONS:
        raise InputError(
            f"--prior {shown(text)} has an unknown distribution, {shown(kind)}: choose one of "
            f"{', '.join(DISTRIBUTIONS)}."
        )
    wanted = DISTRIBUTIONS[kind]
    values = dict(zip(wanted, given, strict=False))
    right = len(given) <= len(wanted) and values.keys().isdisjoint(by_name)
    values |= by_name
    if not right or values.keys() != set(wanted):
        raise InputError(
            f"--prior {shown(text)} has other parameters than {kind}: give it as "
            f"{kind}({', '.join(wanted)}), with a number for each."
        )
    numbers = tuple(_number(values[parameter]) for parameter in wanted)
    if None in numbers:
        wrong = wanted[numbers.index(None)]
        raise InputError(
            f"--prior {shown(text)} has a {wrong} that is not a number: write it as 2, 0.5 or 1e-3."
        )
    return _Written(name, kind, tuple(number for number in numbers if number is not None))


def _call(text: str) -> tuple[str, list[ast.expr], dict[str, ast.expr]] | None:
    """Take a call apart: what is called, its arguments, and those by name."""
    if len(text) > _LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python's to its programmers
            call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        return None
    by_name = {each.arg: each.value for each in call.keywords if each.arg is not None}
    if len(by_name) < len(call.keywords):
        return None
    return call.func.id, call.args, by_name


def _number(node: ast.expr) -> float | None:
    sign = 1.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        sign, node = -1.0 if isinstance(node.op, ast.USub) else 1.0, node.operand
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with suppress(OverflowError):
        if math.isfinite(float(value)):
            return sign * float(value)
    return None
