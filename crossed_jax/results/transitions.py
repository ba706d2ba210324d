r"""How NUTS moved, by its own account: divergences, tree depth, energy.

- At most one draw in a thousand may be divergent, and at most one in a hundred have stopped at the
  maximum tree depth.
- The energy Bayesian fraction of missing information, the mean squared step between the energies
  :math:`E_n` of draws over their variance, :math:`\overline{(E_n - E_{n-1})^2} / \mathrm{var}(E)`,
  must be at least 0.3 in every chain (Betancourt 2016, arXiv:1604.00695).

**A funnel.** Where the data do not rule out an SD of zero, the centred parameterization narrows as
the SD falls, and a divergence, be it a single one, tells that draws stopped at its neck.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crossed_jax.results.finding import Finding
from crossed_jax.sampling.ess import MIN_DRAWS

if TYPE_CHECKING:
    import xarray as xr

BFMI_LIMIT = 0.3
DIVERGENT_SHARE = 0.001
MAX_DEPTH_SHARE = 0.01
SHORT_STEPS = 0.95  # acceptance rate from which still shorter ones seldom help


class Transitions(NamedTuple):
    """Divergent draws, draws at the maximum tree depth, and the smallest E-BFMI of a chain."""

    divergences: int
    max_tree_depth_hits: int
    min_bfmi: float
    findings: list[Finding]


def transitions(tree: xr.DataTree, num_draws: int) -> Transitions:
    """Hold the sampler's statistics, as far as they are there, against their limits."""
    divergences, depth_hits, bfmi = _counts(tree)
    findings = []
    if divergences:
        sentence = (
            f"{divergences:,} of {num_draws:,} draws diverged ({divergences / num_draws:.2%}): a "
            f"part of the posterior may be cut off. {_advice(tree)}"
        )
        funnels = json.loads(tree.attrs.get("funnels", "[]"))
        if funnels:
            sentence += (
                f" The data do not rule out that {' or '.join(funnels)} is zero, where the centred "
                "parameterization has a funnel: fit the collapsed form, or the sum_to_zero form "
                "with the choice of centering left to the data."
            )
        serious = divergences > DIVERGENT_SHARE * num_draws or funnels
        findings.append(Finding(sentence, "reason" if serious else "warning"))
    if depth_hits > MAX_DEPTH_SHARE * num_draws:
        findings.append(
            Finding(
                f"{depth_hits:,} of {num_draws:,} draws ({depth_hits / num_draws:.1%}) stopped at "
                "the maximum tree depth: the posterior is long and thin in the coordinates "
                "sampled.",
                "reason",
            )
        )
    if bfmi < BFMI_LIMIT:
        findings.append(
            Finding(
                f"E-BFMI is {bfmi:.2f} in the worst chain, below {BFMI_LIMIT}: the sampler hardly "
                "reaches the tails of the posterior.",
                "reason",
            )
        )
    return Transitions(divergences, depth_hits, bfmi, findings)


def _advice(tree: xr.DataTree) -> str:
    rate = float(tree.attrs.get("target_accept", 0.0))
    if rate < SHORT_STEPS:
        return "Raise target_accept."
    return (
        f"Steps are short already, as target_accept is {rate:g}: warm up for longer with "
        "num_warmup, or leave out of the model what few levels inform."
    )


def _counts(tree: xr.DataTree) -> tuple[int, int, float]:
    if "sample_stats" not in tree.children:
        return 0, 0, math.nan
    stats = tree["sample_stats"].to_dataset()
    divergences = int(stats["diverging"].sum()) if "diverging" in stats else 0
    hits = int(stats["reached_max_treedepth"].sum()) if "reached_max_treedepth" in stats else 0
    if "energy" not in stats or stats.sizes["draw"] < MIN_DRAWS:
        return divergences, hits, math.nan
    return divergences, hits, _smallest_bfmi(stats["energy"].transpose("chain", "draw").values)


def _smallest_bfmi(energy: np.ndarray) -> float:
    """Smallest E-BFMI of the chains, shape (chains, draws), in which it can be computed."""
    with np.errstate(all="ignore"):
        bfmi = np.square(np.diff(energy)).mean(-1) / energy.var(-1, ddof=1)
    known = bfmi[~np.isnan(bfmi)]
    return float(known.min()) if known.size else math.nan
