"""DataTrees as `crossed_jax.results.tree` builds them, with draws whose every property is known."""

import json
import math

import numpy as np
import xarray as xr
from scipy.special import ndtri

from crossed_jax.models.collapsed.quantiles import PROBABILITIES

SIGMA = 0.05
SD = 0.5


def synthetic_tree(
    levels=None,
    *,
    replicates=3,
    chains=4,
    draws=250,
    parameterization="sum_to_zero",
    keep_effects="draws",
    predictive=False,
    labels=None,
    response="logfc",
    shift=0.0,
    scale=1.0,
    seed=0,
    notes=(),
):
    """Build a fit whose draws are independent and Gaussian around known truth.

    `levels` maps factor to number of levels. The truth is ``{f}_sd`` 0.5 and ``sigma`` 0.05, times
    `scale`, and the intercept `shift`; effects are in the truth returned. In the original form the
    factors' mean intercepts have SD 5 and a sum as sharp as the intercept. In the collapsed form
    the tree has the moments that the effects are drawn with, and with `keep_effects` "summary"
    nothing else of them. Gives (tree, truth).
    """
    levels = {"gene": 3, "cell_line": 10} if levels is None else levels
    rng = np.random.default_rng(seed)
    factors, shape = list(levels), (chains, draws)
    names = {f: [f"{f} {i}" for i in range(n)] for f, n in levels.items()} | (labels or {})

    def centred(values):
        return values - values.mean(-1, keepdims=True)

    codes = np.stack([c.ravel() for c in np.indices((*levels.values(), replicates))[:-1]])
    truth = {f"{f}_effect": scale * SD * centred(rng.normal(size=n)) for f, n in levels.items()}
    truth |= {f"{f}_sd": scale * SD for f in factors}
    truth |= {"intercept": shift, "sigma": scale * SIGMA}
    rows = codes.shape[1]
    expected = shift + sum(
        truth[f"{f}_effect"][code] for f, code in zip(factors, codes, strict=True)
    )
    y = expected + scale * SIGMA * rng.normal(size=rows)

    sharp = scale * SIGMA / math.sqrt(rows)
    variables = {"intercept": (("chain", "draw"), shift + sharp * rng.normal(size=shape))}
    means = 5 * rng.normal(size=(len(factors), *shape))
    means[-1] = variables["intercept"][1] - means[:-1].sum(0)
    moments = {}
    for factor, mean in zip(factors, means, strict=True):
        n = levels[factor]
        noise = sharp * math.sqrt(n) * rng.normal(size=(*shape, n))
        effect = truth[f"{factor}_effect"] + centred(noise)
        moments[f"{factor}_effect_mean"] = (factor, truth[f"{factor}_effect"])
        moments[f"{factor}_effect_sd"] = (factor, np.full(n, sharp * math.sqrt(n - 1)))
        if keep_effects == "draws":
            variables[f"{factor}_effect"] = (("chain", "draw", factor), effect)
        if parameterization != "design_matrix":
            sd = scale * SD * np.exp(0.2 * rng.normal(size=shape))
            variables[f"{factor}_sd"] = (("chain", "draw"), sd)
        if parameterization == "original":
            mu = mean + scale * SD / math.sqrt(n) * rng.normal(size=shape)
            variables[f"{factor}_mean"] = (("chain", "draw"), mu)
            intercept = effect + mean[..., None]
            variables[f"{factor}_intercept"] = (("chain", "draw", factor), intercept)
    sigma = scale * SIGMA * np.exp(0.1 * rng.normal(size=shape))
    variables["sigma"] = (("chain", "draw"), sigma)

    coords = {"chain": np.arange(chains), "draw": np.arange(draws)}
    posterior = xr.Dataset(variables, coords | (names if keep_effects == "draws" else {}))
    constant = {f"{f}_code": ("row", c.astype(np.int32)) for f, c in zip(factors, codes)}  # noqa: B905
    for factor, code in zip(factors, codes, strict=True):
        n = np.bincount(code)
        constant[f"{factor}_n"] = (factor, n)
        constant[f"{factor}_raw_mean"] = (factor, np.bincount(code, y) / n)
    groups = {
        "posterior": posterior,
        "sample_stats": _sample_stats(rng, shape, coords),
        "observed_data": xr.Dataset({response: ("row", y)}, {"row": np.arange(rows)}),
        "constant_data": xr.Dataset(constant, names | {"row": np.arange(rows)}),
    }
    if parameterization == "collapsed":
        groups["effect_moments"] = _effect_moments(moments, names, keep_effects)
    if predictive:
        predicted = expected + scale * SIGMA * rng.normal(size=(*shape, rows))
        groups["posterior_predictive"] = xr.Dataset(
            {response: (("chain", "draw", "row"), predicted)}, coords | {"row": np.arange(rows)}
        )
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        "response": response,
        "factors": json.dumps(factors),
        "parameterization": parameterization,
        "priors": json.dumps(post_priors(factors)),
        "notes": json.dumps(list(notes)),
        "seed": seed,
    }
    return tree, truth


def _effect_moments(moments, names, keep_effects):
    group = xr.Dataset(moments, names)
    if keep_effects == "summary":
        scores = xr.DataArray(ndtri(PROBABILITIES), {"probability": PROBABILITIES})
        for f in names:
            mean, sd = group[f"{f}_effect_mean"], group[f"{f}_effect_sd"]
            group[f"{f}_effect_quantile"] = mean + sd * scores
    return group


def post_priors(factors):
    """Describe the post's priors as `crossed_jax.results.tree` writes them."""
    return {
        "name": "post",
        "factor_means": {f: {"loc": 0.0, "scale": 5.0} for f in factors},
        "factor_sds": dict.fromkeys(factors, "Exponential(rate=1.0)"),
        "sigma": "Exponential(rate=1.0)",
        "factor_sd_medians": dict.fromkeys(factors, math.log(2)),
        "sigma_median": math.log(2),
        "intercept_loc": 0.0,
        "intercept_scale": 5 * math.sqrt(len(factors)),
    }


def _sample_stats(rng, shape, coords):
    dims = ("chain", "draw")
    return xr.Dataset(
        {
            "diverging": (dims, np.zeros(shape, bool)),
            "energy": (dims, 10 + rng.normal(size=shape)),
            "tree_depth": (dims, np.full(shape, 3)),
            "n_steps": (dims, np.full(shape, 7)),
            "acceptance_rate": (dims, rng.uniform(0.7, 1, size=shape)),
            "lp": (dims, -10 + rng.normal(size=shape)),
            "step_size": (dims, np.full(shape, 0.5)),
            "reached_max_treedepth": (dims, np.zeros(shape, bool)),
        },
        coords,
    )
