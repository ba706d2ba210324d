"""What a run is: all that decides its draws, in plain values that can be compared."""

import ast
import functools
import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

import jax

from crossed_jax.sampling.devices import available_devices

DECIDING_PACKAGES = ("crossed-jax", "jax", "jaxlib", "blackjax", "numpy", "scipy")
DECIDING_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_threefry_partitionable",
)


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
