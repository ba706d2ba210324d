"""Posterior predictive draws, in the DataTree's own group.

A new response is simulated for every row of a table. They take as much memory as they return,
draws x rows numbers, which is why they are asked for and not made by every fit.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

from crossed_jax.arguments import seed_number
from crossed_jax.errors import InputError, shown
from crossed_jax.models.model import parts_of
from crossed_jax.models.noise import noise_of
from crossed_jax.models.parts import Noise
from crossed_jax.models.screen.parts import Parts
from crossed_jax.results.fitted_table import require_factors
from crossed_jax.results.screen_predictions import (
    RowCodes,
    cells_of_rows,
    require_parents,
    responses,
    seen_in,
    units_as_fitted,
)
from crossed_jax.results.tree import (
    require_effect_draws,
    require_fit,
    row_groups,
    thinned,
    with_groups,
)
from crossed_jax.tables.crossed_data import CrossedData, Factor, Nested, require_table
from crossed_jax.tables.names import of_factor

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
    require_factors(tree, data)
    require_effect_draws(tree)
    posterior = thinned(tree["posterior"].to_dataset(), num_draws)
    rows = [_as_fitted(factor, posterior) for factor in data.factors]
    rng = np.random.default_rng(seed)
    parts = parts_of(tree.attrs, data.factor_names)
    if parts is None:
        drawn = {str(name): values.to_numpy() for name, values in posterior.items()}
        by_factor = {row.name: row.codes for row in rows}
        simulated = additive_responses(rng, drawn, by_factor, noise_of(tree.attrs))
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
    seen = seen_in(tree, parts)
    if parts.nested is not None:
        given = units_named(data.nested, "nested", parts.nested).given
        fitted = list(posterior.indexes[parts.nested])
        unit, new = units_as_fitted(given, gene, fitted)
        if new:
            raise InputError(
                f"{parts.nested} {shown(new[0])} was not in the fitted table: leave its rows out "
                "or fit again with them."
            )
        require_parents(seen, gene, parts.nested, unit, fitted, "the table")
    if parts.sample is not None:
        given = units_named(data.samples, "sample", parts.sample).given
        fitted = list(posterior.indexes[parts.sample])
        sample, new = units_as_fitted(given, line, fitted)
        require_parents(seen, line, parts.sample, sample, fitted, "the table")
        sd = drawn[of_factor(parts.sample, "sd")][..., None]
        of_new = sd * rng.standard_normal((*sd.shape[:2], len(new)))
        effect = of_factor(parts.sample, "effect")
        drawn[effect] = np.concatenate([drawn[effect], of_new], -1)
    rows = RowCodes(gene.codes, line.codes, unit, sample)
    cells = cells_of_rows(rows, parts, seen, data.factor_names)
    return responses(rng, drawn, cells, parts, data.factor_names)


def units_named(units: Nested | None, argument: str, name: str) -> Nested:
    """What a table has nested, which has to be what the fit has."""
    if units is None or units.units.name != name:
        raise InputError(
            f"the fit has {name} nested in a factor, and this table has not: read it with "
            f"{argument}={name!r}."
        )
    return units


def additive_responses(
    rng: np.random.Generator,
    drawn: Mapping[str, np.ndarray],
    codes: Mapping[str, np.ndarray],
    noise: Noise | None,
) -> np.ndarray:
    """Simulate the response of each row, shape (chains, draws, rows).

    Parameters
    ----------
    rng
        Of the noise.
    drawn
        By name in the results, leading dimensions (chains, draws), levels last.
    codes
        By factor, the level of each row.
    noise
        Without it, the expectations.
    """
    intercept = drawn["intercept"]
    shape = (*intercept.shape, len(next(iter(codes.values()))))
    if noise is None:
        response = np.zeros(shape)
    else:
        response = noise.simulate(
            rng, {name: drawn[name][..., None] for name in noise.names}, shape
        )
    for draws in some_at_a_time(shape):
        expectation = intercept[draws][:, None]
        for factor, of_rows in codes.items():
            expectation = expectation + drawn[of_factor(factor, "effect")][draws][:, of_rows]
        response[draws] += expectation
    return response


def some_at_a_time(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """Go through all draws as (chain, some of them): gathering effects by row makes copies."""
    num_chains, num_draws, num_rows = shape
    number = max(1, NUMBERS_AT_ONCE // num_rows)
    for chain in range(num_chains):
        for start in range(0, num_draws, number):
            yield chain, slice(start, start + number)
