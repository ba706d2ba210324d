r"""The screen model as the sampler sees it: lines and SDs, in coordinates without a ridge.

Three vectors with a value for each line (:mod:`crossed_jax.models.screen.line_vectors`),

.. math::
    \beta = m + b, \qquad \kappa = \log\sigma_a + \log k, \qquad \lambda = \log\sigma + d,

with :math:`\bar\beta \sim \mathrm{Normal}(m_0, \sqrt{s_0^2 + \sigma_b^2/C})` and zero-sum parts
Normal(0, sd); their SDs, in the coordinates of :mod:`crossed_jax.models.sd_coordinate`; the
logarithm of the genes' noise SD :math:`\tau`, and :math:`\operatorname{logit}\rho`. A part that the
model leaves out has no coordinates: its vector has a single entry. Where samples have effects,
:math:`\beta` holds the mean of a line's, and their contrasts are coordinates too
(:mod:`crossed_jax.models.screen.samples`); and where guides differ in their noise, so is that
(:mod:`crossed_jax.models.screen.guides.noise`).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from crossed_jax.models import sd_coordinate
from crossed_jax.models.distributions import Normal, log_density_of_log, log_density_of_logit
from crossed_jax.models.parameterization import Parameterization, scatter
from crossed_jax.models.screen import line_vectors, samples
from crossed_jax.models.screen.density import Lines, log_likelihood
from crossed_jax.models.screen.gram import Gram, log_likelihood_of_gram
from crossed_jax.models.screen.guides.blocks import GuideBlocks, log_likelihood_of_blocks
from crossed_jax.models.screen.guides.lines import GuideLines
from crossed_jax.models.screen.guides.noise import (
    NoiseCoordinates,
    guide_noise,
    log_prior_of_guide_noise,
)
from crossed_jax.models.screen.line_vectors import Rotation
from crossed_jax.models.screen.quadrature import Rule
from crossed_jax.models.screen.samples import Contrasts
from crossed_jax.models.screen.strata import Strata
from crossed_jax.types import Array


class OfSDs(NamedTuple):
    """Something for the SD of each vector of the lines, and of what genes and guides differ in.

    Attributes
    ----------
    line, slope, line_noise, gene_noise, guide, gene_share, sample, guide_noise
        None where the model has no such part.
    """

    line: Any
    slope: Any
    line_noise: Any
    gene_noise: Any
    guide: Any = None
    gene_share: Any = None
    sample: Any = None
    guide_noise: Any = None


class ScreenPriors(NamedTuple):
    """The priors of a screen model.

    Attributes
    ----------
    mean
        Of the intercept, where SDs are zero.
    gene_sd, sigma
        Of positive numbers.
    sds
        Of positive numbers.
    share, nested_share
        Of numbers between 0 and 1, or None without interactions of genes and of guides.
    """

    mean: Normal
    gene_sd: Any
    sigma: Any
    sds: OfSDs
    share: Any
    nested_share: Any = None


class Position(NamedTuple):
    """Unconstrained coordinates.

    Attributes
    ----------
    location, slope, noise
        Of the vectors, shape (lines,), or (1,) where lines do not differ.
    sds
        Of their SDs.
    logit_share, logit_nested
        None without interactions of genes and of guides.
    sample
        Of the contrasts of samples, shape (contrasts,); None where these have no effects.
    guide_noise
        Of the guides' log noise, shape (guides,); None where they do not differ in it.
    """

    location: Array
    slope: Array
    noise: Array
    sds: OfSDs
    logit_share: Array | None
    logit_nested: Array | None = None
    sample: Array | None = None
    guide_noise: Array | None = None


class ScreenData(NamedTuple):
    """A table, its priors, and the coordinates made for it.

    Attributes
    ----------
    statistics
        What the likelihood needs of the table, `Strata`, `Gram` where sums over the genes suffice,
        or `GuideBlocks`.
    rule
        Nodes of the quadrature over genes' noise.
    least_log_noise
        With less, a line's weight leaves no digits for the squares of the others.
    priors
        The priors.
    center
        Where chains start about.
    rotations
        Coordinates of the three vectors.
    widths
        Rough posterior SDs of the coordinates.
    anchors
        Of the SDs' coordinates, see `sd_coordinate`.
    contrasts
        Coordinates of the samples; None where these have no effects.
    of_guide_noise
        Coordinates of the guides' log noise; None where they do not differ in it.
    """

    statistics: Any
    rule: Rule
    least_log_noise: Array
    priors: ScreenPriors
    center: Position
    widths: Position
    rotations: tuple[Rotation, Rotation, Rotation]
    anchors: OfSDs
    contrasts: Contrasts | None = None
    of_guide_noise: NoiseCoordinates | None = None


class Draw(NamedTuple):
    """What is kept of a position: all that the genes depend on, and the SDs."""

    lines: Lines
    sds: OfSDs
    logit_nested: Array | None = None
    guide_noise: Array | None = None

    @property
    def with_guides(self) -> GuideLines:
        """What genes with guides depend on."""
        share_sd = self.sds.gene_share
        log_share_sd = None if share_sd is None else jnp.log(share_sd)
        log_guide_sd = jnp.log(self.sds.guide)
        return GuideLines(
            self.lines, log_guide_sd, self.logit_nested, log_share_sd, self.guide_noise
        )


class _Vectors(NamedTuple):
    """What a position stands for.

    Attributes
    ----------
    location, slope, noise
        Mean and zero-sum part of each vector of the lines.
    variance
        Of the locations, shape (lines,).
    sample
        Effects of samples about the means of their lines, or None.
    guide_noise
        Log noise of the guides, or None.
    """

    location: tuple[Array, Array]
    slope: tuple[Array, Array]
    noise: tuple[Array, Array]
    variance: Array
    sample: Array | None
    guide_noise: Array | None


def log_density(position: Position, data: ScreenData) -> Array:
    """Log posterior density."""
    log_sds, log_jacobian = _log_sds(position, data)
    vectors = _vectors(position, log_sds, data)
    log_prior = sum(_log_priors(vectors, log_sds, position, data), start=log_jacobian)
    lines = _lines(vectors, log_sds, position)
    likelihood = _log_likelihood(lines, log_sds, position, vectors.guide_noise, data)
    enough = jnp.min(lines.log_noise) > data.least_log_noise
    return jnp.where(enough, log_prior + likelihood, -jnp.inf)


def _log_likelihood(
    lines: Lines, log_sds: OfSDs, position: Position, guide_noise: Array | None, data: ScreenData
) -> Array:
    if isinstance(data.statistics, GuideBlocks):
        nested, share_sd = position.logit_nested, log_sds.gene_share
        at = GuideLines(lines, log_sds.guide, nested, share_sd, guide_noise)
        return log_likelihood_of_blocks(at, data.statistics, data.rule)
    if isinstance(data.statistics, Gram):
        return log_likelihood_of_gram(lines, data.statistics)
    return log_likelihood(lines, data.statistics, data.rule)


def _log_sds(position: Position, data: ScreenData) -> tuple[OfSDs, Array]:
    """Log SDs, and the log-determinant of their coordinates' Jacobian."""
    coordinates, structure = jax.tree.flatten(position.sds)
    log_sds, log_jacobian = sd_coordinate.log_sds(
        jnp.stack(coordinates), jnp.stack(jax.tree.leaves(data.anchors))
    )
    return jax.tree.unflatten(structure, list(log_sds)), log_jacobian


