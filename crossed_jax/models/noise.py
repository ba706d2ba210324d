r"""The noise: how one response is distributed about its expectation, and which quantities say so.

Normal noise, :math:`y \sim \mathrm{Normal}(\eta, \sigma)`, has the residual SD alone.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Quantity(NamedTuple):
    """A named quantity of the noise, and whether it is in the response's unit."""

    name: str
    title: str
    in_unit: bool


class Noise(NamedTuple):
    """What the results need to know of a distribution of the noise.

    `variance` maps draws of the quantities, by name, to the variance of one response about its
    expectation, which may be infinite.
    """

    name: str
    quantities: tuple[Quantity, ...]
    variance: Callable[[Mapping[str, np.ndarray]], np.ndarray]


NORMAL = Noise(
    name="normal",
    quantities=(Quantity("sigma", "residual SD", in_unit=True),),
    variance=lambda values: np.square(values["sigma"]),
)


def noise_of(attributes: Mapping[Any, Any]) -> Noise:
    """Give the noise of a fit by the attributes of its tree."""
    return NORMAL
