r"""SDs that are mostly their priors: those of factors with two or three levels.

The likelihood of the SD of L levels falls as :math:`\sigma^{-(L - 1)}` where it is large, so that
under a flat prior its mean would be infinite for :math:`L \le 3`, and it is the prior that says how
large it may be (Gelman, 2006, *Bayesian Analysis* 1:515).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossed_jax.results.finding import Finding
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import FactorQuantity, of_factor

if TYPE_CHECKING:
    import xarray as xr

FEW_LEVELS = 3
SDS: tuple[FactorQuantity, ...] = ("sd", "log_slope_sd", "log_noise_sd_sd", "logit_share_sd")


def few_levels(tree: xr.DataTree) -> list[Finding]:
    """Say of each factor of two or three levels which SDs are mostly their priors."""
    posterior = tree["posterior"].to_dataset()
    findings = []
    for factor in factor_names(tree):
        sds = [name for sd in SDS if (name := of_factor(factor, sd)) in posterior]
        levels = tree["constant_data"].sizes[factor]
        if levels > FEW_LEVELS or not sds:
            continue
        are, their = ("is", "its prior") if len(sds) == 1 else ("are", "their priors")
        findings.append(
            Finding(
                f"{levels} levels of {factor} say little of how much levels differ: "
                f"{' and '.join(sds)} {are} mostly {their}, and so are shares of variance. The "
                "levels' own effects are not.",
                "warning",
            )
        )
    return findings
