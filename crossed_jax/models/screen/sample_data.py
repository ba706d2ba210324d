"""Coordinates of samples' effects, made from an estimate of them."""

from typing import NamedTuple

import numpy as np

from crossed_jax.models.screen.estimate import TINY, GeneEstimate, LineEstimate, Measured
from crossed_jax.models.screen.line_vectors import Rotation
from crossed_jax.models.screen.parameterization import ScreenData
from crossed_jax.models.screen.samples import Basis, Contrasts, basis_of, contrasts_of
from crossed_jax.models.screen.spread import spread_of
from crossed_jax.statistics.cells import Cells
from crossed_jax.statistics.samples import SampleCells


class MeasuredSamples(NamedTuple):
    """Samples about the means of their lines.

    Attributes
    ----------
    basis
        Orthonormal contrasts of each line's.
    contrasts
        Their values.
    number
        Samples of each line, shape (lines,).
    """

    basis: Basis
    contrasts: Measured
    number: np.ndarray


def measured_samples(
    samples: SampleCells, cells: Cells, lines: int, point: LineEstimate, units: GeneEstimate
) -> MeasuredSamples:
    """Say how well an estimate tells the samples of a line apart.

    Parameters
    ----------
    samples, cells
        What the table has of them.
    lines
        Position of the factor that they are replicates of.
    point, units
        The estimate, with samples' effects taken off.
    """
    number = np.bincount(samples.line)
    rows = cells.counts - (samples.counts**2).sum(1) / cells.counts
    rows = cells.level_sums(lines, rows) / np.maximum(number - 1.0, 1.0)
    noise = point.sigma**2 * (1.0 - point.share) * np.exp(2.0 * point.log_noise)
    known = np.maximum(rows * np.exp(-2.0 * units.log_noise).mean() / noise, TINY)
    basis = basis_of(samples.line)
    contrasts = Measured(contrasts_of(samples.estimate, basis), known[basis.line])
    return MeasuredSamples(basis, contrasts, number)


def with_samples(
    made: ScreenData,
    measured: MeasuredSamples,
    location: Measured,
    shift: tuple[np.ndarray, float],
) -> ScreenData:
    """Add the samples to coordinates that were made without them.

    Parameters
    ----------
    made
        Those, with locations that hold the means of the lines' samples.
    measured
        The samples.
    location, shift
        The locations, and what of them the genes take up, see `spread_of`.
    """
    sds = made.priors.sds
    of_samples = spread_of(sds.sample, *measured.contrasts, about_zero=True)
    of_means = of_samples.sd**2 / measured.number
    precision = 1.0 / (1.0 / location.precision + of_means)
    of_lines = spread_of(sds.line, location.value, precision, *shift)
    log_sd = 0.5 * np.log((of_lines.sd**2 + of_means).mean())

    known = measured.contrasts.precision
    root = np.sqrt(known + of_samples.sd**-2)
    rotation = Rotation(
        root=root,
        mirror=np.zeros_like(root),
        width=np.ones(()),
        log_sd=np.log(of_samples.sd),
        log_known=np.log(np.median(known)),
        weight=np.asarray(of_samples.weight),
    )
    center, widths = made.center, made.widths
    center = center._replace(
        sds=center.sds._replace(line=of_lines.coordinate, sample=of_samples.coordinate),
        sample=root * measured.contrasts.value,
    )
    widths = widths._replace(
        sds=widths.sds._replace(line=of_lines.coordinate_width, sample=of_samples.coordinate_width),
        sample=np.ones_like(root),
    )
    first = made.rotations[0]._replace(log_sd=log_sd)
    return made._replace(
        center=center,
        widths=widths,
        rotations=(first, *made.rotations[1:]),
        anchors=made.anchors._replace(line=of_lines.anchor, sample=of_samples.anchor),
        contrasts=Contrasts(measured.basis, rotation, 1.0 / measured.number),
    )
