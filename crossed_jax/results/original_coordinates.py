r"""From the sum-to-zero posterior back to the posted model's own coordinates, exactly.

Given the SDs, each factor's mean over its own levels is a priori Normal, with mean :math:`m_k` and
variance :math:`v_k = s_k^2 + \sigma_k^2/L_k`, independent of the zero-sum effects, and the data
inform only the sum :math:`\sum_k \bar\alpha^k = m`. So draw :math:`\tilde\alpha^k` from those
priors and shift it on to the sum (Matheron's rule):

.. math:: \bar\alpha^k = \tilde\alpha^k + \frac{v_k}{\sum_j v_j}\Big(m - \sum_j \tilde\alpha^j\Big),

after which :math:`\mu_k` follows from its conditional given the level mean, a Normal with precision
:math:`1/s_k^2 + L_k/\sigma_k^2`, and :math:`\alpha^k = \bar\alpha^k + ` effects. It holds for any
noise: the likelihood sees the sum alone.

In the screen model lines show gene effects with slopes k, and the data inform
:math:`S_c = \beta_c + k_c \bar a`, :math:`\beta_c = m + b_c`: the intercept plus the line's effect.
Given S, the slopes and the SDs, :math:`\bar a` is Normal: its prior is
:math:`\mathrm{Normal}(0, \sigma_a/\sqrt G)`, and :math:`S - k \bar a` has the prior of
:math:`\beta`, whose mean is :math:`\mathrm{Normal}(m_0, \sqrt{s_0^2 + \sigma_b^2/C})` and whose
zero-sum part is :math:`\mathrm{Normal}(0, \sigma_b)`. Given :math:`\bar\beta` then m is Normal as
above.
"""

import json

import numpy as np
import xarray as xr

from crossed_jax.arguments import seed_number
from crossed_jax.errors import InputError
from crossed_jax.models.distributions import Normal
from crossed_jax.models.model import parts_of
from crossed_jax.results.tree import factor_names, require_effect_draws, require_fit, with_groups
from crossed_jax.tables.names import of_factor


def original_coordinates(tree: xr.DataTree, *, seed: int = 0) -> xr.DataTree:
    """Draw the posted model's own coordinates, exactly, from a posterior that integrated them out.

    Parameters
    ----------
    tree
        A fit in the `sum_to_zero` or `collapsed` form. A fit in the `original` form has sampled
        these coordinates and is returned as it is.
    seed
        Of the random draws.

    Returns
    -------
    xarray.DataTree
        A copy of `tree` whose posterior has, for each factor f, the population mean `{f}_mean`
        (mu) and the levels' intercepts `{f}_intercept` (alpha, dimension f). Of the screen model,
        with genes g in lines c: `{g}_intercept` (a, of mean zero), `{c}_intercept` (m + b), and
        `{c}_mean` (m).

    Raises
    ------
    InputError
        For the `design_matrix` form, whose levels are not drawn from a population, and for a fit
        that kept no draws of the effects.
    """
    require_fit(tree, "original_coordinates")
    seed = seed_number(seed)
    form = tree.attrs["parameterization"]
    if form == "original":
        return tree
    if form == "design_matrix":
        raise InputError(
            "the design_matrix form has no population means to recover: "
            "fit with the sum_to_zero form."
        )
    require_effect_draws(tree)
    names = factor_names(tree)
    posterior = tree["posterior"].to_dataset()
    means = json.loads(tree.attrs["priors"])["factor_means"]
    rng = np.random.default_rng(seed)
    parts = parts_of(tree.attrs, names)
    if parts is not None:
        of_intercept = Normal(
            sum(means[name]["loc"] for name in names),
            sum(means[name]["scale"] ** 2 for name in names) ** 0.5,
        )
        gene, line = names[parts.genes], names[1 - parts.genes]
        return with_groups(tree, posterior=_of_screen(rng, posterior, gene, line, of_intercept))

    prior_loc = np.array([means[name]["loc"] for name in names])
    prior_variance = np.array([means[name]["scale"] for name in names]) ** 2
    sd = np.stack([posterior[of_factor(name, "sd")].to_numpy() for name in names], axis=-1)
    num_levels = np.array([posterior.sizes[name] for name in names])
    mean_variance = sd**2 / num_levels

    variance = prior_variance + mean_variance
    level_mean = prior_loc + np.sqrt(variance) * rng.standard_normal(sd.shape)
    gap = posterior["intercept"].to_numpy() - level_mean.sum(-1)
    level_mean += variance / variance.sum(-1, keepdims=True) * gap[..., None]

    shrinkage = prior_variance / variance
    mu = prior_loc + shrinkage * (level_mean - prior_loc)
    mu += np.sqrt(shrinkage * mean_variance) * rng.standard_normal(sd.shape)

    for k, name in enumerate(names):
        mean = xr.DataArray(level_mean[..., k], dims=("chain", "draw"))
        posterior[of_factor(name, "mean")] = (("chain", "draw"), mu[..., k])
        posterior[of_factor(name, "intercept")] = mean + posterior[of_factor(name, "effect")]
    return with_groups(tree, posterior=posterior)


def _of_screen(
    rng: np.random.Generator, posterior: xr.Dataset, gene: str, line: str, mean: Normal
) -> xr.Dataset:
    """Add the screen model's own coordinates; `mean` is the prior of m."""
    sd = posterior[of_factor(line, "sd")]
    location = posterior["intercept"] + posterior[of_factor(line, "effect")]
    slope = xr.ones_like(location)
    if of_factor(line, "slope") in posterior:
        slope = posterior[of_factor(line, "slope")]
    of_mean = mean.scale**2 + sd**2 / posterior.sizes[line]

    def normal(like: xr.DataArray) -> xr.DataArray:
        return like.copy(data=rng.standard_normal(like.shape))

    across = slope - slope.mean(line)
    precision = posterior.sizes[gene] / posterior[of_factor(gene, "sd")] ** 2
    precision = precision + slope.mean(line) ** 2 / of_mean + (across**2).sum(line) / sd**2
    product = slope.mean(line) * (location.mean(line) - mean.loc) / of_mean
    product = product + (across * location).sum(line) / sd**2
    gene_mean = product / precision + normal(sd) / np.sqrt(precision)

    line_intercept = location - slope * gene_mean
    shrinkage = mean.scale**2 / of_mean
    m = mean.loc + shrinkage * (line_intercept.mean(line) - mean.loc)
    m = m + np.sqrt(shrinkage * sd**2 / posterior.sizes[line]) * normal(sd)
    return posterior.assign(
        {
            of_factor(gene, "intercept"): posterior[of_factor(gene, "effect")] + gene_mean,
            of_factor(line, "intercept"): line_intercept,
            of_factor(line, "mean"): m,
        }
    )
