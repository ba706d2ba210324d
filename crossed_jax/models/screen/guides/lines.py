"""What the likelihood with guides depends on, and numbers that follow from it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from crossed_jax.models.screen.density import Lines
from crossed_jax.types import Array


class GuideLines(NamedTuple):
    """What the likelihood depends on.

    Attributes
    ----------
    lines
        As without guides; the logit of the share is that of a typical gene.
    log_guide_sd
        :math:`\\log\\sigma_o`.
    logit_nested
        Of :math:`\\pi`; None without guide by line effects.
    log_share_sd
        :math:`\\log\\sigma_s`; None where all genes have the same share.
    log_guide_noise
        f, shape (guides,); None where guides do not differ in their noise.
    """

    lines: Lines
    log_guide_sd: Array
    logit_nested: Array | None
    log_share_sd: Array | None
    log_guide_noise: Array | None = None


class Shares(NamedTuple):
    """Of interaction in the variance, for each gene, shape (shares, genes).

    Attributes
    ----------
    share, rest
        It, and what is left.
    log_rest
        The logarithm of that.
    """

    share: Array
    rest: Array
    log_rest: Array


def shares_of(at: GuideLines, logit: Array) -> Shares:
    """Shares of genes from their logits; none where the model has no interaction."""
    if at.lines.logit_share is None:
        none = jnp.zeros_like(logit)
        return Shares(none, none + 1.0, none)
    return Shares(jax.nn.sigmoid(logit), jax.nn.sigmoid(-logit), jax.nn.log_sigmoid(-logit))


def of_lines(at: GuideLines) -> tuple[Array, Array, Array]:
    """Logarithm of the noise SD, and slopes of gene and of guide effects, shape (lines,) each."""
    ones = jnp.ones_like(at.lines.location)
    log_slope = at.lines.log_slope * ones
    return at.lines.log_noise * ones, jnp.exp(log_slope), jnp.exp(log_slope + log_ratio(at))


def z_of(at: GuideLines, replicates: Array) -> Array:
    """Variance of a guide's mean in a line, as a share of what interaction leaves."""
    if at.logit_nested is None:
        return 1.0 / replicates
    return jax.nn.sigmoid(at.logit_nested) + jax.nn.sigmoid(-at.logit_nested) / replicates


def inflation_of(at: GuideLines, guides: Array) -> Array:
    """Variance of a gene's effect with the mean of its guides', in variances of gene effects."""
    return 1.0 + jnp.exp(2.0 * log_ratio(at)) / guides


def log_ratio(at: GuideLines) -> Array:
    """Logarithm of the SD of guide effects over that of gene effects."""
    return at.log_guide_sd - at.lines.log_slope.mean()
