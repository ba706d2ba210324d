"""Every test computes in float64, as the library does inside a fit.

Compiled programs are kept between sessions, in the user's own directory below the system's for
temporary files: the next session compiles what has changed. Python's bytecode, where the caller
wants none beside the source, is kept in a directory of the session's, which all its processes
share. XLA leaves LLVM's optimizations out, which compiles in two thirds of the time, but where fits
are so large or long that light ones pay (`optimized`).
"""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xarray import DataTree

if "PYTEST_XDIST_WORKER" not in os.environ:
    session = tempfile.mkdtemp(prefix="crossed-jax-tests-")
    atexit.register(shutil.rmtree, session, ignore_errors=True)
    user = getattr(os, "getuid", int)()
    os.environ["CROSSED_JAX_CACHE"] = f"{tempfile.gettempdir()}/crossed-jax-tests-of-{user}"
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    lightly = "--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true"
    os.environ["XLA_FLAGS"] = f"{lightly} {os.environ.get('XLA_FLAGS', '')}"
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the workers have all cores at work
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):  # each process would compile all it imports
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = f"{session}/bytecode"
        sys.dont_write_bytecode = False

import pytest
from xdist.scheduler import LoadScopeScheduling

# files whose tests look at the same fits, which one worker makes for all
OF_SCREEN_FITS = (
    *("test_screen_command", "test_screen_checkpoint", "test_log_likelihood", "test_predict"),
    *("test_unit_predictions", "test_student_t_interactions", "test_compare_command"),
)
LONGEST = (  # files and groups by seconds
    *("test_readme", "fits of screens", "test_exactness", "test_real_tables", "test_guide_results"),
    *("test_devices", "test_guides", "test_guide_effects", "test_sharing", "test_kept_programs"),
    *("test_benchmarks", "test_calibration", "test_parameterization", "test_density"),
    *("test_guide_blocks", "test_modes", "test_student_t", "test_draws_file", "test_models"),
)


class InGroups(LoadScopeScheduling):
    """Give a worker whole groups of files."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(Path(nodeid.split("::", maxsplit=1)[0]))


def group_of(path: Path) -> str:
    return "fits of screens" if path.stem in OF_SCREEN_FITS else path.stem


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> InGroups:
    return InGroups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first the groups that take longest, lest a worker end with one."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(group_of(item.path), len(rank)))


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    import jax  # late: the process that hands out the tests runs none

    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def optimized() -> Iterator[None]:
    """Compile with light optimizations, for fits so large or long that it pays."""
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


@pytest.fixture(scope="session")
def unit_fit() -> "DataTree":
    """A fit with guides, samples and all parts, its draws where chains would start."""
    from screen_tables import starts_as_draws
    from unit_screen import EVERY_PART, TABLE

    import crossed_jax as cj

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("crossed_jax.fitting.sample", starts_as_draws)
        return cj.fit(TABLE, model=EVERY_PART, num_chains=2, num_draws=5)
