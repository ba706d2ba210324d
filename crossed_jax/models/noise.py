"""The noise that a model may have, by name."""

from collections.abc import Mapping
from typing import Any

from crossed_jax.errors import InputError, told
from crossed_jax.models import normal, student_t
from crossed_jax.models.parts import Noise

NOISES: dict[str, Noise] = {noise.name: noise for noise in (normal.NOISE, student_t.NOISE)}


def noise_named(name: str) -> Noise:
    """Look a noise up, and refuse one that there is not."""
    if name not in tuple(NOISES):
        raise InputError(f"unknown noise {told(name)}: choose one of {', '.join(NOISES)}.")
    return NOISES[name]


def noise_of(attributes: Mapping[Any, Any]) -> Noise:
    """Give the noise of a fit from its tree's attributes; where none is named it was Gaussian."""
    return NOISES[attributes.get("noise", "normal")]
