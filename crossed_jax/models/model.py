"""Which model is asked for: additive, or with parts of the screen model.

The additive model is that of :mod:`crossed_jax.models.priors`. What a screen may have besides is
described in :mod:`crossed_jax.models.screen`; a part that is asked for by name must be one that the
table can inform, and of all parts together those are left out that it cannot.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast, get_args

from crossed_jax.errors import InputError, told
from crossed_jax.models.distributions import Exponential, LogitNormal
from crossed_jax.models.informed import (
    FEWEST_LEVELS,
    hidden,
    lacking_in,
    require_few,
    require_several,
    unused,
)
from crossed_jax.models.parts import Quantity
from crossed_jax.models.screen.parts import Parts
from crossed_jax.statistics.cells import has_replicates
from crossed_jax.tables.crossed_data import CrossedData, Nested
from crossed_jax.tables.names import of_factor
from crossed_jax.types import ModelName

PARTS_OF_GUIDES = ("nested_interaction", "gene_share")
SHARE, NESTED_SHARE = "interaction_share", "nested_share"
OF_CELLS = ("n", "raw_residual", "mean", "sd", "lower", "upper", "lfsr")  # see results.interactions


class Model(NamedTuple):
    """A model, by the parts that it has beside the additive one's; with none it is that.

    Attributes
    ----------
    slopes
        The factor whose levels differ in how strongly they show the other's effects: the one with
        fewer levels.
    noise_by
        The factors whose levels differ in the SD of their noise; `nested` may be one of them.
    interaction
        Whether replicates of a cell share a part of what is not additive.
    noise
        `student_t` goes with the additive model alone.
    nested
        The units that the table was read with, such as the guides of genes: they have effects of
        their own, and what they do to a line is told from the gene's interaction.
    notes
        What a reader of the verdict should know of the choice.
    sample
        The replicates of the lines that the table was read with: they have effects of their own.
    """

    slopes: str | None = None
    noise_by: str | tuple[str, ...] = ()
    interaction: bool = False
    noise: str = "normal"
    nested: str | None = None
    notes: tuple[str, ...] = ()
    sample: str | None = None


def resolved(model: Any, data: CrossedData) -> tuple[Parts | None, tuple[str, ...]]:
    """Turn what was asked for into parts for a table; None for the additive model.

    Parameters
    ----------
    model
        `additive`, `screen`, which has all parts that the table can inform, or a `Model`.
    data
        The table.

    Returns
    -------
    parts
        Those that the model has.
    notes
        Why some are left out, or the model's own.

    Raises
    ------
    InputError
        If the model is unknown, the table has not two factors, or cannot inform a part asked for.
    """
    if isinstance(model, Model):
        parts = _checked(model, data)
        return parts, (*model.notes, *unused(parts, data), *hidden(parts, data))
    if not isinstance(model, str) or model not in get_args(ModelName):
        known = " or ".join(map(repr, get_args(ModelName)))
        raise InputError(f"unknown model {told(model)}: choose {known}, or give a Model.")
    if model == "additive":
        return None, unused(None, data)
    genes = _integrated_out(data)
    lacking = lacking_in(data, genes)
    notes = tuple(f"The screen model is fitted without {why}" for why in lacking.values())
    of_factors = ("slopes", "line_noise", "gene_noise", "interaction")
    has: dict[str, Any] = {part: part not in lacking for part in of_factors}
    parts = Parts(genes, **has)
    if data.samples is not None and "sample" not in lacking:
        parts = parts._replace(sample=data.samples.units.name)
    parts = parts if data.nested is None else _with_guides(parts, data)
    return parts, (*notes, *hidden(parts, data))


def _integrated_out(data: CrossedData) -> int:
    """Position of the factor that is integrated out.

    It is that which units are nested in, or samples are not, or the one with more levels.
    """
    if len(data.factors) != 2:
        raise InputError(
            f"the screen model has two factors, and this table {len(data.factors)}: read it with "
            "two of them, such as gene and cell_line, or fit model='additive'."
        )
    for factor in data.factors:
        if len(factor.levels) < 2:
            raise InputError(
                f"the screen model needs two levels of each factor, and {factor.name} has one: "
                "fit model='additive'."
            )
    require_several(data)
    if data.nested is not None:
        return data.nested.parent
    if data.samples is not None:
        return 1 - data.samples.parent
    first, second = (len(factor.levels) for factor in data.factors)
    return 0 if first >= second else 1


def _with_guides(parts: Parts, data: CrossedData) -> Parts:
    """Add what guides bring, as far as the table can inform it."""
    several = len(data.factors[parts.genes].levels) >= FEWEST_LEVELS
    return parts._replace(
        nested=cast("Nested", data.nested).units.name,
        nested_interaction=has_replicates(units_by_lines(data, parts)),
        gene_share=parts.interaction and several,
    )


def units_by_lines(data: CrossedData, parts: Parts) -> CrossedData:
    """Give the table of nested units by lines."""
    units = cast("Nested", data.nested).units
    return dataclasses.replace(data, factors=(units, data.factors[1 - parts.genes]), nested=None)


def _checked(model: Model, data: CrossedData) -> Parts | None:
    """Check the parts that are asked for by name."""
    noise_by = (model.noise_by,) if isinstance(model.noise_by, str) else model.noise_by
    if not isinstance(noise_by, tuple | list):
        raise InputError(
            f"noise_by is {told(noise_by)}: give the name of a factor, or a tuple of names."
        )
    by_units = model.nested is not None and model.nested in noise_by
    of_slopes = [] if model.slopes is None else [model.slopes]
    of_noise = [name for name in noise_by if not (by_units and name == model.nested)]
    for name in of_slopes:
        if name not in data.factor_names:
            raise InputError(_unknown_part(name, data))
    for name in of_noise:
        if name not in data.factor_names:
            raise InputError(_unknown_noise(name, data))
    named = [*of_slopes, *noise_by]
    if not isinstance(model.interaction, bool):
        raise InputError(f"interaction is {told(model.interaction)}: give True or False.")
    if model.nested is not None and (data.nested is None or model.nested != data.nested.units.name):
        raise InputError(
            f"the model has {told(model.nested)} nested: read the table with "
            f"nested={model.nested!r}."
        )
    if model.sample is not None and (
        data.samples is None or model.sample != data.samples.units.name
    ):
        raise InputError(
            f"the model has effects of {told(model.sample)}: read the table with "
            f"sample={model.sample!r}."
        )
    if not named and not model.interaction and model.nested is None and model.sample is None:
        return None
    if model.noise != "normal":
        raise InputError(
            f"{model.noise} noise goes with the additive model alone: leave out the other parts, "
            "or choose noise='normal'; noise_by lets the SD of the noise differ by level."
        )
    genes = _integrated_out(data)
    gene, line = data.factor_names[genes], data.factor_names[1 - genes]
    if model.slopes == gene:
        raise InputError(
            f"{gene} has the more levels, or comes first, and is integrated out: choose "
            f"slopes={line!r}, in which {gene} effects then differ in size."
        )
    parts = Parts(
        genes,
        model.slopes == line,
        line in noise_by,
        gene in noise_by,
        model.interaction,
        sample=model.sample,
    )
    for part, why in lacking_in(data, genes).items():
        if getattr(parts, part):
            raise InputError(f"the table cannot inform {why.rstrip('.')}; leave that part out.")
    if model.nested is None:
        return parts
    if by_units:
        require_few(data)
    return _with_guides(parts, data)._replace(guide_noise=by_units)


def _unknown_noise(name: Any, data: CrossedData) -> str:
    """Say that noise cannot differ by this name."""
    if data.nested is not None and name == data.nested.units.name:
        return f"the model has noise by {told(name)} and no effects of it: add nested={name!r}."
    unread = "" if data.nested else f"; if it is nested in one, read the table with nested={name!r}"
    return _unknown_part(name, data).removesuffix(".") + f"{unread}."


def _unknown_part(name: Any, data: CrossedData) -> str:
    """Say that levels of this name cannot differ in anything."""
    return f"the model has a part by {told(name)}: the factors are {', '.join(data.factor_names)}."


def require_normal(parts: Parts | None, noise: str) -> None:
    """Refuse a screen model of another noise."""
    if parts is not None and noise != "normal":
        raise InputError(
            f"the screen model cannot have {noise} noise: leave it out, as noise that differs by "
            "level has heavy tails, or fit model='additive'."
        )


def chosen(parts: Parts, factor_names: Sequence[str]) -> Model:
    """Give the model that asks for some parts by name."""
    gene, line = factor_names[parts.genes], factor_names[1 - parts.genes]
    of_guides = (parts.nested or "", parts.guide_noise)
    noise_by = ((gene, parts.gene_noise), (line, parts.line_noise), of_guides)
    return Model(
        line if parts.slopes else None,
        tuple(name for name, has in noise_by if has),
        parts.interaction,
        nested=parts.nested,
        sample=parts.sample,
    )


def quantities_of(parts: Parts | None, factor_names: Sequence[str]) -> tuple[Quantity, ...]:
    """What the parts draw that is a single number, with its prior by default."""
    if parts is None:
        return ()
    gene, line = factor_names[parts.genes], factor_names[1 - parts.genes]
    one = Exponential(1.0)
    share_sd = of_factor(gene, "logit_share_sd")
    line_noise, gene_noise, guide_noise = (
        of_factor(factor, "log_noise_sd_sd") for factor in (line, gene, parts.nested or "")
    )
    every = (
        (parts.slopes, of_factor(line, "log_slope_sd"), f"SD of log slopes by {line}", one),
        (parts.line_noise, line_noise, f"SD of log noise SDs by {line}", one),
        (parts.gene_noise, gene_noise, f"SD of log noise SDs by {gene}", one),
        (parts.guide_noise, guide_noise, f"SD of log noise SDs by {parts.nested}", one),
        (parts.interaction, SHARE, "share of interaction", LogitNormal(0.0, 1.5)),
        (parts.gene_share, share_sd, f"SD of logit shares by {gene}", one),
        (parts.nested_interaction, NESTED_SHARE, f"share of {parts.nested}", LogitNormal(0.0, 1.5)),
    )
    found = tuple(Quantity(name, title, False, prior) for has, name, title, prior in every if has)
    units = [name for name in (parts.nested, parts.sample) if name is not None]
    sds = (Quantity(of_factor(name, "sd"), f"SD of {name}", True, one) for name in units)
    return (*found, *sds)


def priors_of(parts: Parts | None, factor_names: Sequence[str]) -> dict[str, Any]:
    """The parts' own priors by name."""
    return {q.name: q.prior for q in quantities_of(parts, factor_names)}


