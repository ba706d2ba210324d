"""The noise that a model may have, by name."""

from collections.abc import Mapping
from typing import Any, Literal

from crossed_jax.models import normal
from crossed_jax.models.parts import Noise

NoiseName = Literal["normal"]

NOISES: dict[str, Noise] = {noise.name: noise for noise in (normal.NOISE,)}


def noise_of(attributes: Mapping[str, Any]) -> Noise:
    """Give the noise of a fit from the attributes of its tree; a fit that names none was Gaussian."""
    return NOISES[attributes.get("noise", "normal")]
