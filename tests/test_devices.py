"""Chains over several devices and processes; each in a process of its own, as JAX wants it."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

FIT = """
def fit(method):
    tree = cj.fit(
        cj.penicillin(), parameterization="{form}", priors="scaled",
        num_warmup=200, num_draws=100, chain_method=method,
    )
    return tree["posterior"]["sigma"].to_numpy()
"""

DEVICES = """
import jax
import numpy as np
import crossed_jax as cj
jax.config.update("jax_num_cpu_devices", {number})
{fit}
found = {{method: fit(method) for method in ("vectorized", "sequential", "parallel")}}
for method in ("sequential", "parallel"):
    np.testing.assert_allclose(found[method], found["vectorized"], rtol=1e-9)

from crossed_jax import nuts, programs
programs._in_use.clear()
jax.clear_caches()
nuts._advance = None  # tracing would call it: the program for these devices was kept
np.testing.assert_array_equal(fit("parallel"), found["parallel"])
"""

PROCESSES = """
import sys
import jax
import numpy as np
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
import crossed_jax as cj
assert jax.device_count() == 4
{fit}
np.save(sys.argv[3], fit("parallel"))
"""

ALONE = """
import sys
import numpy as np
import crossed_jax as cj
{fit}
np.save(sys.argv[1], fit("vectorized"))
"""


def program(text, form, **values):
    return [sys.executable, "-c", text.format(fit=FIT.format(form=form), **values)]


@pytest.mark.parametrize(("form", "number"), [("collapsed", 2), ("sum_to_zero", 4)])
def test_draws_do_not_depend_on_how_chains_share_the_devices(form, number):
    subprocess.run(program(DEVICES, form, number=number), check=True)


def test_two_processes_draw_what_one_does(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = os.environ | {"CROSSED_JAX_CACHE": "off"}
    both = [
        subprocess.Popen(
            [*program(PROCESSES, "sum_to_zero"), address, str(i), str(tmp_path / f"{i}.npy")],
            env=environment,
        )
        for i in range(2)
    ]
    try:
        assert [process.wait(timeout=240) for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
    subprocess.run([*program(ALONE, "sum_to_zero"), str(tmp_path / "alone.npy")], check=True)
    alone = np.load(tmp_path / "alone.npy")
    for i in range(2):
        np.testing.assert_allclose(np.load(tmp_path / f"{i}.npy"), alone, rtol=1e-9)
