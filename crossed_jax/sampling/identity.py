"""What a run is: all that decides its draws, in plain values that can be compared."""

import ast
import functools
import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.models.priors import Priors
from crossed_jax.models.spelling import spell
from crossed_jax.sampling.devices import available_devices
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.tables.names import of_factor

DECIDING_PACKAGES = ("crossed-jax", "jax", "jaxlib", "blackjax", "numpy", "scipy")
DECIDING_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_threefry_partitionable",
)


def table_digest(data: CrossedData) -> str:
    """Digest of a table as it is fitted: its response, codes and labels."""
    digest = hashlib.sha256(np.ascontiguousarray(data.response, "<f8").tobytes())
    for factor in data.factors:
        digest.update(json.dumps([factor.name, *factor.levels]).encode())
        digest.update(np.ascontiguousarray(factor.codes, "<i8").tobytes())
    return digest.hexdigest()


def exact_priors(priors: Priors, data: CrossedData) -> dict[str, str]:
    """Write priors out so that no two different ones read the same.

    Raises
    ------
    InputError
        If one is not of this package or NumPyro: what it computes may change from run to run.
    """
    names = [factor.name for factor in data.factors]
    listed = {
        **{
            of_factor(name, "mean"): prior
            for name, prior in zip(names, priors.factor_means, strict=True)
        },
        **{
            of_factor(name, "sd"): prior
            for name, prior in zip(names, priors.factor_sds, strict=True)
        },
        "sigma": priors.sigma,
    }
    written = {}
    for name, prior in listed.items():
        try:
            written[name] = spell(prior, exactly=True)
        except TypeError as error:
            raise InputError(
                f"the prior of {name} cannot be kept in a checkpoint, as {error} may be another "
                "in the next run: give a distribution of numpyro, or leave the checkpoint out."
            ) from None
    return written


def computing() -> dict[str, Any]:
    """Tell what computes the draws: versions, the package's code, the device, JAX's settings.

    The code is told without its docstrings, comments and layout, which decide nothing. Where
    versions alone are compared, a working copy that changed between two commits would append other
    numbers to a run; where files are, a corrected comment would end it.
    """
    return {
        "versions": {name: importlib.metadata.version(name) for name in DECIDING_PACKAGES},
        "code": _code_digest(),
        "device": available_devices()[0].device_kind,
        "settings": {name: getattr(jax.config, name) for name in DECIDING_SETTINGS},
    }


@functools.cache
def _code_digest() -> str:
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(_code(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()


def _code(source: str) -> str:
    """Give a module's statements, one spelling for all layouts."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return ast.unparse(tree)


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a string that nothing is done with, as a docstring is."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
