"""What a measurement was made on, and its record with that."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def describe() -> dict:
    """Processor, cores, memory and system; nothing that tells one such machine from another."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def keep(name: str, result: dict[str, Any]) -> None:
    """Write a result of one run, when and on what it was made with it, and print it."""
    made = {"created_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": describe()}
    text = json.dumps(made | result, indent=2, allow_nan=False)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)


def load_average() -> float:
    """How many processes wanted a core, over the last minute."""
    return round(os.getloadavg()[0], 2)


@contextmanager
def confined(cores: int) -> Iterator[None]:
    """Keep this thread, and all processes it starts, to so many cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _memory() -> float | None:
    total = _field("/proc/meminfo", "MemTotal")
    return round(int(total.split()[0]) / 2**20, 1) if total else None


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)
