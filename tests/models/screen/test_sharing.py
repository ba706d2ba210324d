"""Devices that share the genes give the draws of one, to rounding."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

FIT = """
import sys
import jax
import numpy as np
jax.config.update("jax_num_cpu_devices", {devices})
{begin}
sys.path.insert(0, {tests!r})
from screen_tables import simulated
import crossed_jax as cj
from crossed_jax.models.screen import strata
strata.BLOCK_BYTES = 8 * 5 * 6  # several blocks, of which one device has fewer
def fit(method):
    tree = cj.fit(
        simulated(0, 25, 5, 2), model=cj.Model("line", ("gene", "line")), num_chains={chains},
        num_warmup=5, num_draws=20, chain_method=method,
    )
    draws = tree["posterior"].to_dataset()
    return np.concatenate([draws[name].to_numpy().ravel() for name in draws.data_vars])
"""
COMPARE = """
np.testing.assert_allclose(fit("parallel"), fit("sequential"), rtol=1e-9, atol=1e-10)
"""
JOIN = """
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
assert jax.device_count() == 4
"""
SAVE = """
np.save(sys.argv[3], fit("parallel"))
"""


def _program(text: str, devices: int, chains: int, begin: str = "") -> list[str]:
    tests = str(Path(__file__).parents[2])
    fit = FIT.format(devices=devices, chains=chains, begin=begin, tests=tests)
    return [sys.executable, "-c", fit + text]


def test_of_one_process() -> None:
    subprocess.run(_program(COMPARE, 4, 1), check=True)


def test_of_two_processes(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    started = [
        subprocess.Popen(
            [*_program(SAVE, 2, 2, JOIN), address, str(number), str(tmp_path / f"{number}.npy")]
        )
        for number in range(2)
    ]
    try:
        assert [process.wait(timeout=240) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    alone = _program(SAVE.replace("parallel", "sequential"), 1, 2)
    subprocess.run([*alone, "", "", str(tmp_path / "alone.npy")], check=True)
    wanted = np.load(tmp_path / "alone.npy")
    for number in range(2):
        np.testing.assert_allclose(
            np.load(tmp_path / f"{number}.npy"), wanted, rtol=1e-9, atol=1e-10
        )
