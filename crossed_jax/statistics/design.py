"""What a table's design leaves untold, in words for a reader, and what it makes impossible."""

from collections.abc import Sequence

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.statistics.least_squares import Decomposition

LEAST_NOISE = 1e-6  # of the response's spread
SD_PER_MAD = 1.4826  # of Normal numbers: their SD over the median distance from their median


def require_noise(decomposition: Decomposition) -> None:
    """Refuse a table whose noise float64 cannot tell from its effects.

    Without any, the posterior has no finite mass; unless there are as many effects as rows, which
    leaves what noise there is to the priors.
    """
    total, residual = decomposition.total, decomposition.residual
    least = _least_noise(total.freedom)
    if residual.freedom and residual.squares <= least**2 * total.squares:
        raise _no_noise("the response", least)


def require_scale(sigma: float, response: np.ndarray) -> None:
    """Refuse noise whose scale has gone to where float64 cannot tell it from none.

    That of Student-t noise does where all rows but outliers are reproduced, whose squares keep the
    residual sum of squares from zero; so the response's spread, too, is that of most rows, unless
    they are all equal.
    """
    least = _least_noise(len(response))
    if sigma <= least * (robust_sd(response) or float(response.std())):
        raise _no_noise("the response but for outliers", least)


def robust_sd(values: np.ndarray) -> float:
    """Give the SD that Normal numbers of this median distance from their median (MAD) have."""
    return float(SD_PER_MAD * np.median(np.abs(values - np.median(values))))


def _least_noise(num_squares: int) -> float:
    """Least noise that can be told, of the response's spread.

    Sums of squares over all rows are rounded, and the noise is a difference of two.
    """
    return max(LEAST_NOISE, float(np.sqrt(np.finfo(float).eps * num_squares)))


def _no_noise(what: str, least: float) -> InputError:
    return InputError(
        f"one number per level of each factor reproduces {what} to within {least:.0e} of its "
        "spread, which leaves no noise to estimate: add replicates, or check that the response is "
        "a measurement and not a fitted or copied value."
    )


def describe_design(
    unconnected: list[list[np.ndarray]], decomposition: Decomposition, factor_names: Sequence[str]
) -> tuple[str, ...]:
    """Say in words what a reader should know of a table's design.

    Parameters
    ----------
    unconnected
        Its blocks, see :func:`~crossed_jax.statistics.cells.blocks`.
    decomposition
        Its sums of squares.
    factor_names
        Of its factors.
    """
    return (
        *_describe_blocks(unconnected, factor_names),
        *_describe_freedom(decomposition.residual.freedom),
    )


def _describe_blocks(found: list[list[np.ndarray]], names: Sequence[str]) -> tuple[str, ...]:
    if len(found) == 1:
        return ()
    sizes = "; ".join(
        " x ".join(f"{len(codes)} {name}" for codes, name in zip(block, names, strict=True))
        for block in found[:5]
    )
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    return (
        f"The levels fall into {len(found)} unconnected blocks ({sizes}{more}): no row ties one "
        f"to another, so contrasts of {' or '.join(names)} between blocks are informed by the "
        "priors alone; only contrasts within a block are informed by the data.",
    )


def _describe_freedom(residual_freedom: int) -> tuple[str, ...]:
    if residual_freedom:
        return ()
    return (
        "There are as many effects as rows, so every response could be its effects' alone: how "
        "much of the variance is noise is told by the priors and by how the effects spread.",
    )
