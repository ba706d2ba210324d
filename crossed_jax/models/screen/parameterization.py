r"""The screen model as the sampler sees it: lines and SDs, in coordinates without a ridge.

Three vectors with a value for each line (:mod:`crossed_jax.models.screen.line_vectors`),

.. math::
    \beta = m + b, \qquad \kappa = \log\sigma_a + \log k, \qquad \lambda = \log\sigma + d,

with :math:`\bar\beta \sim \mathrm{Normal}(m_0, \sqrt{s_0^2 + \sigma_b^2/C})` and zero-sum parts
Normal(0, sd); their SDs, in the coordinates of :mod:`crossed_jax.models.sd_coordinate`; the
logarithm of the genes' noise SD :math:`\tau`, and :math:`\operatorname{logit}\rho`. A part that the
model leaves out has no coordinates: its vector has a single entry.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from crossed_jax.models import sd_coordinate
from crossed_jax.models.distributions import Normal, log_density_of_log, log_density_of_logit
from crossed_jax.models.parameterization import Parameterization, scatter
from crossed_jax.models.screen import line_vectors
from crossed_jax.models.screen.density import Lines, log_likelihood
from crossed_jax.models.screen.gram import Gram, log_likelihood_of_gram
from crossed_jax.models.screen.guides.density import GuideRules
from crossed_jax.models.screen.guides.density import log_likelihood as log_likelihood_with_guides
from crossed_jax.models.screen.guides.lines import GuideLines
from crossed_jax.models.screen.line_vectors import Rotation
from crossed_jax.models.screen.strata import Strata
from crossed_jax.types import Array

SHARE_SCALE = 0.05


class OfSDs(NamedTuple):
    """Something for the SD of each vector of the lines, and of what genes and guides differ in.

    Attributes
    ----------
    line, slope, line_noise, gene_noise, guide, gene_share
        None where the model has no such part.
    """

    line: Any
    slope: Any
    line_noise: Any
    gene_noise: Any
    guide: Any = None
    gene_share: Any = None


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
    """

    location: Array
    slope: Array
    noise: Array
    sds: OfSDs
    logit_share: Array | None
    logit_nested: Array | None = None


class ScreenData(NamedTuple):
    """A table, its priors, and the coordinates made for it.

    Attributes
    ----------
    statistics
        What the likelihood needs of the table, `Strata`, `Gram` where sums over the genes suffice,
        or `GuideStrata`.
    rule
        Nodes of the quadrature over what genes differ in, a `Rule` or `GuideRules`.
    least_log_noise
        With less, a line's weight leaves no digits for the squares of the others.
    priors
        The priors.
    center
        Where chains start about.
    rotations
        Coordinates of the three vectors.
    anchors, widths
        Of the SDs' coordinates: see `sd_coordinate`; rough posterior SDs.
    """

    statistics: Any
    rule: Any
    least_log_noise: Array
    priors: ScreenPriors
    center: Position
    rotations: tuple[Rotation, Rotation, Rotation]
    anchors: OfSDs
    widths: OfSDs


class Draw(NamedTuple):
    """What is kept of a position: all that the genes depend on, and the SDs."""

    lines: Lines
    sds: OfSDs
    logit_nested: Array | None = None

    @property
    def with_guides(self) -> GuideLines:
        """What genes with guides depend on."""
        share_sd = self.sds.gene_share
        log_share_sd = None if share_sd is None else jnp.log(share_sd)
        return GuideLines(self.lines, jnp.log(self.sds.guide), self.logit_nested, log_share_sd)


class _Vector(NamedTuple):
    """A vector of the lines, and the logarithm of its zero-sum part's SD; None if it has none."""

    mean: Array
    zero_sum: Array
    rotation: Rotation
    log_sd: Array | None


