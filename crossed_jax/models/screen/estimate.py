r"""A point estimate of the screen model, from which chains start and their coordinates are made.

Each sweep takes gene effects given the lines (their conditional means and variances), locations and
slopes of the lines by weighted least squares given those, and variances by their moments: with
:math:`q = (r^2 + k^2 \mathrm{var}\, a)/u + W/(1 - \rho)`, whose expectation is :math:`n V`,

.. math::
    e^{2 d_c} \propto \sum_g q\, e^{-2 e_g}, \qquad e^{2 e_g} \propto \sum_c q\, e^{-2 d_c},

shrunk like everything else by its prior, whose SD follows from it (an EM algorithm; Dempster, Laird
and Rubin, 1977, *JRSS B* 39:1). Of a large table evenly spaced genes are enough for a start.
"""

import math
from typing import NamedTuple

import numpy as np

from crossed_jax.models.screen.parts import Parts
from crossed_jax.statistics.cells import Cells

MOST_SWEEPS = 12  # for a start; the mode itself may be where lines fit one gene without noise
TOLERANCE = 3e-3
MOST_GENES = 2_000
LEAST_SD = 1e-3
SHARE_BOUNDS = (0.02, 0.98)
LARGEST_LOG_SLOPE = 4.0
LARGEST_LOG_NOISE = 2.0
TINY = 1e-300


class CellMatrices(NamedTuple):
    """Cells by gene and line, shape (genes, lines); zero where there is none.

    Attributes
    ----------
    rows, mean
        Their number, and their mean response.
    within
        Sum of squares about it.
    """

    rows: np.ndarray
    mean: np.ndarray
    within: np.ndarray


class LineEstimate(NamedTuple):
    """Of all that is not a gene's. Parts that a model has not are at values that leave them out.

    Attributes
    ----------
    location, log_slope, log_noise
        Of the lines, shape (lines,); the last two sum to zero.
    gene_sd, sigma, share
        SD of gene effects, SD of a value at a typical gene and line, and the interaction's share
        in its variance.
    line_sd, slope_sd, line_noise_sd, gene_noise_sd
        SDs of the lines' locations, log slopes and log noise, and of genes' log noise.
    """

    location: np.ndarray
    log_slope: np.ndarray
    log_noise: np.ndarray
    gene_sd: float
    sigma: float
    share: float
    line_sd: float
    slope_sd: float
    line_noise_sd: float
    gene_noise_sd: float

    @property
    def scalars(self) -> np.ndarray:
        """All that are single numbers."""
        return np.maximum(self[3:], 1e-9)


class GeneEstimate(NamedTuple):
    """Of the genes, shape (genes,) each.

    Attributes
    ----------
    effect, variance
        Mean and variance of their effects.
    log_noise
        Of their noise.
    """

    effect: np.ndarray
    variance: np.ndarray
    log_noise: np.ndarray


class Measured(NamedTuple):
    """Values of the lines as the genes, were they known, would tell them, shape (lines,).

    Attributes
    ----------
    value, precision
        What it is, and with which precision.
    """

    value: np.ndarray
    precision: np.ndarray


def evenly_spaced(number: int, most: int = MOST_GENES) -> np.ndarray:
    """Choose as many genes as an estimate needs."""
    return np.linspace(0, number - 1, min(number, most)).astype(int)


def cell_matrices(
    cells: Cells, within: np.ndarray | None, genes: int, chosen: np.ndarray | None = None
) -> CellMatrices:
    """Lay the cells of some genes out by gene and line.

    Parameters
    ----------
    cells, within
        The table's cells, and their sums of squares about their means if any has two rows.
    genes
        Position of the factor that is integrated out.
    chosen
        Those genes; evenly spaced ones by default.
    """
    num_genes, num_lines = cells.num_levels[genes], cells.num_levels[1 - genes]
    if chosen is None:
        chosen = evenly_spaced(num_genes)
    place = np.full(num_genes, -1)
    place[chosen] = np.arange(len(chosen))
    kept = place[cells.codes[:, genes]] >= 0
    at = place[cells.codes[kept, genes]], cells.codes[kept, 1 - genes]

    def laid_out(values: np.ndarray) -> np.ndarray:
        matrix = np.zeros((len(chosen), num_lines))
        matrix[at] = values[kept]
        return matrix

    if within is None:
        within = np.zeros(len(cells.counts))
    return CellMatrices(*map(laid_out, (cells.counts, cells.means, within)))


def estimate(
    cells: CellMatrices, parts: Parts
) -> tuple[LineEstimate, tuple[Measured, Measured, Measured], GeneEstimate]:
    """Estimate everything of a screen model.

    Parameters
    ----------
    cells
        Of the table.
    parts
        Those that the model has.

    Returns
    -------
    LineEstimate
    tuple of Measured
        Locations, log slopes and log noise, before anything is shrunk.
    GeneEstimate
    """
    point = _first(cells, parts)
    e = np.zeros(len(cells.rows))
    effects = e, e
    for _ in range(MOST_SWEEPS):
        before = point
        point, effects, location, slope = _sweep_effects(cells, parts, point, e)
        point, e, noise = _sweep_variances(cells, parts, point, e, *effects)
        if np.abs(np.log(point.scalars / before.scalars)).max() < TOLERANCE:
            break
    return point, (location, slope, noise), GeneEstimate(*effects, e)


