r"""A table, its priors and an estimate, as the screen model's log-density takes them.

What the coordinates of :mod:`crossed_jax.models.screen.line_vectors` are made of: with G genes and
the precisions :math:`P_c` with which they would measure the lines, were they known,

- a shift of the locations along the slopes k is taken up by the gene effects, which leaves it the
  precision :math:`p / (1 + \sigma_a^2 p / G)`, :math:`p = \sum_c k_c^2 P_c`;
- one of all log slopes by :math:`\log\sigma_a`, of which G effects know 2 G;
- one of all log noise by the genes' noise: :math:`G / (1/(2 \bar n) + \tau^2)`, with
  :math:`\bar n` rows a gene; and by that of N guides, with which :math:`\tau^2` is
  :math:`G/N` times their variance more.
"""

import math
from typing import Any

import numpy as np

from crossed_jax.models.distributions import inside_support
from crossed_jax.models.screen import line_vectors
from crossed_jax.models.screen.estimate import LineEstimate, Measured, cell_matrices, estimate
from crossed_jax.models.screen.gram import Gram, gram_of
from crossed_jax.models.screen.guides.blocks import GuideBlocks
from crossed_jax.models.screen.line_vectors import Rotation
from crossed_jax.models.screen.parameterization import OfSDs, Position, ScreenData, ScreenPriors
from crossed_jax.models.screen.parts import Parts
from crossed_jax.models.screen.quadrature import Rule, enough_nodes, gauss_hermite
from crossed_jax.models.screen.sample_data import measured_samples, with_samples
from crossed_jax.models.screen.shares import width_of_share
from crossed_jax.models.screen.spread import Spread, spread_of, spread_of_genes
from crossed_jax.models.screen.strata import Strata, strata_of
from crossed_jax.statistics.cells import Cells, squares_within
from crossed_jax.statistics.design import LEAST_NOISE
from crossed_jax.statistics.samples import without_samples
from crossed_jax.tables.crossed_data import CrossedData

FEW_ROWS = 0.05  # the quantile of rows a gene that the quadrature is to suit


def screen_data(
    data: CrossedData, cells: Cells, parts: Parts, priors: ScreenPriors
) -> tuple[Strata, ScreenData]:
    """Lay a table out, and gather what the log-density is given.

    Parameters
    ----------
    data, cells
        A table of two factors, and its cells.
    parts
        Those that the model has.
    priors
        Its priors.
    """
    samples = None
    if parts.sample is not None:
        data, cells, samples = without_samples(data, 1 - parts.genes)
    within = squares_within(cells, data)
    matrices = cell_matrices(cells, within, parts.genes)
    point, lines, units = estimate(matrices, parts)
    point = inside_supports(point, priors)
    num_genes = cells.num_levels[parts.genes]
    rows = cells.level_sums(parts.genes, cells.counts)
    enlarged = num_genes / len(matrices.rows)
    strata = strata_of(cells, within, parts.genes, point.location, samples)
    sums = None if parts.gene_noise else gram_of(strata, num_genes)
    rule = gauss_hermite(enough_nodes(point.gene_noise_sd, float(np.quantile(rows, FEW_ROWS))))
    spreads = spreads_of(point, lines, enlarged, point.gene_sd, num_genes, parts, priors)
    if parts.gene_noise:
        spreads = spreads._replace(gene_noise=spread_of_genes(2.0 * rows, point.gene_noise_sd))
    statistics = strata if sums is None else sums
    mean_rows, unit = float(rows.mean()), float(np.std(cells.means))
    share_width = width_of_share(cells.counts, point.share)
    made = about(
        point, spreads, share_width, statistics, rule, parts, priors, num_genes, mean_rows, unit
    )
    if samples is None:
        return strata, made
    measured = measured_samples(samples, cells, 1 - parts.genes, point, units)
    location = Measured(lines[0].value, spreads.line.precision)
    shift = taken_up(point.log_slope, point.gene_sd, num_genes)
    return strata, with_samples(made, measured, location, shift)


def spreads_of(
    point: LineEstimate,
    lines: tuple[Measured, Measured, Measured],
    enlarged: float,
    effect_sd: float,
    num_genes: int,
    parts: Parts,
    priors: ScreenPriors,
) -> OfSDs:
    """Look at the SDs of the lines' vectors.

    Parameters
    ----------
    point, lines
        The estimate.
    enlarged
        How many times as many genes there are as it was made from.
    effect_sd
        Of gene effects.
    num_genes
        All of them.
    parts, priors
        Of the model.
    """
    location, slope, noise = (
        measured._replace(precision=enlarged * measured.precision) for measured in lines
    )
    sds = priors.sds
    return OfSDs(
        spread_of(sds.line, *location, *taken_up(point.log_slope, effect_sd, num_genes)),
        spread_of(sds.slope, *slope) if parts.slopes else None,
        spread_of(sds.line_noise, *noise) if parts.line_noise else None,
        None,
    )


