"""A table with guides, its priors and an estimate, as the log-density takes them."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.models.distributions import inside_support
from crossed_jax.models.screen.density import Lines
from crossed_jax.models.screen.estimate import (
    GeneEstimate,
    LineEstimate,
    Measured,
    cell_matrices,
    estimate,
    evenly_spaced,
)
from crossed_jax.models.screen.guides.blocks import in_blocks
from crossed_jax.models.screen.guides.density import GuideRules, noise_integrated_out, sums_of_genes
from crossed_jax.models.screen.guides.estimate import (
    GuideEstimate,
    NoiseEstimate,
    of_guide_noise,
    of_guides,
    of_shares,
)
from crossed_jax.models.screen.guides.lines import GuideLines
from crossed_jax.models.screen.guides.noise import guide_noise, position
from crossed_jax.models.screen.guides.shares import (
    GRID,
    NodesInSDs,
    ShareRules,
    rules_of_shares,
)
from crossed_jax.models.screen.guides.table import GuideStrata, guide_strata, sums_by_group
from crossed_jax.models.screen.model_data import (
    about,
    inside_supports,
    spreads_of,
    taken_up,
    vectors_of,
)
from crossed_jax.models.screen.parameterization import ScreenData, ScreenPriors
from crossed_jax.models.screen.parts import Parts
from crossed_jax.models.screen.quadrature import ENOUGH_NODES, enough_nodes, gauss_hermite
from crossed_jax.models.screen.sample_data import measured_samples, with_samples
from crossed_jax.models.screen.shares import width_of_share
from crossed_jax.models.screen.spread import Spread, spread_of_genes
from crossed_jax.statistics.cells import Cells, squares_within
from crossed_jax.statistics.samples import without_samples
from crossed_jax.tables.crossed_data import CrossedData

MOST_GENES = 1_000  # that an estimate is made from
# where they are taken once for each node of the shares, and a thousand genes may err by some 1e-3
FEW_NODES = ((0.05, 3), (0.12, 5))
UNCERTAIN_SD = 0.15  # of genes' log noise, which draws may reach where it is estimated to be less
OTHERS = 3  # draws of the guides' noise that a rule is to hold for
FEW_ROWS = 0.05  # the quantile of rows a gene that the quadrature over noise is to suit


class GuideTable(NamedTuple):
    """A table with guides, laid out.

    Attributes
    ----------
    strata
        The table.
    model_data
        What the log-density is given, the table in blocks.
    rules, finer
        To integrate over what genes differ in, and of more nodes, to check them by.
    """

    strata: GuideStrata
    model_data: ScreenData
    rules: GuideRules
    finer: GuideRules


def guide_data(
    data: CrossedData,
    cells: Cells,
    gene_of_guide: np.ndarray,
    parts: Parts,
    priors: ScreenPriors,
) -> GuideTable:
    """Lay a table out, and gather what the log-density is given.

    Parameters
    ----------
    data, cells
        A table of guides and lines, and its cells.
    gene_of_guide
        Shape (guides,).
    parts
        Those that the model has.
    priors
        Its priors.
    """
    num_genes = int(gene_of_guide.max()) + 1
    samples = None
    if parts.sample is not None:
        data, cells, samples = without_samples(data, 1)
    within = squares_within(cells, data)
    found = _estimated(cells, within, gene_of_guide, parts, priors)
    point, lines, guides, noise = found.point, found.lines, found.guides, found.noise
    strata = guide_strata(
        cells, within, gene_of_guide, point.location, samples, a_set_each=parts.guide_noise
    )
    share, share_sd, share_rules = _shares(strata, found, parts, priors)
    point = point._replace(share=share)

    # interactions of a gene are shared by its guides
    number = np.bincount(gene_of_guide).mean()
    rest = guides.nested_share * (1.0 - point.share)
    known = (point.share + rest) / (number * point.share + rest)
    effect_sd = math.hypot(point.gene_sd, guides.guide_sd / math.sqrt(number))
    spreads = spreads_of(point, lines, known * found.of_all, effect_sd, num_genes, parts, priors)
    rows = np.bincount(gene_of_guide, cells.level_sums(0, cells.counts))
    spreads = spreads._replace(
        gene_noise=spread_of_genes(2.0 * rows, point.gene_noise_sd) if parts.gene_noise else None,
        guide=spread_of_genes(1.0 / found.units.variance, guides.guide_sd, found.of_all),
        guide_noise=None if noise is None else spread_of_genes(noise.information, noise.sd),
    )
    if parts.gene_share:
        share_width, width = share_rules.widths.tolist()
        small = share_sd * math.exp(-2.0 * width)
        spreads = spreads._replace(gene_share=Spread(np.ones(num_genes), share_sd, small, width))
    else:
        share_width = width_of_share(found.guides_in_cells, share, found.of_all)
    suited = (*FEW_NODES, *ENOUGH_NODES)
    widest = max(point.gene_noise_sd, UNCERTAIN_SD)
    num_nodes = enough_nodes(widest, float(np.quantile(rows, FEW_ROWS)), suited)
    rules = GuideRules(gauss_hermite(num_nodes), share_rules.rule)
    finer = GuideRules(gauss_hermite(2 * num_nodes + 1), share_rules.finer)
    made = about(
        point,
        spreads,
        share_width,
        in_blocks(strata, rules.share),
        rules.noise,
        parts,
        priors,
        num_genes,
        float(rows.mean()),
        float(np.std(cells.means)),
    )
    if parts.nested_interaction:
        made = _with_nested_share(made, guides.nested_share, cells.counts)
    if noise is not None:
        made = _with_guide_noise(made, noise)
    if samples is not None:
        measured = measured_samples(samples, cells, 1, found.of_units, found.units)
        location = Measured(lines[0].value, spreads.line.precision)
        shift = taken_up(point.log_slope, effect_sd, num_genes)
        made = with_samples(made, measured, location, shift)
    return GuideTable(strata, made, rules, finer)


class _Estimate(NamedTuple):
    """Of everything but shares by gene.

    Attributes
    ----------
    of_units, units
        To guides as units of their own: of the lines, and of some guides.
    point, lines
        Of the lines, and how well they are measured.
    guides
        What guides add.
    noise
        Their log noise; None where they do not differ in it.
    guides_in_cells
        Of some genes, shape (cells,).
    of_all
        How many times as many guides there are.
    """

    of_units: LineEstimate
    units: GeneEstimate
    point: LineEstimate
    lines: tuple[Measured, Measured, Measured]
    guides: GuideEstimate
    noise: NoiseEstimate | None
    guides_in_cells: np.ndarray
    of_all: float


def _estimated(
    cells: Cells,
    within: np.ndarray | None,
    gene_of_guide: np.ndarray,
    parts: Parts,
    priors: ScreenPriors,
) -> _Estimate:
    """Estimate from evenly spaced genes."""
    num_genes = int(gene_of_guide.max()) + 1
    chosen = np.flatnonzero(np.isin(gene_of_guide, evenly_spaced(num_genes, MOST_GENES)))
    matrices = cell_matrices(cells, within, 0, chosen)
    of_units, lines, units = estimate(matrices, parts._replace(interaction=within is not None))
    _, gene = np.unique(gene_of_guide[chosen], return_inverse=True)
    seen = matrices.rows > 0
    residual = _residuals(matrices.mean, seen, of_units, units)
    guides = of_guides(units.effect, units.variance, residual, seen, of_units.share, gene)
    of_genes = np.bincount(gene, units.log_noise) / np.bincount(gene)
    gene_noise_sd = max(float(of_genes.std()), 0.5 * of_units.gene_noise_sd)
    point = of_units._replace(
        gene_sd=guides.gene_sd, share=guides.share, gene_noise_sd=gene_noise_sd
    )
    point = inside_supports(point, priors)
    noise = None
    if parts.guide_noise:
        of_every_guide = cell_matrices(cells, within, 0, np.arange(len(gene_of_guide)))
        tau = point.gene_noise_sd if parts.gene_noise else 0.0
        noise = of_guide_noise(of_every_guide, point, guides, gene_of_guide, tau)
        noise = noise._replace(sd=inside_support(priors.sds.guide_noise, noise.sd))
    in_cells = sums_by_group(seen.astype(float), gene)
    of_all = len(gene_of_guide) / len(chosen)
    return _Estimate(of_units, units, point, lines, guides, noise, in_cells[in_cells > 0], of_all)


def _with_nested_share(made: ScreenData, share: float, rows: np.ndarray) -> ScreenData:
    """Add the share that rows of a guide in a line have in common to coordinates without it."""
    share = inside_support(made.priors.nested_share, share)
    width = np.asarray(width_of_share(rows, share))
    return made._replace(
        center=made.center._replace(logit_nested=np.log(share / (1.0 - share))),
        widths=made.widths._replace(logit_nested=width),
    )


def _with_guide_noise(made: ScreenData, noise: NoiseEstimate) -> ScreenData:
    """Add the guides' log noise to coordinates without it."""
    coordinates = position(noise.value, noise.coordinates, math.log(noise.sd))
    return made._replace(
        center=made.center._replace(guide_noise=coordinates),
        widths=made.widths._replace(guide_noise=np.ones_like(coordinates)),
        of_guide_noise=noise.coordinates,
    )


