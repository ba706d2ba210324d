"""From draws to an ``xarray.DataTree``, the one result type, and what its users ask of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from crossed_jax.arguments import whole_number
from crossed_jax.errors import InputError
from crossed_jax.models.collapsed.quantiles import PROBABILITIES
from crossed_jax.models.offset import offset_of
from crossed_jax.sampling.chunks import Statistics
from crossed_jax.tables.crossed_data import CrossedData, Factor
from crossed_jax.tables.names import factor_quantities, of_factor

MAX_ROWS_KEPT = 1_000_000


def to_datatree(
    draws: Mapping[str, Any],
    statistics: Statistics,
    attributes: Mapping[str, Any],
    data: CrossedData | None = None,
    moments: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    quantiles: Sequence[np.ndarray] | None = None,
    interactions: Mapping[str, np.ndarray] | None = None,
    seen: Mapping[str, np.ndarray] | None = None,
) -> xr.DataTree:
    """Name the draws and gather them with the data they came from.

    Parameters
    ----------
    draws
        By name, see :class:`~crossed_jax.models.parameterization.Parameterization`; leading
        dimensions (chains, draws).
    statistics
        Shape (chains, draws) each.
    attributes
        Attributes of the tree's root; values that are not strings or numbers are written as JSON.
    data
        The table, if the draws came from one. Its rows go into the tree up to a million of them;
        counts and raw means of the levels always do.
    moments
        For each factor, its effects' exact posterior means and SDs, where they are known.
    quantiles
        For each factor, its effects' quantiles at `quantiles.PROBABILITIES`, shape
        (levels, probabilities), where they stand for draws.
    interactions
        What is known of each cell's interaction, shape (cells,) by name.
    seen
        Counts and means of rows by what is nested in the factors, which predictions go by.
    """
    factors = () if data is None else data.factors_and_units
    root = xr.Dataset(
        attrs={k: v if isinstance(v, str) else json.dumps(v) for k, v in attributes.items()}
    )
    groups = {}
    if data is not None and moments is not None:
        groups["effect_moments"] = _name_moments(moments, quantiles, data)
    if interactions is not None:
        groups["interactions"] = xr.Dataset(
            {name: ("cell", values) for name, values in interactions.items()}
        )
    if seen is not None:
        groups["seen"] = xr.Dataset({name: ("seen", values) for name, values in seen.items()})
    groups |= {
        "/": root,
        "posterior": name_quantities(draws, statistics.lp.shape, factors),
        "sample_stats": xr.Dataset(
            {name: (("chain", "draw"), values) for name, values in statistics._asdict().items()},
            coords=_draw_coordinates(statistics.lp.shape),
        ),
    }
    if data is not None:
        groups["observed_data"], groups["constant_data"] = _data_groups(data)
    return xr.DataTree.from_dict(groups)


def _draw_coordinates(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}


def name_quantities(
    draws: Mapping[str, Any], shape: tuple[int, ...], factors: Sequence[Factor]
) -> xr.Dataset:
    """Give drawn quantities their names and level labels.

    Parameters
    ----------
    draws
        By name, see :class:`~crossed_jax.models.parameterization.Parameterization`.
    shape
        Their leading dimensions, (chains, draws).
    factors
        Those that tuples have an entry for, None where the factor has not that quantity; units
        nested in a factor go last, and where tuples end before them they have it not.
    """
    coordinates = _draw_coordinates(shape)
    arrays = {
        name: (("chain", "draw", *dimensions_of(name, np.ndim(values) - len(shape))), values)
        for name, values in draws.items()
        if not isinstance(values, tuple)
    }
    variables = {name: arrays[name] for name in ("intercept",) if name in arrays}  # goes first
    for k, factor in enumerate(factors):
        for quantity in factor_quantities():
            each = draws.get(of_factor("{factor}", quantity))
            if each is not None and k < len(each) and each[k] is not None:
                by_level = np.ndim(each[k]) > len(shape)
                dimensions = ("chain", "draw", factor.name) if by_level else ("chain", "draw")
                variables[of_factor(factor.name, quantity)] = (dimensions, each[k])
                if by_level:
                    coordinates[factor.name] = factor.labels
    return xr.Dataset(variables | arrays, coords=coordinates)


def dimensions_of(name: str, number: int) -> list[str]:
    """Name the dimensions of a quantity that is no factor's, as ArviZ does."""
    return [f"{name}_dim_{i}" for i in range(number)]


