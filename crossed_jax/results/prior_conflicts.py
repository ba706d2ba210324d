r"""Data that quarrel with the priors: a posterior that lies where its prior hardly reaches.

That is an intercept more than 3 prior SDs from the prior's mean, or an SD beyond
:math:`\log_2 1000` prior medians, which is the 99.9% point of an Exponential; and a response that
varies by less than a thousandth of what the prior medians of all SDs add up to.

An intercept more than 10 prior SDs away is a reason not to trust the draws: factors' SDs that grow
to make up for it compete, each in a mode of its own, which chains do not walk between.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from crossed_jax.models.noise import noise_of
from crossed_jax.results.finding import Finding
from crossed_jax.results.tree import factor_names
from crossed_jax.sampling.ess import by_blocks
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr

INTERCEPT_REACH = 3.0
INTERCEPT_BREACH = 10.0
SD_REACH = math.log2(1000)
SCALE_TOO_SMALL = 1e-3


def prior_conflicts(tree: xr.DataTree) -> list[Finding]:
    """Say where the posterior lies beyond the reach of its prior, in one sentence."""
    priors = json.loads(tree.attrs.get("priors", "{}"))
    posterior = tree["posterior"].to_dataset()
    complaints = []

    reach = _intercept_reach(priors, posterior)
    if reach > INTERCEPT_REACH:
        complaints.append(
            f"the intercept's posterior mean {float(posterior['intercept'].mean()):.3g} is "
            f"{reach:.1f} prior SDs from the prior's {priors['intercept_loc']:.3g} (prior SD "
            f"{priors['intercept_scale']:.3g})"
        )

    medians = {name: m for name, m in _sd_medians(tree, priors).items() if m and name in posterior}
    for name, median in medians.items():
        mean = float(posterior[name].mean())
        if mean > SD_REACH * median:
            complaints.append(
                f"{name} has posterior mean {mean:.3g}, {mean / median:.3g} times its prior's "
                f"median {median:.2g}"
            )

    if medians:
        spread = math.sqrt(_variance(tree, posterior))
        expected = math.sqrt(sum(median**2 for median in medians.values()))
        if spread < SCALE_TOO_SMALL * expected:
            complaints.append(
                f"the response varies by about {spread:.2g}, less than a thousandth of the "
                f"{expected:.2g} that the prior medians of the SDs expect"
            )

    if not complaints:
        return []
    way_out = (
        "The prior scales were asked for; check them against the response's unit."
        if "scaled" in (priors.get("name"), priors.get("base"))
        else "priors='scaled' puts the same priors on the response's own scale."
    )
    return [
        Finding(
            f"The data quarrel with the priors: {'; '.join(complaints)}. {way_out}",
            "reason" if reach > INTERCEPT_BREACH else "warning",
        )
    ]


def _intercept_reach(priors: dict[str, Any], posterior: xr.Dataset) -> float:
    """How many prior SDs the intercept's posterior mean lies from its prior's."""
    loc, scale = priors.get("intercept_loc"), priors.get("intercept_scale")
    if loc is None or not scale:
        return 0.0
    return abs(float(posterior["intercept"].mean()) - loc) / scale


def _noise_sds(tree: xr.DataTree) -> list[str]:
    return [quantity.name for quantity in noise_of(tree.attrs).quantities if quantity.in_unit]


def _sd_medians(tree: xr.DataTree, priors: dict[str, Any]) -> dict[str, float | None]:
    """Prior median of each SD, by its name in the posterior; None where it is not known."""
    of_factors = priors.get("factor_sd_medians", {})
    medians = {of_factor(factor, "sd"): median for factor, median in of_factors.items()}
    return medians | {name: priors.get(f"{name}_median") for name in _noise_sds(tree)}


def _variance(tree: xr.DataTree, posterior: xr.Dataset) -> float:
    """How much the response varies: the noise's SD or scale squared, and the effects' variances.

    An SD of a factor with few levels follows its prior into the tail; the effects do not.
    """
    noise = [float((posterior[name] ** 2).mean()) for name in _noise_sds(tree)]
    effects = [float(_effect_means(tree, factor).var()) for factor in factor_names(tree)]
    return sum(noise) + sum(effects)


def _effect_means(tree: xr.DataTree, factor: str) -> np.ndarray:
    """Posterior means of a factor's effects, exact if the fit has them."""
    if "effect_moments" in tree.children:
        return tree["effect_moments"].to_dataset()[of_factor(factor, "effect_mean")].values
    effects = tree["posterior"].to_dataset()[of_factor(factor, "effect")]
    draws = effects.transpose("chain", "draw", factor)
    return by_blocks(draws, lambda block: block.mean((1, 2))[None])[0]
