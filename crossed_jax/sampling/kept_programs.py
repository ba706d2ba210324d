"""Compiled programs kept between runs: a second run neither traces nor compiles.

Two things are kept in a directory of the user's own (:mod:`crossed_jax.sampling.cache_directory`).
JAX's persistent compilation cache holds what XLA compiled, which is most of the wait. The rest is
tracing, and the import of what is only needed for it: so the traced program is kept as well, as the
StableHLO that ``jax.export`` writes, under a digest of everything it was traced from: the package's
source, the versions, JAX's configuration, the device, the functions, the structure, types and
shapes of the arguments. A program whose origin cannot be described like that, such as one with a
function of the user's, is not kept, and none is while JAX is being debugged.

JAX's own settings come first: where they name a compilation cache it is used, and where they turn
it off nothing is kept. A file that cannot be read or does not match its checksum is as good as
none.
"""

import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FunctionType
from typing import Any

import jax
import numpy as np
from jax import export
from jax.experimental.compilation_cache import compilation_cache as jax_cache

from crossed_jax.files.whole import read_checked, write_checked
from crossed_jax.sampling.cache_directory import cache_directory
from crossed_jax.sampling.devices import available_devices

_in_use: dict[Path, Callable[..., Any]] = {}


def kept_program(
    function: Callable[..., Any], static: dict[str, Any], arguments: tuple, structure: Any
) -> Callable[..., Any]:
    """Take a program from the directory, or trace it and keep it there.

    Parameters
    ----------
    function
        Jitted.
    static
        Its static arguments.
    arguments
        Its other arguments, or others of their structure and shapes.
    structure
        Of what it returns.

    Returns
    -------
    Callable
        The function of the other arguments.
    """
    plain = functools.partial(function, **static)
    # whoever debugs JAX wants to see the functions at work
    debugging = jax.config.jax_disable_jit or jax.config.jax_debug_nans or jax.config.jax_debug_infs
    folder = None if debugging else cache_directory()
    leaves, treedef = jax.tree.flatten(arguments)
    name = None if folder is None else _name(function, static, leaves, treedef)
    if folder is None or name is None:
        return plain
    path = folder / name
    if path in _in_use:
        return _in_use[path]

    def flat(*leaves: Any) -> list:
        return jax.tree.leaves(plain(*jax.tree.unflatten(treedef, leaves)))

    shapes = [
        jax.ShapeDtypeStruct(
            np.shape(x), np.asarray(x).dtype, sharding=getattr(x, "sharding", None)
        )
        for x in leaves
    ]
    exported = _read(path)
    if exported is None:
        exported = export.export(jax.jit(flat))(*shapes)
        with suppress(OSError):  # a cache that cannot be written is no reason to stop
            write_checked(path, bytes(exported.serialize()))
    call = jax.jit(exported.call).lower(*shapes).compile()
    _in_use[path] = lambda *given: jax.tree.unflatten(structure, call(*jax.tree.leaves(given)))
    return _in_use[path]


@contextmanager
def compilation_cache() -> Iterator[None]:
    """Let JAX keep what it compiles in this block, however quick, in the user's directory."""
    folder = cache_directory()
    if folder is None or jax.config.jax_compilation_cache_dir is not None:
        yield
        return
    wanted = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in wanted}
    _configure(wanted)
    try:
        yield
    finally:
        _configure(before)


def _configure(settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    jax_cache.reset_cache()  # or JAX goes on with the directory that it saw first


def _name(function: Any, static: dict[str, Any], leaves: list, treedef: Any) -> str | None:
    """Name the file of a program by all that it was made from; None if that cannot be told."""
    try:
        parts = [
            _source_digest(),
            *(importlib.metadata.version(p) for p in ("jax", "jaxlib", "blackjax")),
            platform.python_version(),
            *_surroundings(),
            _describe(function.__wrapped__),
            *(f"{key}={_describe(value)}" for key, value in static.items()),
            _describe(treedef),
            *(f"{np.shape(x)}{np.asarray(x).dtype}" for x in leaves),
        ]
    except TypeError:
        return None
    return hashlib.sha256("\n".join(parts).encode()).hexdigest() + ".stablehlo"


def _surroundings() -> Iterator[str]:
    """Describe what a trace depends on besides the function and its arguments.

    Which options of JAX those are is not for this package to say: any other may be one.
    """
    device = available_devices()[0]
    yield from (device.platform, device.device_kind, repr(jax.sharding.get_abstract_mesh()))
    for name, value in sorted(jax.config.values.items()):
        yield f"{name}={_lasting(value)}"


def _describe(value: Any) -> str:
    """Describe what a program was made from, the same in every process; TypeError if I can't."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, FunctionType):
        cells = [_describe(cell.cell_contents) for cell in value.__closure__ or ()]
        return f"{_package(value)}:{value.__qualname__}({', '.join(cells)})"
    if isinstance(value, tuple):
        return f"{_package(type(value))}({', '.join(map(_describe, value))})"
    if isinstance(value, jax.sharding.Mesh) and jax.process_count() == 1:
        return repr(value)
    if isinstance(value, jax.tree_util.PyTreeDef):
        node = value.node_data()
        inner = ", ".join(_describe(child) for child in value.children())
        if node is None:
            return f"leaf({inner})"
        kind, data = node
        # NumPyro orders a distribution's leaves by a set, which each process orders anew
        order: tuple = getattr(kind, "gather_pytree_data_fields", tuple)()
        return f"{_package(kind)}.{kind.__qualname__}[{_lasting(data)}, {order}]({inner})"
    raise TypeError(f"a {type(value).__name__} has no lasting description")


def _lasting(value: Any) -> str:
    if " at 0x" in repr(value):
        raise TypeError(f"{value!r} has no lasting description")
    return repr(value)


def _package(thing: Any) -> str:
    module = thing.__module__
    root = module.split(".")[0]
    if root == "numpyro":
        return f"{module}-{importlib.metadata.version('numpyro')}"
    if root not in ("crossed_jax", "builtins"):
        raise TypeError(f"{module} may change from run to run")
    return module


@functools.cache
def _source_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> export.Exported | None:
    try:
        program = read_checked(path)
        return None if program is None else export.deserialize(bytearray(program))
    except Exception:  # not there, or of another version: whatever it is, it is traced again
        return None