def _shares(
    strata: GuideStrata, found: _Estimate, parts: Parts, priors: ScreenPriors
) -> tuple[float, float, ShareRules]:
    """Share of a typical gene, SD of the logits, and how to integrate over these."""
    point, noise = found.point, found.noise
    if not parts.gene_share:
        rule = NodesInSDs(*np.zeros((2, 1, len(strata.gene))))
        return point.share, 0.0, ShareRules(rule, rule, np.zeros(2))

    def at(log_noise: np.ndarray | None) -> np.ndarray:
        return _log_likelihoods(strata, point, found.guides, log_noise, parts)

    log_likelihoods = at(None if noise is None else noise.value)
    logit, sd = of_shares(log_likelihoods)
    share = inside_support(priors.share, 1.0 / (1.0 + math.exp(-logit)))
    share_sd = inside_support(priors.sds.gene_share, sd)
    others = []
    if noise is not None:
        positions = np.random.default_rng(0).standard_normal((OTHERS, len(noise.value)))
        away = (guide_noise(z, noise.coordinates, np.log(noise.sd)) for z in positions)
        others = [at(noise.value + np.asarray(one)) for one in away]
    return share, share_sd, rules_of_shares(log_likelihoods, logit, sd, others)


def _residuals(
    mean: np.ndarray, seen: np.ndarray, point: LineEstimate, units: GeneEstimate
) -> np.ndarray:
    """Guides' means in lines less their expectation, in SDs of a row."""
    residual = mean - point.location - np.outer(units.effect, np.exp(point.log_slope))
    residual *= np.exp(-units.log_noise)[:, None] * np.exp(-point.log_noise) / point.sigma
    return np.where(seen, residual, 0.0)


