r"""From draws to an ``xarray.DataTree``, and from the sum-to-zero posterior back to the original's.

The original coordinates are exact. Given the SDs, each factor's mean over its own levels is a
priori Normal, with mean :math:`m_k` and variance :math:`v_k = s_k^2 + \sigma_k^2/L_k`, independent
of the zero-sum effects, and the data inform only the sum :math:`\sum_k \bar\alpha^k = m`. So draw
:math:`\tilde\alpha^k` from those priors and shift it on to the sum (Matheron's rule):

.. math:: \bar\alpha^k = \tilde\alpha^k + \frac{v_k}{\sum_j v_j}\Big(m - \sum_j \tilde\alpha^j\Big),

after which :math:`\mu_k` follows from its conditional given the level mean, a Normal with precision
:math:`1/s_k^2 + L_k/\sigma_k^2`, and :math:`\alpha^k = \bar\alpha^k + ` effects.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from crossed_jax.arguments import seed_number
from crossed_jax.errors import InputError
from crossed_jax.models.collapsed.quantiles import PROBABILITIES
from crossed_jax.models.offset import offset_of
from crossed_jax.models.parameterization import Quantities
from crossed_jax.sampling.chunks import Statistics
from crossed_jax.tables.data import CrossedData
from crossed_jax.tables.names import of_factor

MAX_ROWS_KEPT = 1_000_000


def to_datatree(
    draws: Quantities,
    statistics: Statistics,
    data: CrossedData,
    attributes: Mapping[str, Any],
    moments: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    quantiles: Sequence[np.ndarray] | None = None,
) -> xr.DataTree:
    """Name the draws and gather them with the data they came from.

    Parameters
    ----------
    draws
        Leading dimensions (chains, draws).
    statistics
        Shape (chains, draws) each.
    data
        The table. Its rows go into the tree up to a million of them; counts and raw means of the
        levels always do.
    attributes
        Attributes of the tree's root; values that are not strings or numbers are written as JSON.
    moments
        For each factor, its effects' exact posterior means and SDs, where they are known.
    quantiles
        For each factor, its effects' quantiles at `mixture.PROBABILITIES`, shape
        (levels, probabilities), where they stand for draws.
    """
    root = xr.Dataset(
        attrs={
            "response": data.response_name,
            "factors": json.dumps([factor.name for factor in data.factors]),
            "notes": json.dumps(data.notes),
            **{k: v if isinstance(v, str) else json.dumps(v) for k, v in attributes.items()},
        }
    )
    observed, constant = _data_groups(data)
    groups = {}
    if moments is not None:
        groups["effect_moments"] = _name_moments(moments, quantiles, data)
    return xr.DataTree.from_dict(
        groups
        | {
            "/": root,
            "posterior": name_quantities(draws, data),
            "sample_stats": xr.Dataset(
                {
                    name: (("chain", "draw"), values)
                    for name, values in statistics._asdict().items()
                },
                coords=_draw_coordinates(draws.sigma.shape),
            ),
            "observed_data": observed,
            "constant_data": constant,
        }
    )


def _draw_coordinates(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}


def name_quantities(draws: Quantities, data: CrossedData) -> xr.Dataset:
    """Give drawn quantities, leading dimensions (chains, draws), their names and level labels."""
    each = ("chain", "draw")
    variables: dict[str, tuple] = {"intercept": (each, draws.intercept)}
    for k, factor in enumerate(data.factors):
        name = factor.name
        if draws.effects:
            variables[of_factor(name, "effect")] = ((*each, name), draws.effects[k])
        if draws.factor_sds is not None:
            variables[of_factor(name, "sd")] = (each, draws.factor_sds[..., k])
        if draws.factor_means is not None and draws.factor_intercepts is not None:
            variables[of_factor(name, "mean")] = (each, draws.factor_means[..., k])
            variables[of_factor(name, "intercept")] = ((*each, name), draws.factor_intercepts[k])
    variables["sigma"] = (each, draws.sigma)
    coordinates = _draw_coordinates(draws.sigma.shape)
    if draws.effects:
        coordinates |= {factor.name: factor.labels for factor in data.factors}
    return xr.Dataset(variables, coords=coordinates)


def _name_moments(
    moments: Sequence[tuple[np.ndarray, np.ndarray]],
    quantiles: Sequence[np.ndarray] | None,
    data: CrossedData,
) -> xr.Dataset:
    named = xr.Dataset(coords={factor.name: factor.labels for factor in data.factors})
    for factor, (mean, sd) in zip(data.factors, moments, strict=True):
        named[of_factor(factor.name, "mean")] = (factor.name, mean)
        named[of_factor(factor.name, "sd")] = (factor.name, sd)
    if quantiles is not None:
        named = named.assign_coords(probability=PROBABILITIES)
        for factor, values in zip(data.factors, quantiles, strict=True):
            named[of_factor(factor.name, "quantile")] = ((factor.name, "probability"), values)
    return named


def _data_groups(data: CrossedData) -> tuple[xr.Dataset, xr.Dataset]:
    observed, constant = xr.Dataset(), xr.Dataset()
    if len(data.response) <= MAX_ROWS_KEPT:
        observed, constant = row_groups(data)
    offset = offset_of(data.response)
    response = data.response - offset if offset else data.response
    for factor in data.factors:
        count = np.bincount(factor.codes, minlength=len(factor.levels))
        total = np.bincount(factor.codes, weights=response, minlength=len(factor.levels))
        constant = constant.assign_coords({factor.name: factor.labels})
        constant[of_factor(factor.name, "n")] = (factor.name, count)
        constant[of_factor(factor.name, "raw_mean")] = (factor.name, total / count + offset)
    return observed, constant


def row_groups(data: CrossedData) -> tuple[xr.Dataset, xr.Dataset]:
    """Give what is observed in each row of a table, and the levels' codes."""
    codes = {of_factor(factor.name, "code"): ("row", factor.codes) for factor in data.factors}
    return xr.Dataset({data.response_name: ("row", data.response)}), xr.Dataset(codes)


def with_groups(tree: xr.DataTree, **groups: xr.Dataset) -> xr.DataTree:
    """Copy a tree and set groups of the copy."""
    extended = tree.copy()
    for name, group in groups.items():
        extended[name] = xr.DataTree(group)
    return extended


def require_fit(tree: object, taker: str) -> None:
    """Refuse what is not the tree of a fit."""
    attributes = tree.attrs if isinstance(tree, xr.DataTree) else {}
    if "factors" not in attributes or "parameterization" not in attributes:
        raise InputError(
            f"{taker} takes the tree that fit returns, and this {type(tree).__name__} is none: "
            "give that tree, or its file opened by xarray.open_datatree('posterior.nc')."
        )


def factor_names(tree: xr.DataTree) -> list[str]:
    """Names of the crossed factors of a fitted tree, in the order they were given."""
    return json.loads(tree.attrs["factors"])


def require_effect_draws(tree: xr.DataTree) -> None:
    """Refuse a tree that keeps a summary of the effects in place of their draws."""
    if of_factor(factor_names(tree)[0], "effect") not in tree["posterior"].data_vars:
        raise InputError(
            "this fit kept a summary of the effects, and not the draws that are needed here: fit "
            "again with --keep-effects draws."
        )


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
        (mu) and the levels' intercepts `{f}_intercept` (alpha, dimension f).

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
