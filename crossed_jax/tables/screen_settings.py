"""What a synthetic screen is asked to be, and what of that is refused."""

import math
import re
from typing import NamedTuple

from crossed_jax.arguments import real_number, whole_number
from crossed_jax.errors import InputError, told
from crossed_jax.tables.crossed_data import LARGEST_RESPONSE

# Codes are int32 and counts of rows are kept in arrays of that size elsewhere.
_MOST_ROWS = 2**31 - 1
_LARGEST_LOG_SD = 10.0


class Settings(NamedTuple):
    """What was asked for, each by itself as it should be."""

    genes: int
    lines: int
    replicates: tuple[int, int]
    guides: int
    seed: int
    missing: float
    gene_mean: float
    line_mean: float
    gene_sd: float
    line_sd: float
    noise_sd: float
    slope_sd: float
    gene_noise_sd: float
    line_noise_sd: float
    share: float
    guide_sd: float
    guide_noise_sd: float
    nested_share: float
    logit_share_sd: float
    sample_sd: float


def check_together(at: Settings) -> None:
    """Refuse settings that do not go together."""
    num_rows = at.genes * at.lines * at.replicates[1] * max(at.guides, 1)
    if num_rows > _MOST_ROWS:
        raise InputError(f"a screen of {num_rows:,} rows is too large: ask for fewer.")
    if not at.guides and at.guide_sd + at.guide_noise_sd + at.nested_share:
        raise InputError("there are no guides that could differ: ask for a number of guides.")
    if not at.share and at.logit_share_sd:
        raise InputError(
            "there is no interaction whose shares could differ: ask for an interaction share, a "
            "typical gene's."
        )
    if not at.gene_sd + at.line_sd + at.noise_sd:
        raise InputError("all SDs are zero, so nothing would vary: make one of them positive.")


def replicate_range(text: str) -> tuple[int, int]:
    """Read the fewest and the most replicates from text such as ``2`` or ``1-4``."""
    found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text.strip(), re.ASCII)
    if not found:
        raise InputError(
            f"the number of replicates is {text[:40]!r}: "
            "give a whole number, or a range such as 1-4."
        )
    return int(found[1]), int(found[2] or found[1])


def replicates(given: int | tuple[int, int]) -> tuple[int, int]:
    """Fewest and most replicates of a cell line."""
    pair = given if isinstance(given, tuple | list) else (given, given)
    if len(pair) != 2:
        raise InputError(
            f"the number of replicates is {told(given)}: give a whole number, or the least and "
            "the most."
        )
    fewest = whole_number("number of replicates", pair[0], at_least=1)
    return fewest, whole_number("most replicates of a line", pair[1], at_least=fewest)


def size(name: str, value: float, at_least: float = -math.inf) -> float:
    """Check a mean or an SD in the response's unit."""
    found = real_number(name, value)
    if not at_least <= found or abs(found) > LARGEST_RESPONSE:
        zero = ", zero or more" if at_least == 0 else ""
        raise InputError(f"the {name} is {found}: give a finite number{zero}, below 1e70.")
    return found


def log_sd(name: str, value: float) -> float:
    """Check the SD of logarithms or logits."""
    sd = real_number(name, value)
    if not 0 <= sd <= _LARGEST_LOG_SD:
        raise InputError(f"the {name} is {sd}, of logarithms: give 0 to {_LARGEST_LOG_SD:g}.")
    return sd


def fraction(name: str, value: float) -> float:
    """Check a fraction that is less than one."""
    found = real_number(name, value)
    if not 0 <= found < 1:
        raise InputError(f"the {name} is {found}: give 0 or more, and less than 1.")
    return found