@partial(jax.jit)
def _given_shares(at: GuideLines, strata: GuideStrata, logits: jax.Array) -> jax.Array:
    rule = gauss_hermite(1)

    def at_one(logit: jax.Array) -> jax.Array:
        of_some = sums_of_genes(at, strata, logit[None])
        return jnp.concatenate([noise_integrated_out(sums, at, rule)[0] for _, sums in of_some])

    return jax.lax.map(at_one, logits)


def _log_likelihoods(
    strata: GuideStrata,
    point: LineEstimate,
    guides: GuideEstimate,
    log_guide_noise: np.ndarray | None,
    parts: Parts,
) -> np.ndarray:
    """Log-likelihood of each gene on the grid of logits of its share."""
    tau = np.log(point.gene_noise_sd) if parts.gene_noise else None
    nested = guides.nested_share
    estimate_of_samples = None if strata.samples is None else strata.samples.estimate
    at = GuideLines(
        Lines(point.location, *vectors_of(point, parts), tau, np.zeros(()), estimate_of_samples),
        np.log(guides.guide_sd),
        np.log(nested / (1.0 - nested)) if parts.nested_interaction else None,
        None,
        log_guide_noise,
    )
    grid = np.broadcast_to(GRID[:, None], (len(GRID), len(strata.gene)))
    return np.asarray(_given_shares(at, strata, grid))