def _vectors(position: Position, log_sds: OfSDs, data: ScreenData) -> _Vectors:
    """What a position stands for, given the logarithms of the SDs."""
    contrasts, sample = data.contrasts, None
    share = None if contrasts is None else contrasts.share_of_each
    variance = samples.variances(log_sds.line, log_sds.sample, share, position.location.shape[0])
    if contrasts is not None and position.sample is not None:
        sample = samples.deviations(position.sample, contrasts, log_sds.sample)
    log_scales = (_log_scale(variance), log_sds.slope, log_sds.line_noise)
    location, slope, noise = (
        line_vectors.vector(z, rotation, log_sd)
        for z, rotation, log_sd in zip(position[:3], data.rotations, log_scales, strict=True)
    )
    of_guides = None
    if data.of_guide_noise is not None and position.guide_noise is not None:
        of_guides = guide_noise(position.guide_noise, data.of_guide_noise, log_sds.guide_noise)
    return _Vectors(location, slope, noise, variance, sample, of_guides)


def _log_scale(variance: Array) -> Array:
    """Logarithm of the SD of a typical line's location."""
    return 0.5 * jnp.log(variance.mean())


def _log_priors(
    vectors: _Vectors, log_sds: OfSDs, position: Position, data: ScreenData
) -> Iterator[Array]:
    """Log prior densities, each given those before it: their sum counts."""
    priors, rotations = data.priors, data.rotations
    for prior, log_sd in zip(priors.sds, log_sds, strict=True):
        if log_sd is not None:
            yield log_density_of_log(prior, log_sd)
    mean, zero_sum = vectors.location
    yield samples.log_prior_of_locations(mean, zero_sum, vectors.variance, priors.mean)
    yield line_vectors.log_jacobian(zero_sum, rotations[0], _log_scale(vectors.variance))
    for (_, zero_sum), rotation, log_sd in (
        (vectors.slope, rotations[1], log_sds.slope),
        (vectors.noise, rotations[2], log_sds.line_noise),
    ):
        if log_sd is not None:
            yield line_vectors.log_prior(zero_sum, rotation, log_sd)
    if vectors.sample is not None and data.contrasts is not None:
        yield samples.log_prior(vectors.sample, data.contrasts, log_sds.sample)
    if vectors.guide_noise is not None and data.of_guide_noise is not None:
        of_guides = data.of_guide_noise
        yield log_prior_of_guide_noise(vectors.guide_noise, of_guides, log_sds.guide_noise)
    yield log_density_of_log(priors.gene_sd, vectors.slope[0])
    yield log_density_of_log(priors.sigma, vectors.noise[0])
    for prior, logit in (
        (priors.share, position.logit_share),
        (priors.nested_share, position.logit_nested),
    ):
        if logit is not None:
            yield log_density_of_logit(prior, logit)


