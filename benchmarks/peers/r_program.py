"""Run a program of R on a problem's table, and read back what it wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np


def run_r(program: str, out: Path, arguments: list[str]) -> dict:
    """Run a program; returns the JSON that it wrote to ``r.json`` in the folder for results."""
    script = out / "program.R"
    script.write_text(program)
    try:
        subprocess.run(["Rscript", "--vanilla", str(script), str(out), *arguments], check=True)
    except FileNotFoundError:
        sys.exit("not installed: there is no Rscript on this machine")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    return json.loads((out / "r.json").read_text())


def read_array(path: Path, shape: list[int]) -> np.ndarray:
    """Read doubles that R wrote with ``writeBin``, its first dimension fastest."""
    return np.fromfile(path, float).reshape(shape, order="F")
