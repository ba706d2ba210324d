"""Separate modes of the posterior, which chains do not walk between.

Those of the collapsed form were looked for before sampling
(:mod:`crossed_jax.models.collapsed.modes`): each that has a hundredth of the mass must have its
part of the draws, at least a third of its share.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from crossed_jax.results.finding import Finding

if TYPE_CHECKING:
    import xarray as xr

MODE_SHARE = 0.01


def missed_modes(tree: xr.DataTree) -> list[Finding]:
    """Compare the draws of several modes with their mass; nothing is said of a single one."""
    modes = json.loads(tree.attrs.get("modes", "[]"))
    modes = [mode for mode in modes if mode["share"] >= MODE_SHARE]
    if len(modes) < 2:
        return []
    names = [name for name in modes[0] if name != "share"]
    places = np.log([[mode[name] for name in names] for mode in modes])
    posterior = tree["posterior"].to_dataset()
    draws = np.log(np.stack([posterior[name].values.ravel() for name in names], axis=-1))
    distances = ((draws[:, None] - places) ** 2).sum(-1)
    found = np.bincount(distances.argmin(1), minlength=len(modes)) / len(draws)
    apart = [name for name, spread in zip(names, np.ptp(places, axis=0), strict=True) if spread > 1]
    told = "; ".join(
        f"{', '.join(f'{name} {mode[name]:.2g}' for name in apart or names)}: about "
        f"{mode['share']:.0%} of the mass, {share:.0%} of the draws"
        for mode, share in zip(modes, found, strict=True)
    )
    missed = any(share < mode["share"] / 3 for mode, share in zip(modes, found, strict=True))
    return [
        Finding(
            f"The posterior has {len(modes)} separate modes ({told}), which chains hardly walk "
            "between: look at the priors of these SDs.",
            "reason" if missed else "explanation",
        )
    ]
