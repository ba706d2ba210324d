"""Devices that share the genes give the draws of one, to rounding."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from screens import draws_in_blocks

HERE = Path(__file__).parent
DEVICES = """
import sys
import jax
import numpy as np
jax.config.update("jax_num_cpu_devices", {devices})
{begin}
sys.path[:0] = {places}
from screens import draws_in_blocks
"""
JOIN = """
jax.distributed.initialize(sys.argv[2], num_processes=2, process_id=int(sys.argv[3]))
assert jax.device_count() == 4
"""
SAVE = """
np.save(sys.argv[1], draws_in_blocks("parallel"))
"""


@pytest.fixture(scope="module")
def of_one_device() -> np.ndarray:
    return draws_in_blocks("sequential")


def _program(devices: int, begin: str = "") -> list[str]:
    places = [str(HERE), str(HERE.parents[1])]
    text = DEVICES.format(devices=devices, begin=begin, places=places) + SAVE
    return [sys.executable, "-c", text]


def test_of_one_process(tmp_path: Path, of_one_device: np.ndarray) -> None:
    path = tmp_path / "draws.npy"
    subprocess.run([*_program(4), str(path)], check=True)
    np.testing.assert_allclose(np.load(path), of_one_device, rtol=1e-9, atol=1e-10)


def test_of_two_processes(tmp_path: Path, of_one_device: np.ndarray) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    paths = [tmp_path / f"{number}.npy" for number in range(2)]
    started = [
        subprocess.Popen([*_program(2, JOIN), str(path), address, str(number)])
        for number, path in enumerate(paths)
    ]
    try:
        assert [process.wait(timeout=240) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    for path in paths:
        np.testing.assert_allclose(np.load(path), of_one_device, rtol=1e-9, atol=1e-10)
