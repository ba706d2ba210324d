"""Every test computes in float64, as the library does inside a fit.

Compiled programs, and Python's bytecode where the caller wants none beside the source, are kept in
a directory of the session's, which all its processes share. XLA leaves LLVM's optimizations out,
which compiles in two thirds of the time.
"""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xarray import DataTree

if "PYTEST_XDIST_WORKER" not in os.environ:
    session = tempfile.mkdtemp(prefix="crossed-jax-tests-")
    atexit.register(shutil.rmtree, session, ignore_errors=True)
    os.environ["CROSSED_JAX_CACHE"] = f"{session}/programs"
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the workers have all cores at work
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):  # each process would compile all it imports
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = f"{session}/bytecode"
        sys.dont_write_bytecode = False

import pytest

LONGEST = (  # files by seconds
    *("readme", "real_tables", "guide_results", "sharing", "devices", "exactness"),
    *("screen_checkpoint", "unit_predictions"),
    *("benchmarks", "calibration", "kept_programs", "screen_command", "parameterization"),
    *("density", "modes", "student_t", "draws_file", "model", "fitting", "models", "checkpoint"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first the files that take longest, lest a worker end with one."""
    rank = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    import jax  # late: the process that hands out the tests runs none

    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def optimized() -> Iterator[None]:
    """Compile as users do, for fits so large or long that it pays."""
    import jax

    name = "jax_disable_most_optimizations"
    jax.config.update(name, False)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(name.upper(), "0")  # of the processes that these tests start
        yield
    jax.config.update(name, True)


@pytest.fixture(scope="session")
def screen_fit() -> "DataTree":
    """A fit of a small screen with all parts, to be looked at and not changed."""
    from screen_tables import SCREEN, SETTINGS

    import crossed_jax as cj

    return cj.fit(SCREEN, model="screen", **SETTINGS)
