"""The screen model: NUTS moves the lines, and the genes are drawn given them."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from crossed_jax.forms.given_draws import each_with_a_key, given_all, spaced
from crossed_jax.forms.samples import add_samples, locations_without_samples, of_lines_alone
from crossed_jax.forms.table import Sampled, Table, seen_by_units
from crossed_jax.models.model import NESTED_SHARE, SHARE
from crossed_jax.models.priors import Priors
from crossed_jax.models.screen.density import Lines, log_likelihood
from crossed_jax.models.screen.genes import Effects, Given, effects_given_lines
from crossed_jax.models.screen.interactions import Interactions, interactions
from crossed_jax.models.screen.model_data import screen_data
from crossed_jax.models.screen.parameterization import (
    PARAMETERIZATION,
    Draw,
    OfSDs,
    ScreenData,
    ScreenPriors,
)
from crossed_jax.models.screen.parts import Parts
from crossed_jax.models.screen.quadrature import Rule, gauss_hermite
from crossed_jax.models.screen.samples import Locations
from crossed_jax.models.screen.strata import Strata, in_order_of_cells
from crossed_jax.sampling.chunks import Run
from crossed_jax.sampling.devices import available_devices
from crossed_jax.sampling.kept_programs import compilation_cache, kept_program
from crossed_jax.sampling.settings import RunSettings
from crossed_jax.tables.names import of_factor
from crossed_jax.types import Array

MOST_INTERACTION_DRAWS, LEAST_INTERACTION_DRAWS = 4_000, 100
INTERACTIONS_AT_ONCE = 2**26
INTERACTION_NODES = 5
CHECKED_DRAWS = 16
SMALL_TABLE = 2**19  # numbers, as many as a processor's cache has room for


def sample_screen(
    draw: Callable[..., Run], settings: RunSettings, table: Table, parts: Parts
) -> Sampled:
    """Sample the lines, then draw the genes given them and sum the interactions up."""
    clock = time.perf_counter()
    priors = screen_priors(table.priors, parts, table.data.factor_names)
    strata, model_data = screen_data(table.data, table.cells, parts, priors)
    seconds = {"estimate": time.perf_counter() - clock}
    if pays_side_by_side(settings, model_data):
        draw = partial(draw, chain_method="vectorized")
    run = draw(PARAMETERIZATION, model_data)
    clock = time.perf_counter()
    strata = jax.device_put(strata)
    num_genes = table.cells.num_levels[parts.genes]
    locations = locations_without_samples(settings, run.draws, model_data)
    drawn, moments = _genes(
        settings, run.draws.lines, strata, model_data.rule, num_genes, locations
    )
    seconds["effects"] = time.perf_counter() - clock
    attributes: dict[str, Any] = {"effects_drawn_to": [settings.num_draws]}
    if parts.gene_noise:
        finer = gauss_hermite(2 * len(model_data.rule.nodes) + 1)
        attributes["quadrature_error"] = quadrature_error(
            _log_likelihoods, run.draws.lines, strata, (model_data.rule, finer)
        )
    found = None
    if parts.interaction:
        clock = time.perf_counter()
        found, attributes["interaction_error"] = _interactions(
            run.draws.lines, strata, table, parts.genes
        )
        seconds["interactions"] = time.perf_counter() - clock
    by_name = named(run.draws, drawn, parts)
    add_samples(by_name, run.draws, locations, table.data)
    in_order = list(parts.by_factor(*moments))
    return Sampled(
        run,
        by_name,
        run.seconds | seconds,
        attributes,
        in_order,
        interactions=found,
        seen=None if parts.sample is None else seen_by_units(table),
    )


def pays_side_by_side(settings: RunSettings, data: ScreenData) -> bool:
    """Whether chains are to share each pass over the table, where that is left open."""
    alone = settings.chain_method == "auto" and len(available_devices()) == 1
    return alone and sum(np.size(x) for x in jax.tree.leaves(data.statistics)) > SMALL_TABLE


def screen_priors(priors: Priors, parts: Parts, factor_names: tuple[str, ...]) -> ScreenPriors:
    """Take the priors apart as the parts need them."""
    gene, line = factor_names[parts.genes], factor_names[1 - parts.genes]
    others = priors.others.get
    return ScreenPriors(
        mean=priors.sum_of_means,
        gene_sd=priors.factor_sds[parts.genes],
        sigma=priors.sigma,
        sds=OfSDs(
            line=priors.factor_sds[1 - parts.genes],
            slope=others(of_factor(line, "log_slope_sd")),
            line_noise=others(of_factor(line, "log_noise_sd_sd")),
            gene_noise=others(of_factor(gene, "log_noise_sd_sd")),
            guide=None if parts.nested is None else others(of_factor(parts.nested, "sd")),
            gene_share=others(of_factor(gene, "logit_share_sd")),
            sample=None if parts.sample is None else others(of_factor(parts.sample, "sd")),
            guide_noise=others(of_factor(parts.nested or "", "log_noise_sd_sd")),
        ),
        share=others(SHARE),
        nested_share=others(NESTED_SHARE),
    )


@partial(jax.jit, static_argnames="num_genes")
def _given_lines(
    key: jax.Array,
    chain: jax.Array,
    number: jax.Array,
    lines: Lines,
    strata: Strata,
    rule: Rule,
    *,
    num_genes: int,
) -> Given:
    """Draw the genes given some draws of the lines, each with a key of its own."""

    def one(key: jax.Array, lines: Lines) -> Given:
        return effects_given_lines(key, lines, strata, rule, num_genes)

    return each_with_a_key(one, key, chain, number, lines)


def _genes(
    settings: RunSettings,
    lines: Lines,
    strata: Strata,
    rule: Rule,
    num_genes: int,
    locations: Locations | None,
) -> tuple[Effects, list[tuple[np.ndarray, np.ndarray]]]:
    """Draw the genes given the lines, and give the moments of gene and line effects."""
    shape = lines.location.shape[:2]
    num_lines, number = lines.location.shape[2], shape[0] * shape[1]
    drawn = Effects(
        intercept=np.empty(number),
        gene=np.empty((number, num_genes)),
        line=np.empty((number, num_lines)),
        gene_log_noise=None if lines.log_gene_noise is None else np.empty((number, num_genes)),
    )
    sums = [np.zeros((3, size)) for size in (num_genes, num_lines)]
    start = 0
    with compilation_cache():
        effects = Effects._make((0, 0, 0, None if drawn.gene_log_noise is None else 0))
        like = Given._make((effects, effects, effects))
        static, rest = {"num_genes": num_genes}, (strata, rule)
        for found in given_all(settings, lines, _given_lines, static, rest, like):
            stop = start + len(found.draw.intercept)
            given = of_lines_alone(found, lines, locations, start)
            for whole, piece in zip(drawn, given.draw, strict=True):
                if whole is not None:
                    whole[start:stop] = piece
            add_moments(sums, given)
            start = stop
    moments = [mean_and_sd(total / start) for total in sums]
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), drawn), moments


def add_moments(sums: list[np.ndarray], given: Given) -> None:
    """Add means of gene and line effects given some draws of the lines, squares and variances."""
    for total, mean, variance in zip(sums, given.mean[1:3], given.variance[1:3], strict=True):
        total += [mean.sum(0), (mean**2).sum(0), variance.sum(0)]


def mean_and_sd(averages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and SDs from averages of means given the lines, squares and variances."""
    mean, squares, variance = averages
    return mean, np.sqrt(np.maximum(squares - mean**2, 0.0) + variance)