def log_density(position: Position, data: ScreenData) -> Array:
    """Log posterior density."""
    log_sds, log_jacobian = _log_sds(position, data)
    vectors = _vectors(position, log_sds, data)
    log_prior = sum(_log_priors(vectors, log_sds, position, data.priors), start=log_jacobian)
    lines = _lines(vectors, log_sds, position)
    likelihood = _log_likelihood(lines, log_sds, position, data)
    enough = jnp.min(lines.log_noise) > data.least_log_noise
    return jnp.where(enough, log_prior + likelihood, -jnp.inf)


def _log_likelihood(lines: Lines, log_sds: OfSDs, position: Position, data: ScreenData) -> Array:
    if isinstance(data.rule, GuideRules):
        at = GuideLines(lines, log_sds.guide, position.logit_nested, log_sds.gene_share)
        return log_likelihood_with_guides(at, data.statistics, data.rule)
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


def _vectors(position: Position, log_sds: OfSDs, data: ScreenData) -> list[_Vector]:
    """The location, log slope and log noise of the lines."""
    return [
        _Vector(*line_vectors.vector(z, rotation, log_sd), rotation, log_sd)
        for z, rotation, log_sd in zip(position[:3], data.rotations, log_sds[:3], strict=True)
    ]


def _log_priors(
    vectors: list[_Vector], log_sds: OfSDs, position: Position, priors: ScreenPriors
) -> Iterator[Array]:
    """Log prior densities, each given those before it: their sum counts."""
    for vector in vectors:
        if vector.log_sd is not None:
            yield line_vectors.log_prior(vector.zero_sum, vector.rotation, vector.log_sd)
    for prior, log_sd in zip(priors.sds, log_sds, strict=True):
        if log_sd is not None:
            yield log_density_of_log(prior, log_sd)
    location, slope, noise = vectors
    of_mean = priors.mean.scale**2 + jnp.exp(2.0 * log_sds.line) / location.zero_sum.shape[0]
    yield Normal(priors.mean.loc, jnp.sqrt(of_mean)).log_prob(location.mean)
    yield log_density_of_log(priors.gene_sd, slope.mean)
    yield log_density_of_log(priors.sigma, noise.mean)
    for prior, logit in (
        (priors.share, position.logit_share),
        (priors.nested_share, position.logit_nested),
    ):
        if logit is not None:
            yield log_density_of_logit(prior, logit)


def _lines(vectors: list[_Vector], log_sds: OfSDs, position: Position) -> Lines:
    """What the likelihood depends on."""
    location, slope, noise = (vector.mean + vector.zero_sum for vector in vectors)
    return Lines(location, slope, noise, log_sds.gene_noise, position.logit_share)


def start(key: jax.Array, data: ScreenData) -> Position:
    """Draw a position about the estimate."""
    return scatter(key, data.center, scale(data))


def scale(data: ScreenData) -> Position:
    """Rough posterior SDs of the coordinates."""
    location, slope, noise = map(line_vectors.scale, data.rotations)
    share, nested = (
        None if center is None else jnp.asarray(SHARE_SCALE)
        for center in (data.center.logit_share, data.center.logit_nested)
    )
    return Position(location, slope, noise, jax.tree.map(jnp.asarray, data.widths), share, nested)


def quantities(position: Position, data: ScreenData) -> Draw:
    """What is kept of a position."""
    log_sds, _ = _log_sds(position, data)
    lines = _lines(_vectors(position, log_sds, data), log_sds, position)
    return Draw(lines, jax.tree.map(jnp.exp, log_sds), position.logit_nested)


def shards(data: ScreenData) -> ScreenData:
    """Blocks of genes may be spread over devices, nothing else."""
    nothing = jax.tree.map(lambda _: False, data)
    if not isinstance(data.statistics, Strata):
        return nothing
    matrices = jax.tree.map(lambda _: True, data.statistics.matrices)
    return nothing._replace(statistics=nothing.statistics._replace(matrices=matrices))


PARAMETERIZATION: Parameterization[Position, ScreenData] = Parameterization(
    "collapsed", log_density, start, scale, quantities, shards
)
