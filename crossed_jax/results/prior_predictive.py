"""Draws from the priors, and of the response that follows from them, in the tree's own groups."""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from crossed_jax.arguments import seed_number, whole_number
from crossed_jax.errors import InputError
from crossed_jax.models.model import (
    Model,
    own_names,
    parts_of,
    priors_of,
    require_normal,
    resolved,
)
from crossed_jax.models.noise import noise_named, noise_of
from crossed_jax.models.parts import Noise
from crossed_jax.models.priors import Priors, resolve_priors
from crossed_jax.results.fitted_table import require_factors
from crossed_jax.results.posterior_predictive import some_at_a_time, units_named
from crossed_jax.results.screen_predictions import (
    RowCodes,
    cells_of_rows,
    drawn_from_priors,
    responses,
)
from crossed_jax.results.tree import name_quantities, with_groups
from crossed_jax.tables.crossed_data import CrossedData, require_table
from crossed_jax.tables.names import check_names
from crossed_jax.types import ModelName, NoiseName, PriorName


def prior_predictive(
    tree: xr.DataTree,
    data: CrossedData,
    *,
    model: ModelName | Model | None = None,
    priors: PriorName | Priors | None = None,
    noise: NoiseName | None = None,
    num_draws: int = 500,
    seed: int = 0,
) -> xr.DataTree:
    """Simulate parameters from the priors, and the response of each row from those.

    Parameters
    ----------
    tree
        A fit, or an empty DataTree to look at the priors before fitting.
    data
        The table whose rows to simulate.
    model
        By default the fit's, or additive for an empty tree.
    priors
        By default those of the fit, or the post's for an empty tree; custom ones must be given.
    noise
        By default the fit's, or normal for an empty tree.
    num_draws
        Draws, in one chain.
    seed
        Of everything drawn.

    Returns
    -------
    xarray.DataTree
        A copy of `tree` with the groups `prior` (named as `posterior`, the original coordinates
        included) and `prior_predictive`.
    """
    if not isinstance(tree, xr.DataTree):
        raise InputError(
            f"prior_predictive takes a tree, not a {type(tree).__name__}: give a fit, or "
            "xarray.DataTree() before there is one."
        )
    require_table(data, "prior_predictive")
    seed = seed_number(seed)
    num_draws = whole_number("number of draws", num_draws, at_least=1)
    chosen_noise = model.noise if noise is None and isinstance(model, Model) else noise
    drawn_noise = noise_of(tree.attrs) if chosen_noise is None else noise_named(chosen_noise)
    names = data.factor_names
    if model is None and tree.attrs.get("model") == "screen":
        require_factors(tree, data)
    parts = parts_of(tree.attrs, names) if model is None else resolved(model, data)[0]
    require_normal(parts, drawn_noise.name)
    every_name = tuple(factor.name for factor in data.factors_and_units)
    check_names(data.response_name, every_name, (*drawn_noise.names, *own_names(parts)))
    given = _priors_of(tree) if priors is None else priors
    chosen = resolve_priors(given, data, drawn_noise.priors | priors_of(parts, names))
    num_factors = len(data.factors)
    key = jax.random.key(seed)
    keys = jax.random.split(key, 2 * num_factors + 1)
    shape = (1, num_draws)

    def draw(prior: Any, key: jax.Array) -> np.ndarray:
        return np.asarray(prior.sample(key, shape))

    with jax.enable_x64(True):
        sds = tuple(map(draw, chosen.factor_sds, keys))
        means = tuple(map(draw, chosen.factor_means, keys[num_factors:]))
        values = {"sigma": draw(chosen.sigma, keys[-1])} | {
            # numbers beyond those of the keys that were split off, which folding in would repeat
            name: draw(prior, jax.random.fold_in(key, number))
            for number, (name, prior) in enumerate(chosen.others.items(), start=len(keys))
        }
    rng = np.random.default_rng(seed)
    if parts is None:
        drawn, response = _additive_prior(rng, values, sds, means, data, drawn_noise)
        prior = name_quantities(drawn, shape, data.factors)
    else:
        drawn = drawn_from_priors(rng, values, sds, means, data, parts)
        prior = name_quantities(drawn, shape, data.factors_and_units)
        by_name = {str(name): values.to_numpy() for name, values in prior.items()}
        gene, line = (data.factors[k].codes for k in (parts.genes, 1 - parts.genes))
        of_units = (
            None if name is None else units_named(units, argument, name).units.codes
            for argument, name, units in (
                ("nested", parts.nested, data.nested),
                ("sample", parts.sample, data.samples),
            )
        )
        cells = cells_of_rows(RowCodes(gene, line, *of_units), parts, None, names)
        response = responses(rng, by_name, cells, parts, names)
    predicted = xr.Dataset(
        {data.response_name: (("chain", "draw", "row"), response)},
        coords={"chain": [0], "draw": np.arange(num_draws)},
    )
    return with_groups(tree, prior=prior, prior_predictive=predicted)


def _additive_prior(
    rng: np.random.Generator,
    values: dict[str, np.ndarray],
    sds: Sequence[np.ndarray],
    means: Sequence[np.ndarray],
    data: CrossedData,
    noise: Noise,
) -> tuple[dict[str, Any], np.ndarray]:
    """Draw the levels' intercepts and the rows' responses given the scalars, shape (1, draws)."""
    shape = values["sigma"].shape
    intercepts = tuple(
        mean[..., None] + sd[..., None] * rng.standard_normal((*shape, len(factor.levels)))
        for mean, sd, factor in zip(means, sds, data.factors, strict=True)
    )
    drawn = {
        "intercept": np.stack([a.mean(-1) for a in intercepts]).sum(0),
        "{factor}_effect": tuple(a - a.mean(-1, keepdims=True) for a in intercepts),
        "{factor}_sd": sds,
        "{factor}_mean": means,
        "{factor}_intercept": intercepts,
        **values,
    }
    by_row = {name: value[..., None] for name, value in values.items()}
    response = noise.simulate(rng, by_row, (*shape, data.num_rows))
    for draws in some_at_a_time(response.shape):
        for a, factor in zip(intercepts, data.factors, strict=True):
            response[draws] += a[draws][:, factor.codes]
    return drawn, response


def _priors_of(tree: xr.DataTree) -> PriorName:
    name = json.loads(tree.attrs["priors"])["name"] if "priors" in tree.attrs else "post"
    if name == "custom":
        raise InputError("this fit had priors of its own: give them again, as priors=.")
    return "scaled" if name == "scaled" else "post"