@jax.jit
def _log_likelihoods(lines: Lines, strata: Strata, rule: Rule) -> Array:
    return jax.lax.map(lambda one: log_likelihood(one, strata, rule), lines)


def quadrature_error(program: Any, draws: Any, strata: Any, rules: tuple[Any, Any]) -> float | None:
    """By how much log-densities err relative to each other, at some draws, against more nodes.

    None if that is no number.

    Parameters
    ----------
    program
        A compiled function of draws, the table and rules, that gives log-likelihoods.
    draws, strata
        Leading dimensions (chains, draws); and the table.
    rules
        Those of the fit, and of more nodes.
    """
    some = spaced(draws, CHECKED_DRAWS)
    found = []
    with compilation_cache():
        for rule in rules:
            arguments = (some, strata, rule)
            like = jax.tree.structure(0)
            found.append(np.asarray(kept_program(program, {}, arguments, like)(*arguments)))
    error = found[0] - found[1]
    largest = float(np.abs(error - error.mean()).max())
    return largest if math.isfinite(largest) else None


_summed_up = jax.jit(interactions)


def _interactions(
    lines: Lines, strata: Strata, table: Table, genes: int
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Sum the interactions up, shape (cells,) by name; and give the largest Monte Carlo errors."""
    cells = table.cells
    rule = gauss_hermite(1 if lines.log_gene_noise is None else INTERACTION_NODES)
    normals = INTERACTION_NODES * len(cells.counts)
    found = sum_up(_summed_up, lines, (strata, rule), normals)
    by_cell = Interactions(*(in_order_of_cells(np.asarray(x), strata, cells, genes) for x in found))
    return named_interactions(by_cell, table)


def sum_up(program: Any, draws: Any, rest: tuple, normals: int) -> Interactions:
    """Average over as many draws as there is time for, of so many Normals each.

    Parameters
    ----------
    program
        A compiled function of draws and the rest, that gives interactions.
    draws
        A pytree, leading dimensions (chains, draws).
    rest
        What else it is given.
    normals
        In its sum for a draw.
    """
    number = INTERACTIONS_AT_ONCE // normals
    some = spaced(draws, min(max(number, LEAST_INTERACTION_DRAWS), MOST_INTERACTION_DRAWS))
    returned = jax.tree.structure(Interactions._make(Interactions._fields))
    with compilation_cache():
        return kept_program(program, {}, (some, *rest), returned)(some, *rest)


def named_interactions(
    by_cell: Interactions, table: Table
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Name what is known of each cell, and give the largest Monte Carlo errors."""
    cells = table.cells
    errors = {
        "mean": float((by_cell.mean_error / by_cell.sd).max()),
        "lfsr": float(by_cell.lfsr_error.max()),
    }
    codes = {
        of_factor(name, "code"): cells.codes[:, k] for k, name in enumerate(table.data.factor_names)
    }
    posterior = {
        "raw_mean": cells.means + table.offset,
        "raw_residual": by_cell.residual,
        **{name: getattr(by_cell, name) for name in ("mean", "sd", "lower", "upper", "lfsr")},
    }
    return codes | {"n": cells.counts.astype(np.int64)} | posterior, errors


def named(draws: Draw, genes: Effects, parts: Parts) -> dict[str, Any]:
    """Give what was drawn the names of the results."""
    lines, sds = draws[:2]
    gene_sd, sigma = (np.exp(np.mean(x, -1)) for x in (lines.log_slope, lines.log_noise))
    slope = log_noise = None
    if parts.slopes:
        slope = np.exp(lines.log_slope) / gene_sd[..., None]
    if parts.line_noise:
        log_noise = lines.log_noise - np.log(sigma)[..., None]
    by_name: dict[str, Any] = {
        "intercept": genes.intercept,
        "{factor}_effect": parts.by_factor(genes.gene, genes.line),
        "{factor}_slope": parts.by_factor(None, slope),
        "{factor}_log_noise_sd": parts.by_factor(genes.gene_log_noise, log_noise),
        "{factor}_sd": parts.by_factor(gene_sd, sds.line),
        "{factor}_log_slope_sd": parts.by_factor(None, sds.slope),
        "{factor}_log_noise_sd_sd": parts.by_factor(sds.gene_noise, sds.line_noise),
        "sigma": sigma,
    }
    if lines.logit_share is not None:
        by_name[SHARE] = sigmoid(lines.logit_share)
    return by_name


def sigmoid(logit: Array) -> np.ndarray:
    """The number between 0 and 1 that has this logit."""
    return 1.0 / (1.0 + np.exp(-np.asarray(logit)))
