"""The screen model with guides: NUTS moves the lines, genes and guides are drawn given them."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from crossed_jax.forms.given_draws import each_with_a_key, given_all
from crossed_jax.forms.samples import add_samples, locations_without_samples, of_lines_alone
from crossed_jax.forms.screen import (
    add_moments,
    mean_and_sd,
    named,
    named_interactions,
    pays_side_by_side,
    quadrature_error,
    screen_priors,
    sigmoid,
    sum_up,
)
from crossed_jax.forms.table import Sampled, Table, seen_by_units
from crossed_jax.models.model import NESTED_SHARE, units_by_lines
from crossed_jax.models.screen.genes import Effects, Given
from crossed_jax.models.screen.guides.density import GuideRules, log_likelihood
from crossed_jax.models.screen.guides.effects import Latent, WithGuides, effects_given_lines
from crossed_jax.models.screen.guides.interactions import Drawn, interactions
from crossed_jax.models.screen.guides.lines import GuideLines
from crossed_jax.models.screen.guides.model_data import guide_data
from crossed_jax.models.screen.guides.table import GuideStrata
from crossed_jax.models.screen.interactions import Interactions
from crossed_jax.models.screen.parameterization import PARAMETERIZATION, Draw
from crossed_jax.models.screen.parts import Parts
from crossed_jax.models.screen.samples import Locations
from crossed_jax.sampling.chunks import Run
from crossed_jax.sampling.kept_programs import compilation_cache
from crossed_jax.sampling.settings import RunSettings
from crossed_jax.statistics.cells import cells_of
from crossed_jax.types import Array


class _Kept(NamedTuple):
    """What was drawn of genes and guides, leading dimension (draws,)."""

    effects: Effects
    guide: np.ndarray
    latent: Latent


def sample_guides(
    draw: Callable[..., Run], settings: RunSettings, table: Table, parts: Parts
) -> Sampled:
    """Sample the lines, then draw genes and guides given them and sum the interactions up."""
    clock = time.perf_counter()
    nested = table.data.nested
    assert nested is not None
    units, parents = units_by_lines(table.data, parts), nested.parent_of_unit
    priors = screen_priors(table.priors, parts, table.data.factor_names)
    laid_out = guide_data(units, cells_of(units), parents, parts, priors)
    model_data, rules = laid_out.model_data, laid_out.rules
    seconds = {"estimate": time.perf_counter() - clock}
    if pays_side_by_side(settings, model_data):
        draw = partial(draw, chain_method="vectorized")
    run = draw(PARAMETERIZATION, model_data)
    clock = time.perf_counter()
    strata = jax.device_put(laid_out.strata)
    at = Draw(*run.draws).with_guides
    locations = locations_without_samples(settings, run.draws, model_data)
    kept, moments = _genes(settings, at, strata, rules, locations)
    seconds["effects"] = time.perf_counter() - clock
    attributes: dict[str, Any] = {"effects_drawn_to": [settings.num_draws]}
    attributes["quadrature_error"] = quadrature_error(
        _log_likelihoods, at, strata, (rules, laid_out.finer)
    )
    found = None
    if parts.interaction:
        clock = time.perf_counter()
        found, attributes["interaction_error"] = _interactions(
            at, kept.latent, strata, table, parts
        )
        seconds["interactions"] = time.perf_counter() - clock
    shape = at.lines.location.shape[:2]
    effects, guide, latent = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), kept)
    by_name = named(run.draws, effects, parts)
    sds = run.draws.sds
    by_name["{factor}_effect"] += (guide,)
    by_name["{factor}_sd"] += (np.asarray(sds.guide),)
    if at.log_guide_noise is not None:
        by_name["{factor}_log_noise_sd"] += (np.asarray(at.log_guide_noise),)
        by_name["{factor}_log_noise_sd_sd"] += (np.asarray(sds.guide_noise),)
    add_samples(by_name, run.draws, locations, table.data)
    if sds.gene_share is not None:
        place = np.argsort(np.asarray(strata.gene))
        shares = sigmoid(latent.share[..., place])
        by_name["{factor}_interaction_share"] = parts.by_factor(shares, None)
        by_name["{factor}_logit_share_sd"] = parts.by_factor(np.asarray(sds.gene_share), None)
    if at.logit_nested is not None:
        by_name[NESTED_SHARE] = sigmoid(at.logit_nested)
    in_order = list(parts.by_factor(*moments))
    return Sampled(
        run,
        by_name,
        run.seconds | seconds,
        attributes,
        in_order,
        interactions=found,
        seen=seen_by_units(table),
    )


@jax.jit
def _given_lines(
    key: jax.Array,
    chain: jax.Array,
    number: jax.Array,
    at: GuideLines,
    strata: GuideStrata,
    rules: GuideRules,
) -> WithGuides:
    """Draw genes and guides given some draws of the lines, each with a key of its own."""

    def one(key: jax.Array, at: GuideLines) -> WithGuides:
        return effects_given_lines(key, at, strata, rules)

    return each_with_a_key(one, key, chain, number, at)


def _genes(
    settings: RunSettings,
    at: GuideLines,
    strata: GuideStrata,
    rules: GuideRules,
    locations: Locations | None,
) -> tuple[_Kept, list[tuple[np.ndarray, np.ndarray]]]:
    """Draw genes and guides given the lines, and give the moments of gene and line effects."""
    pieces: list[_Kept] = []
    start = 0
    sums = [np.zeros((3, size)) for size in (len(strata.gene), len(strata.location))]
    effects = Effects._make((0, 0, 0, None if at.lines.log_gene_noise is None else 0))
    like = WithGuides._make((Given._make((effects, effects, effects)), 0, Latent._make((0, 0))))
    with compilation_cache():
        for found, guide, latent in given_all(
            settings, at, _given_lines, {}, (strata, rules), like
        ):
            given = of_lines_alone(found, at.lines, locations, start)
            start += len(guide)
            pieces.append(_Kept(given.draw, guide, latent))
            add_moments(sums, given)
    kept = jax.tree.map(lambda *x: np.concatenate(x), *pieces)
    return kept, [mean_and_sd(total / len(kept.guide)) for total in sums]


@jax.jit
def _log_likelihoods(at: GuideLines, strata: GuideStrata, rules: GuideRules) -> Array:
    return jax.lax.map(lambda one: log_likelihood(one, strata, rules), at)


_summed_up = jax.jit(interactions)


def _interactions(
    at: GuideLines, latent: Latent, strata: GuideStrata, table: Table, parts: Parts
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Sum the interactions up, shape (cells,) by name; and give the largest Monte Carlo errors."""
    cells = table.cells
    shape = at.lines.location.shape[:2]
    drawn = Drawn(at, jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), latent))
    found = sum_up(_summed_up, drawn, (strata,), len(cells.counts))
    gene, line = cells.codes[:, parts.genes], cells.codes[:, 1 - parts.genes]
    return named_interactions(Interactions(*(np.asarray(x)[gene, line] for x in found)), table)
