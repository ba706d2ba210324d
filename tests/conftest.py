"""Every test computes in float64, as the library does inside a fit.

Compiled programs are kept in a directory of the tests' own, which their processes share.
"""

import os
import tempfile
from collections.abc import Iterator

import jax
import pytest

os.environ.setdefault("CROSSED_JAX_CACHE", tempfile.mkdtemp(prefix="crossed-jax-tests-"))


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield
