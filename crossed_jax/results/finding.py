"""What a check of a fit has to say, and how much that weighs."""

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """A sentence of the verdict.

    A `reason` is one not to trust the draws, a `warning` is worth knowing. An `explanation` is a
    warning too, but a reason along with those found before it: it tells why they arose.
    """

    sentence: str
    weight: Literal["reason", "warning", "explanation"]
