r"""The ridge: the flat direction that the original form has to walk.

With an intercept per level for every factor and no overall one, the likelihood sees only sums: for
:math:`\alpha + \delta, \beta - \delta` it is the same for every :math:`\delta`. So the means over
levels, :math:`\bar\alpha` and :math:`\bar\beta`, have SDs near their prior's while
:math:`\bar\alpha + \bar\beta` is sharp. With more than two factors each mean is held against the
sum of the others'. Only the original form samples these coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crossed_jax.results.finding import Finding
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr

RIDGE_CORRELATION = -0.99
RIDGE_SD_RATIO = 0.1


class Ridge(NamedTuple):
    """The flat direction of the original form, as the draws show it.

    `correlation` is the strongest one between a factor's mean intercept and the sum of the other
    factors' mean intercepts; `sd_of_means` has one entry per entry of `factors`.
    """

    factors: tuple[str, ...]
    correlation: float
    sd_of_means: tuple[float, ...]
    sd_of_sum: float

    @property
    def finding(self) -> Finding:
        """Say what the ridge does; exact but slow, it explains a failure and is none by itself."""
        names = " + ".join(f"{factor} intercept" for factor in self.factors)
        sds = " and ".join(f"{sd:.3g}" for sd in self.sd_of_means)
        return Finding(
            f"The draws lie on a ridge: the likelihood sees only {names}, so the mean intercepts "
            f"wander (SDs {sds}) while their sum stands still (SD {self.sd_of_sum:.2g}; "
            f"correlation {self.correlation:.4f}), and NUTS has to walk it. "
            "parameterization='sum_to_zero' samples exactly the same posterior without the ridge; "
            "crossed_jax.original_coordinates gives these intercepts back.",
            "explanation",
        )


def find_ridge(tree: xr.DataTree) -> Ridge | None:
    """Look for the flat direction between factors; None if the form sampled has none."""
    factors = factor_names(tree)
    if tree.attrs.get("parameterization") != "original" or not factors:
        return None
    means = level_means(tree).reshape(len(factors), -1)
    total = means.sum(0)
    sds, sd_of_sum = means.std(1), float(total.std())
    with np.errstate(all="ignore"):
        correlations = np.array([np.corrcoef(mean, total - mean)[0, 1] for mean in means])
    steep = (correlations < RIDGE_CORRELATION) & (sd_of_sum < RIDGE_SD_RATIO * sds)
    if not steep.any():
        return None
    return Ridge(
        factors=tuple(factors),
        correlation=float(correlations[steep].min()),
        sd_of_means=tuple(sds.tolist()),
        sd_of_sum=sd_of_sum,
    )


def level_means(tree: xr.DataTree) -> np.ndarray:
    """Mean of each factor's intercepts over its levels, shape (factors, chains, draws)."""
    posterior = tree["posterior"].to_dataset()
    return np.stack(
        [
            posterior[of_factor(factor, "intercept")].mean(factor).values
            for factor in factor_names(tree)
        ]
    )