def own_names(parts: Parts | None) -> tuple[str, ...]:
    """Names in the results that belong to no factor."""
    if parts is None or not parts.interaction:
        return ()
    nested = (NESTED_SHARE,) if parts.nested_interaction else ()
    return (SHARE, *nested, "interaction", *OF_CELLS, "s_value")


def describe_model(parts: Parts | None, factor_names: Sequence[str]) -> dict[str, Any]:
    """Say in plain values which model it is."""
    if parts is None:
        return {"model": "additive"}
    model = chosen(parts, factor_names)
    told = {
        "integrated_out": factor_names[parts.genes],
        "slopes": model.slopes,
        "noise_by": list(model.noise_by),
        "interaction": model.interaction,
    }
    if parts.nested is not None:
        told |= {name: getattr(parts, name) for name in ("nested", *PARTS_OF_GUIDES)}
    if parts.sample is not None:
        told["sample"] = parts.sample
    return {"model": "screen", "parts": told}


def parts_of(attributes: Mapping[Any, Any], factor_names: Sequence[str]) -> Parts | None:
    """Read the parts of a fit from its tree's attributes; None for the additive model.

    Parameters
    ----------
    attributes
        Of the tree.
    factor_names
        In the order that positions are to be of.
    """
    if attributes.get("model", "additive") != "screen":
        return None
    parts = json.loads(attributes["parts"])
    names = list(factor_names)
    genes = names.index(parts["integrated_out"])
    gene, line = names[genes], names[1 - genes]
    noise_by = parts["noise_by"]
    of_guides: dict[str, Any] = {name: parts.get(name, False) for name in PARTS_OF_GUIDES}
    return Parts(
        genes,
        parts["slopes"] == line,
        line in noise_by,
        gene in noise_by,
        parts["interaction"],
        parts.get("nested"),
        sample=parts.get("sample"),
        guide_noise=parts.get("nested") in noise_by,
        **of_guides,
    )
