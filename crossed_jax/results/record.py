"""How a fit was made: what is written down beside its draws."""

import importlib.metadata
import platform
from datetime import UTC, datetime
from typing import Any

import jax

from crossed_jax.sampling.cache_directory import describe_cache
from crossed_jax.sampling.settings import RunSettings
from crossed_jax.tables.crossed_data import CrossedData

PACKAGES = ("crossed-jax", "jax", "jaxlib", "blackjax", "numpyro", "numpy", "xarray")


def describe_run(
    settings: RunSettings, seconds: dict[str, float], warmup_gradients: int, device: jax.Device
) -> dict[str, Any]:
    """Settings, versions, where the time went and what computed, in plain values."""
    settings_kept = settings._asdict()
    del settings_kept["chain_method"]  # it does not decide the draws
    return {
        **settings_kept,
        "versions": versions(),
        "seconds": seconds,
        "warmup_gradients": warmup_gradients,
        "inference_library": "blackjax",
        "device": device.device_kind,
        "cache": describe_cache(),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe_table(data: CrossedData, notes: tuple[str, ...]) -> dict[str, Any]:
    """What was fitted, and what a reader should know about it, in plain values."""
    return {
        "response": data.response_name,
        "factors": list(data.factor_names),
        "notes": list(data.notes + notes),
        "num_rows": data.num_rows,
        "num_missing": data.num_missing,
        "input_sha256": data.sha256 or "",
        "source": data.source or "",
        "wide": data.is_matrix,
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run is made with."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}
