"""Prior and posterior predictive draws, in the DataTree's own groups.

Both simulate a new response for every row of a table. They take as much memory as they return,
draws x rows numbers, which is why they are asked for and not made by every fit.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from crossed_jax.arguments import seed_number, whole_number
from crossed_jax.errors import InputError, shown
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
from crossed_jax.models.screen.parts import Parts
from crossed_jax.results.screen_predictions import (
    RowCodes,
    cells_of_rows,
    drawn_from_priors,
    responses,
    seen_in,
    units_as_fitted,
)
from crossed_jax.results.tree import (
    factor_names,
    name_quantities,
    require_effect_draws,
    require_fit,
    row_groups,
    thinned,
    with_groups,
)
from crossed_jax.tables.crossed_data import CrossedData, Factor, Nested, require_table
from crossed_jax.tables.names import check_names, of_factor
from crossed_jax.types import ModelName, NoiseName, PriorName

NUMBERS_AT_ONCE = 2**18


def posterior_predictive(
    tree: xr.DataTree, data: CrossedData, *, num_draws: int | None = None, seed: int = 0
) -> xr.DataTree:
    """Simulate the response of each row from the posterior.

    Parameters
    ----------
    tree
        A fit in any form.
    data
        The table that was fitted, or another with its factors, whose levels all were. It is read
        with what the fit has nested and with its samples; a sample that was not fitted is a new
        one, of the population of the others.
    num_draws
        Posterior draws to use of each chain, evenly spaced; all by default.
    seed
        Of the noise.

    Returns
    -------
    xarray.DataTree
        A copy of `tree` with the group `posterior_predictive`: the response, dimensions
        (chain, draw, row). What `observed_data` and `constant_data` hold by row is of those rows,
        with the fit's levels.

    Raises
    ------
    InputError
        If the table has other factors than the fit, or a level that was not fitted.
    """
    require_fit(tree, "posterior_predictive")
    require_table(data, "posterior_predictive")
    seed = seed_number(seed)
    _require_factors(tree, data)
    require_effect_draws(tree)
    posterior = thinned(tree["posterior"].to_dataset(), num_draws)
    rows = [_as_fitted(factor, posterior) for factor in data.factors]
    rng = np.random.default_rng(seed)
    parts = parts_of(tree.attrs, data.factor_names)
    if parts is None:
        simulated = _additive_responses(rng, posterior, rows, noise_of(tree.attrs))
    else:
        simulated = _screen_responses(rng, tree, posterior, rows, data, parts)
    predicted = xr.Dataset(
        {data.response_name: (("chain", "draw", "row"), simulated)},
        coords={"chain": posterior["chain"], "draw": posterior["draw"]},
    )
    observed, by_row = row_groups(dataclasses.replace(data, factors=tuple(rows)))
    by_level = tree["constant_data"].to_dataset().drop_dims("row", errors="ignore")
    return with_groups(
        tree,
        posterior_predictive=predicted,
        observed_data=observed,
        constant_data=by_level.assign(by_row),
    )


def _as_fitted(factor: Factor, posterior: xr.Dataset) -> Factor:
    """Number the levels of a factor as the fit has them."""
    fitted = posterior.indexes[factor.name]
    unknown = [level for level in factor.levels if level not in fitted]
    if unknown:
        raise InputError(
            f"level {unknown[0]!r} of {factor.name} was not in the fitted table: "
            "leave its rows out or fit again with them."
        )
    codes = fitted.get_indexer(list(factor.levels))[factor.codes]
    return Factor(factor.name, tuple(fitted), codes.astype(np.int32))


def _screen_responses(
    rng: np.random.Generator,
    tree: xr.DataTree,
    posterior: xr.Dataset,
    factors: Sequence[Factor],
    data: CrossedData,
    parts: Parts,
) -> np.ndarray:
    """Simulate the response of each row, shape (chains, draws, rows)."""
    drawn = {str(name): values.to_numpy() for name, values in posterior.items()}
    gene, line = factors[parts.genes], factors[1 - parts.genes]
    unit = sample = None
    if parts.nested is not None:
        given = _units(data.nested, "nested", parts.nested).given
        unit, new = units_as_fitted(given, gene, list(posterior.indexes[parts.nested]))
        if new:
            raise InputError(
                f"{parts.nested} {shown(new[0])} was not in the fitted table: leave its rows out "
                "or fit again with them."
            )
    if parts.sample is not None:
        given = _units(data.samples, "sample", parts.sample).given
        sample, new = units_as_fitted(given, line, list(posterior.indexes[parts.sample]))
        sd = drawn[of_factor(parts.sample, "sd")][..., None]
        of_new = sd * rng.standard_normal((*sd.shape[:2], len(new)))
        effect = of_factor(parts.sample, "effect")
        drawn[effect] = np.concatenate([drawn[effect], of_new], -1)
    rows = RowCodes(gene.codes, line.codes, unit, sample)
    cells = cells_of_rows(rows, parts, seen_in(tree, parts), data.factor_names)
    return responses(rng, drawn, cells, parts, data.factor_names)


def _units(units: Nested | None, argument: str, name: str) -> Nested:
    """What a table has nested, which has to be what the fit has."""
    if units is None or units.units.name != name:
        raise InputError(
            f"the fit has {name} nested in a factor, and this table has not: read it with "
            f"{argument}={name!r}."
        )
    return units


def _require_factors(tree: xr.DataTree, data: CrossedData) -> None:
    """Refuse a table of other factors than those fitted."""
    fitted = factor_names(tree)
    if sorted(data.factor_names) != sorted(fitted):
        raise InputError(
            f"the table has the factors {', '.join(data.factor_names)}, but the fit "
            f"{', '.join(fitted)}: read the table with those of the fit."
        )


def _additive_responses(
    rng: np.random.Generator, posterior: xr.Dataset, factors: Sequence[Factor], noise: Noise
) -> np.ndarray:
    """Simulate the response of each row, shape (chains, draws, rows)."""
    effects = [posterior[of_factor(factor.name, "effect")].to_numpy() for factor in factors]
    values = {q.name: posterior[q.name].to_numpy()[..., None] for q in noise.quantities}
    intercept = posterior["intercept"].to_numpy()
    response = noise.simulate(rng, values, (*intercept.shape, len(factors[0].codes)))
    for draws in _some_at_a_time(response.shape):
        expectation = intercept[draws][:, None]
        for drawn, factor in zip(effects, factors, strict=True):
            expectation = expectation + drawn[draws][:, factor.codes]
        response[draws] += expectation
    return response


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
        _require_factors(tree, data)
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
            None if name is None else _units(units, argument, name).units.codes
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
    for draws in _some_at_a_time(response.shape):
        for a, factor in zip(intercepts, data.factors, strict=True):
            response[draws] += a[draws][:, factor.codes]
    return drawn, response


def _some_at_a_time(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """Go through all draws as (chain, some of them): gathering effects by row makes copies."""
    num_chains, num_draws, num_rows = shape
    number = max(1, NUMBERS_AT_ONCE // num_rows)
    for chain in range(num_chains):
        for start in range(0, num_draws, number):
            yield chain, slice(start, start + number)


def _priors_of(tree: xr.DataTree) -> PriorName:
    name = json.loads(tree.attrs["priors"])["name"] if "priors" in tree.attrs else "post"
    if name == "custom":
        raise InputError("this fit had priors of its own: give them again, as priors=.")
    return "scaled" if name == "scaled" else "post"