def _name_moments(
    moments: Sequence[tuple[np.ndarray, np.ndarray]],
    quantiles: Sequence[np.ndarray] | None,
    data: CrossedData,
) -> xr.Dataset:
    named = xr.Dataset(coords={factor.name: factor.labels for factor in data.factors})
    for factor, (mean, sd) in zip(data.factors, moments, strict=True):
        named[of_factor(factor.name, "effect_mean")] = (factor.name, mean)
        named[of_factor(factor.name, "effect_sd")] = (factor.name, sd)
    if quantiles is not None:
        named = named.assign_coords(probability=PROBABILITIES)
        for factor, values in zip(data.factors, quantiles, strict=True):
            named[of_factor(factor.name, "effect_quantile")] = (
                (factor.name, "probability"),
                values,
            )
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


def table_of(tree: xr.DataTree) -> CrossedData | None:
    """Give back the table that was fitted; None where the tree has not all its rows, or units."""
    response, names = tree.attrs["response"], factor_names(tree)
    observed, constant = tree["observed_data"].to_dataset(), tree["constant_data"].to_dataset()
    if response not in observed or "seen" in tree.children:
        return None
    factors = tuple(
        Factor(
            name, tuple(map(str, constant[name].values)), constant[of_factor(name, "code")].values
        )
        for name in names
    )
    return CrossedData(observed[response].values, response, factors, 0, ())


def with_groups(tree: xr.DataTree, **groups: xr.Dataset) -> xr.DataTree:
    """Copy a tree and set groups of the copy."""
    extended = tree.copy()
    for name, group in groups.items():
        extended[name] = xr.DataTree(group)
    return extended


def thinned(posterior: xr.Dataset, num_draws: int | None) -> xr.Dataset:
    """Take so many draws of each chain, evenly spaced; all if None, or if there are no more."""
    if num_draws is None or whole_number("number of draws", num_draws, at_least=1) >= (
        most := posterior.sizes["draw"]
    ):
        return posterior
    return posterior.isel(draw=np.linspace(0, most - 1, num_draws).round().astype(int))


def require_fit(tree: object, taker: str, *, of_factors: bool = True) -> None:
    """Refuse what is not the tree of a fit; `of_factors`, nor one of a log-density of one's own."""
    attributes = tree.attrs if isinstance(tree, xr.DataTree) else {}
    if "factors" not in attributes or "parameterization" not in attributes:
        raise InputError(
            f"{taker} takes the tree that fit returns, and this {type(tree).__name__} is none: "
            "give that tree, or its file opened by xarray.open_datatree('posterior.nc')."
        )
    if of_factors and not json.loads(attributes["factors"]):
        raise InputError(
            f"{taker} takes a fit of crossed factors, of which this tree has none: look at its "
            "posterior, or ask parameters or diagnose."
        )


def factor_names(tree: xr.DataTree) -> list[str]:
    """Names of the crossed factors of a fitted tree, in the order they were given."""
    return json.loads(tree.attrs["factors"])


def require_effect_draws(tree: xr.DataTree) -> None:
    """Refuse a tree that keeps a summary of the effects in place of their draws."""
    if of_factor(factor_names(tree)[0], "effect") not in tree["posterior"].data_vars:
        raise InputError(
            "this fit kept a summary of the effects, and not the draws that are needed here: fit "
            "again with keep_effects='draws'."
        )