def _first(cells: CellMatrices, parts: Parts) -> LineEstimate:
    """Begin with an additive model."""
    n, y, _ = cells
    overall = (n * y).sum() / n.sum()
    location = ((n * y).sum(0) + overall) / (n.sum(0) + 1.0)
    spread = math.sqrt((n * (y - location) ** 2).sum() / n.sum())
    zeros = np.zeros(len(location))
    return LineEstimate(
        location=location,
        log_slope=zeros,
        log_noise=zeros,
        gene_sd=0.7 * spread,
        sigma=0.7 * spread,
        share=0.3 if parts.interaction else 0.0,
        line_sd=max(float(location.std()), LEAST_SD * spread),
        slope_sd=0.3,
        line_noise_sd=0.3,
        gene_noise_sd=0.3,
    )


def _factors(point: LineEstimate, e: np.ndarray) -> np.ndarray:
    """One over the factors of the noise variance, shape (genes, lines)."""
    return np.exp(-2.0 * e)[:, None] * np.exp(-2.0 * point.log_noise)


def _u(cells: CellMatrices, share: float) -> np.ndarray:
    """Variance of a cell's mean, in variances of a value."""
    return share + (1.0 - share) / np.maximum(cells.rows, 1.0)


def _sweep_effects(
    cells: CellMatrices, parts: Parts, point: LineEstimate, e: np.ndarray
) -> tuple[LineEstimate, tuple[np.ndarray, np.ndarray], Measured, Measured]:
    """Improve gene effects, locations and slopes; give the effects' means and variances, too."""
    n, y, _ = cells
    k = np.exp(point.log_slope)
    w = (n > 0) * _factors(point, e) / (point.sigma**2 * _u(cells, point.share))
    variance = 1.0 / (w @ k**2 + point.gene_sd**-2)
    a = variance * ((w * (y - point.location)) @ k)
    of_lines = np.maximum(w.sum(0), TINY)
    location = (w * (y - np.outer(a, k))).sum(0) / of_lines
    slope_precision = (a**2 + variance) @ w
    log_slope, slope_sd = point.log_slope, point.slope_sd
    measured = Measured(log_slope, slope_precision * k**2)
    if parts.slopes:
        fitted = (a @ (w * (y - location))) / np.maximum(slope_precision, TINY)
        raw = np.log(np.maximum(fitted, math.exp(-LARGEST_LOG_SLOPE)))
        measured = measured._replace(value=raw)
        log_slope, slope_sd = shrunk(*measured, slope_sd)
        size = math.exp(log_slope.mean())
        log_slope = log_slope - log_slope.mean()
        a, variance = size * a, size**2 * variance
    point = point._replace(
        location=location,
        log_slope=log_slope,
        slope_sd=slope_sd,
        gene_sd=math.sqrt((a**2 + variance).mean()),
        line_sd=max(float(location.std(ddof=1)), LEAST_SD * point.sigma),
    )
    return point, (a, variance), Measured(location, of_lines), measured


def _sweep_variances(
    cells: CellMatrices,
    parts: Parts,
    point: LineEstimate,
    e: np.ndarray,
    a: np.ndarray,
    variance: np.ndarray,
) -> tuple[LineEstimate, np.ndarray, Measured]:
    """Improve what says how widely values stray, given the effects' means and variances."""
    n, y, within = cells
    k = np.exp(point.log_slope)
    squares = (n > 0) * ((y - point.location - np.outer(a, k)) ** 2 + np.outer(variance, k**2))
    if parts.interaction:
        factors = _factors(point, e)
        replicate = (within * factors).sum() / max((n - 1.0)[n > 0].sum(), 1.0)
        of_mean = (squares * factors).sum() / (n > 0).sum()
        shared = of_mean - replicate * (1.0 / n[n > 0]).mean()
        share = float(np.clip(shared / max(shared + replicate, TINY), *SHARE_BOUNDS))
        point = point._replace(share=share)
    q = squares / _u(cells, point.share) + within / (1.0 - point.share)
    rows = np.maximum(n.sum(0), 1.0)
    d = 0.5 * np.log(np.maximum(np.exp(-2.0 * e) @ q / rows, TINY))
    measured = Measured(d - d.mean(), 2.0 * rows)
    if parts.line_noise:
        d, sd = shrunk(*measured, point.line_noise_sd)
        point = point._replace(log_noise=d - d.mean(), line_noise_sd=sd)
    point = point._replace(sigma=math.sqrt((q * _factors(point, e)).sum() / n.sum()))
    if parts.gene_noise:
        rows = n.sum(1)
        e = 0.5 * np.log(np.maximum(q @ np.exp(-2.0 * point.log_noise) / rows, TINY))
        e = np.clip(e - np.median(e), -LARGEST_LOG_NOISE, LARGEST_LOG_NOISE)
        e, sd = shrunk(e - e.mean(), 2.0 * rows, point.gene_noise_sd)
        e = e - e.mean()
        point = point._replace(gene_noise_sd=sd)
    return point, e, measured


def shrunk(values: np.ndarray, information: np.ndarray, sd: float) -> tuple[np.ndarray, float]:
    """Shrink values known with some precision by a Normal prior, and improve the prior's SD."""
    precision = information + sd**-2
    shrunk = values * information / precision
    spread = (shrunk - shrunk.mean()) ** 2 + 1.0 / precision
    return shrunk, max(math.sqrt(spread.mean()), LEAST_SD)
