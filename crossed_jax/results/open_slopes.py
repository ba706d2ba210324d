r"""Slopes that the table leaves open, because what they are slopes on hardly differs.

A slope multiplies effects: where these are small beside the noise, its posterior is nearly its
population's. The share of the slopes' spread that the table leaves open is

.. math::
    \frac{\mathrm{mean}_c \operatorname{Var}(\log k_c \mid y)}{\mathrm{E}(\sigma_k^2 \mid y)} .
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossed_jax.models.model import parts_of
from crossed_jax.results.finding import Finding
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr

MOST_OPEN = 0.25
LEAST_SD = 0.2  # of log slopes: smaller ones are all near one, whatever is open


def open_slopes(tree: xr.DataTree) -> list[Finding]:
    """Say of slopes that the table leaves a quarter or more of open."""
    names = factor_names(tree)
    parts = parts_of(tree.attrs, names)
    if parts is None or not parts.slopes:
        return []
    gene, line = names[parts.genes], names[1 - parts.genes]
    posterior = tree["posterior"].to_dataset()
    slope = posterior[of_factor(line, "slope")]
    log_slope = slope.copy(data=np.log(slope.values))
    population = float((posterior[of_factor(line, "log_slope_sd")] ** 2).mean())
    left = float(log_slope.var(("chain", "draw")).mean()) / population
    if population < LEAST_SD**2 or left < MOST_OPEN:
        return []
    return [
        Finding(
            f"slopes of {line} are on effects of {gene}, which hardly differ beside the noise: the "
            f"table leaves {min(left, 1.0):.0%} of the slopes' spread open, so do not read single "
            "ones; noise_by without slopes is the same model but for them.",
            "warning",
        )
    ]
