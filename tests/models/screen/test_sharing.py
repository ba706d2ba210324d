"""Devices that share the genes give the draws of one, to rounding."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
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
COMPARE = """
parallel, sequential = (draws_in_blocks(1, method) for method in ("parallel", "sequential"))
np.testing.assert_allclose(parallel, sequential, rtol=1e-9, atol=1e-10)
"""
JOIN = """
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
assert jax.device_count() == 4
"""
SAVE = """
np.save(sys.argv[3], draws_in_blocks(2, "parallel"))
"""


def _program(text: str, devices: int, begin: str = "") -> list[str]:
    places = [str(HERE), str(HERE.parents[1])]
    return [
        *(sys.executable, "-c"),
        DEVICES.format(devices=devices, begin=begin, places=places) + text,
    ]


def test_of_one_process() -> None:
    subprocess.run(_program(COMPARE, 4), check=True)


def test_of_two_processes(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    started = [
        subprocess.Popen(
            [*_program(SAVE, 2, JOIN), address, str(number), str(tmp_path / f"{number}.npy")]
        )
        for number in range(2)
    ]
    try:
        assert [process.wait(timeout=240) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    wanted = draws_in_blocks(2, "sequential")
    for number in range(2):
        np.testing.assert_allclose(
            np.load(tmp_path / f"{number}.npy"), wanted, rtol=1e-9, atol=1e-10
        )