def taken_up(log_slope: np.ndarray, effect_sd: float, num_genes: int) -> tuple[np.ndarray, float]:
    """What genes take up of the lines' locations beside their mean: its direction, and its SD."""
    slopes = np.exp(log_slope)
    return slopes - slopes.mean(), effect_sd / math.sqrt(num_genes)


def about(
    point: LineEstimate,
    spreads: OfSDs,
    share_width: float,
    statistics: Strata | Gram | GuideBlocks,
    rule: Rule,
    parts: Parts,
    priors: ScreenPriors,
    num_genes: int,
    rows: float,
    unit: float,
) -> ScreenData:
    """Make coordinates about an estimate.

    Parameters
    ----------
    point, spreads, share_width
        The estimate, and what the data say of the SDs, and of the logit of the share.
    statistics, rule
        As the likelihood needs them.
    parts, priors
        Of the model.
    num_genes, rows
        Genes, and rows of a typical one.
    unit
        SD of the responses.
    """
    rotations = _rotations(point, spreads, num_genes, rows)
    log_slope, log_noise = vectors_of(point, parts)
    location, slope, noise = map(line_vectors.widths, rotations)
    return ScreenData(
        statistics=statistics,
        rule=rule,
        least_log_noise=np.log(LEAST_NOISE * unit),
        priors=priors,
        center=Position(
            line_vectors.position(point.location, rotations[0]),
            line_vectors.position(log_slope, rotations[1]),
            line_vectors.position(log_noise, rotations[2]),
            _of_each("coordinate", spreads),
            np.log(point.share / (1.0 - point.share)) if parts.interaction else None,
        ),
        widths=Position(
            location,
            slope,
            noise,
            _of_each("coordinate_width", spreads),
            np.asarray(share_width) if parts.interaction else None,
        ),
        rotations=rotations,
        anchors=_of_each("anchor", spreads),
    )


def vectors_of(point: LineEstimate, parts: Parts) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the lines' SDs of gene effects and of noise, of one entry if all are alike."""
    log_slope = math.log(point.gene_sd) + (point.log_slope if parts.slopes else np.zeros(1))
    log_noise = math.log(point.sigma) + (point.log_noise if parts.line_noise else np.zeros(1))
    return log_slope, log_noise


def inside_supports(point: LineEstimate, priors: ScreenPriors) -> LineEstimate:
    """Move numbers from where the priors say they cannot be, as chains start about them."""
    given = {
        "gene_sd": priors.gene_sd,
        "sigma": priors.sigma,
        "share": priors.share,
        "gene_noise_sd": priors.sds.gene_noise,
    }
    moved: dict[str, Any] = {
        name: inside_support(prior, getattr(point, name))
        for name, prior in given.items()
        if prior is not None
    }
    return point._replace(**moved)


def _of_each(name: str, spreads: OfSDs) -> OfSDs:
    """What each part says of itself; None of those there are not."""
    return OfSDs(*(None if spread is None else getattr(spread, name) for spread in spreads))


def _rotations(
    point: LineEstimate, spreads: OfSDs, num_genes: int, rows: float
) -> tuple[Rotation, Rotation, Rotation]:
    """Make the coordinates of location, log slope and log noise."""
    slopes = np.exp(point.log_slope)
    shift = float(slopes**2 @ spreads.line.precision)
    along_slopes = shift / (1.0 + point.gene_sd**2 * shift / num_genes)
    of_effects = 2.0 * num_genes
    of_noise = 0.0 if spreads.gene_noise is None else point.gene_noise_sd**2
    if spreads.guide_noise is not None:
        of_noise += spreads.guide_noise.sd**2 * num_genes / len(spreads.guide_noise.precision)
    along_noise = num_genes / (0.5 / rows + of_noise)
    return (
        _rotation(spreads.line, slopes, along_slopes),
        _rotation(spreads.slope, np.ones_like(slopes), of_effects),
        _rotation(spreads.line_noise, np.ones_like(slopes), along_noise),
    )


def _rotation(spread: Spread | None, ridge: np.ndarray, along: float) -> Rotation:
    """Make a vector's coordinates; without a zero-sum part it has a single one."""
    if spread is None:
        return line_vectors.rotation(np.array([along]), np.ones(1), along, 1.0, 1.0)
    precision = spread.precision + spread.sd**-2
    return line_vectors.rotation(precision, ridge, along, spread.sd, spread.weight)
