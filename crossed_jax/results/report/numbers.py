"""Numbers as a reader wants them: as many digits as they are known to, and aligned in a column."""

from __future__ import annotations

import math
from collections.abc import Iterable

MOST_DECIMALS = 8


def decimals_for(sds: Iterable[float | None]) -> int | None:
    """Decimals that give the median of some SDs two digits; None where they would be too many."""
    known = sorted(sd for sd in sds if sd is not None and math.isfinite(sd) and sd > 0)
    if not known:
        return 2
    decimals = 1 - math.floor(math.log10(known[len(known) // 2]))
    return max(0, decimals) if decimals <= MOST_DECIMALS else None


def fixed(value: float | None, decimals: int | None = None) -> str:
    """Write a number with so many decimals, or with three digits; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if decimals is None:
        size = abs(value)
        if size and not 1e-3 <= size < 1e7:
            return f"{value:.2e}".replace("-", "−")
        decimals = max(0, 2 - math.floor(math.log10(size))) if size else 0
    text = f"{value:,.{decimals}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("-")


def rate(value: float) -> str:
    """Write a probability of error."""
    if value >= 0.001:
        return f"{value:.3f}"
    return "<1e−12" if value < 1e-12 else f"{value:.0e}".replace("-", "−")


def percent(share: float | None) -> str:
    """Write a share."""
    if share is None or not math.isfinite(share):
        return "–"
    return f"{share:.1%}" if share >= 0.001 or share == 0 else "<0.1%"
