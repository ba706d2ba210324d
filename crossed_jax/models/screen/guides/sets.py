"""Sums over the cells of each set of guides, which do not depend on its gene's share."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from crossed_jax.models.screen.density import between_samples, shift_of, squares_of_samples
from crossed_jax.models.screen.guides.lines import GuideLines, of_lines, z_of
from crossed_jax.models.screen.guides.table import GuideStrata
from crossed_jax.types import Array


class Effects(NamedTuple):
    """Effects that rows measure independently of each other, as arrays that broadcast.

    Attributes
    ----------
    precision
        With which they are measured, in units of their SD and at a noise factor of one.
    explained
        That, times the squares of their least-squares estimates.
    copies
        How many effects of this precision there are.
    """

    precision: Array
    explained: Array
    copies: Array


class SetSums(NamedTuple):
    """Of each set of guides, what does not depend on the share, shape (sets,) each.

    Attributes
    ----------
    deviations
        Effects of the guides less their mean, were the share zero.
    squares
        Of deviations about these, and within cells, were the share zero.
    log_variance
        Sum of the logarithms of the rows' variances less those of the set's means, likewise.
    freedom
        Rows less cells of sets: how often :math:`\\log(1 - s)` counts in it.
    """

    deviations: Effects
    squares: Array
    log_variance: Array
    freedom: Array


def weights_of_sets(at: GuideLines, strata: GuideStrata) -> Array:
    """Guides of each set, less where their noise is more, shape (sets,)."""
    sets = strata.sets
    if at.log_guide_noise is None or sets.guide is None:
        return sets.number
    return sets.number * jnp.exp(-2.0 * at.log_guide_noise[sets.guide])


def set_sums(at: GuideLines, strata: GuideStrata) -> SetSums:
    """Sum over the cells of each set what does not depend on its gene's share."""
    sets, n = strata.sets, strata.replicates
    number = jnp.maximum(sets.number, 1.0)  # a block may be filled up
    log_noise, _, slope = (x[strata.line] for x in of_lines(at))
    weight, z = jnp.exp(-2.0 * log_noise), z_of(at, n)
    log_unshared = 0.0 if at.logit_nested is None else jax.nn.log_sigmoid(-at.logit_nested)
    precision, cells, log_n, log_nz, of_rows, within_freedom = jnp.moveaxis(
        sets.seen
        @ jnp.stack(
            [
                weight * slope**2 / z,
                jnp.ones_like(z),
                jnp.log(n),
                jnp.log(n * z),
                2.0 * n * log_noise,
                n - 1.0,
            ],
            -1,
        ),
        -1,
        0,
    )
    measured = (sets.deviations @ (weight * slope / z)) ** 2
    measured = jax.ops.segment_sum(measured, sets.set_of_guide, sets.number.shape[0])
    explained = measured / jnp.where(precision > 0.0, precision, 1.0)
    squares = sets.spread @ (weight / z) + sets.within @ (weight / jnp.exp(log_unshared))
    if sets.between is not None and strata.samples is not None:
        unshared = jnp.exp(-2.0 * of_lines(at)[0] - log_unshared)
        squares += sets.between @ between_samples(at.lines, strata.samples, unshared)
        of_samples = unshared[strata.line] * squares_of_samples(at.lines, strata)
        squares += number * (sets.seen @ of_samples)
    others = number - 1.0
    freedom = others * cells + number * within_freedom
    log_variance = log_n + cells * jnp.log(number) + others * log_nz
    log_variance += number * (of_rows + within_freedom * log_unshared)
    if at.log_guide_noise is not None and sets.guide is not None:
        log_variance += 2.0 * at.log_guide_noise[sets.guide] * (cells + within_freedom)
        squares *= weights_of_sets(at, strata)
    return SetSums(
        Effects(precision, explained, others),
        jnp.maximum(squares - explained, 0.0),
        log_variance,
        freedom,
    )


class SumsOfMeans(NamedTuple):
    """What means weigh, were there no interaction and the share zero.

    Of the sets that are not a whole gene, shape (sets,).
    """

    squares: Array
    product: Array
    precision: Array
    log_variance: Array
    cells: Array


def sums_of_means(at: GuideLines, strata: GuideStrata) -> SumsOfMeans:
    """Sum over the cells of each set that is not a whole gene what its mean weighs."""
    log_noise, slope, _ = (x[strata.line] for x in of_lines(at))
    z = z_of(at, strata.replicates)
    weight = jnp.exp(-2.0 * log_noise) / z
    shift = shift_of(at.lines, strata)
    own = slice(strata.alone, None)
    seen, mean, number = (x[own] for x in (strata.sets.seen, strata.sets.mean, strata.sets.number))
    weight_of_set = weights_of_sets(at, strata)[own]
    columns = [weight * shift**2, -weight * slope * shift, weight * slope**2, jnp.log(z)]
    squares, product, precision, log_z = jnp.moveaxis(seen @ jnp.stack(columns, -1), -1, 0)
    squares += mean @ (-2.0 * weight * shift) + mean**2 @ weight
    product += mean @ (weight * slope)
    cells = seen.sum(-1)
    return SumsOfMeans(
        weight_of_set * squares,
        weight_of_set * product,
        weight_of_set * precision,
        log_z - cells * jnp.log(jnp.maximum(number, 1.0)),
        cells,
    )