def _lines(vectors: _Vectors, log_sds: OfSDs, position: Position) -> Lines:
    """What the likelihood depends on."""
    location, slope, noise = (mean + zero_sum for mean, zero_sum in vectors[:3])
    return Lines(location, slope, noise, log_sds.gene_noise, position.logit_share, vectors.sample)


def start(key: jax.Array, data: ScreenData) -> Position:
    """Draw a position about the estimate."""
    return scatter(key, data.center, scale(data))


def scale(data: ScreenData) -> Position:
    """Rough posterior SDs of the coordinates."""
    return jax.tree.map(jnp.asarray, data.widths)


def quantities(position: Position, data: ScreenData) -> Draw:
    """What is kept of a position."""
    log_sds, _ = _log_sds(position, data)
    vectors = _vectors(position, log_sds, data)
    lines = _lines(vectors, log_sds, position)
    sds = jax.tree.map(jnp.exp, log_sds)
    return Draw(lines, sds, position.logit_nested, vectors.guide_noise)


def shards(data: ScreenData) -> ScreenData:
    """Blocks of genes may be spread over devices, nothing else."""
    parts = jax.tree.map(lambda _: False, data)
    if isinstance(data.statistics, Strata):
        matrices = jax.tree.map(lambda _: True, data.statistics.matrices)
        return parts._replace(statistics=parts.statistics._replace(matrices=matrices))
    if isinstance(data.statistics, GuideBlocks):
        blocks = jax.tree.map(lambda _: True, data.statistics.blocks)
        return parts._replace(statistics=parts.statistics._replace(blocks=blocks))
    return parts


PARAMETERIZATION: Parameterization[Position, ScreenData] = Parameterization(
    "collapsed", log_density, start, scale, quantities, shards
)
