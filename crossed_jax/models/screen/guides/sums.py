r"""What a gene's likelihood depends on, given its share of interaction s.

With :math:`\omega = e^{-2 d_c}/\sigma^2` and :math:`z = \pi + (1 - \pi)/n` for a guide of n rows in
a line, a set of U guides falls into strata (in the sense of the analysis of variance):

- its deviations from its mean have the variance :math:`(1 - s) z / \omega` and measure
  :math:`k_c (o_u - \bar o)`: U - 1 copies, with the precision
  :math:`\sum_c \omega k_c^2 z^{-1} / (1 - s)` each, at a noise factor of one;
- the rows of a cell have the variance :math:`(1 - s)(1 - \pi)/\omega` about its mean;
- its mean has the precision :math:`\omega q, q = U / ((1 - s) z)`, about
  :math:`\gamma_{gc} + k_c (a_g + \bar o)`.

The means of a gene's sets share :math:`\gamma_{gc} \sim \mathrm{Normal}(0, \sqrt{s/\omega})`, which
leaves them the precision matrix :math:`\omega\,[\mathrm{diag}(q) - s q q' / (1 + s \sum q)]`. With
one set it is :math:`\omega/u,\ u = s + (1 - s) z / U`, which depends on the line only through
:math:`\omega` and n: sums are kept by the number of replicates.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from crossed_jax.models.screen.density import Lines
from crossed_jax.models.screen.guides.table import GuideStrata
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
    """

    lines: Lines
    log_guide_sd: Array
    logit_nested: Array | None
    log_share_sd: Array | None


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


class ClassSums(NamedTuple):
    """Sums over the cells of genes with one set, by replicates, shape (genes, classes) each."""

    squares: Array
    product: Array
    precision: Array
    cells: Array


class GeneSums(NamedTuple):
    """What genes' likelihoods depend on given their shares, shape (shares, genes) each.

    Attributes
    ----------
    rows
        Number of rows, shape (genes,).
    log_variance
        Sum of the logarithms of the rows' variances, for each.
    squares
        Weighted squares of the rows, less what independent effects explain.
    effects
        Those, leading dimension (effects,).
    gram, product
        Of effects that are not measured independently: precision matrix and its product with the
        least-squares estimate, lists of lists and lists of arrays; empty if there are none.
    """

    rows: Array
    log_variance: Array
    squares: Array
    effects: Effects
    gram: list[list[Array]]
    product: list[Array]


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


def shares_of(at: GuideLines, deviation: Array) -> Shares:
    """Shares of genes whose logits deviate so much from a typical gene's."""
    if at.lines.logit_share is None:
        none = jnp.zeros_like(deviation)
        return Shares(none, none + 1.0, none)
    logit = at.lines.logit_share + deviation
    return Shares(jax.nn.sigmoid(logit), jax.nn.sigmoid(-logit), jax.nn.log_sigmoid(-logit))


def of_lines(at: GuideLines) -> tuple[Array, Array, Array]:
    """Logarithm of the noise SD, and slopes of gene and of guide effects, shape (lines,) each."""
    ones = jnp.ones_like(at.lines.location)
    log_slope = at.lines.log_slope * ones
    return at.lines.log_noise * ones, jnp.exp(log_slope), jnp.exp(log_slope + _ratio(at))


def z_of(at: GuideLines, replicates: Array) -> Array:
    """Variance of a guide's mean in a line, as a share of what interaction leaves."""
    if at.logit_nested is None:
        return 1.0 / replicates
    return jax.nn.sigmoid(at.logit_nested) + jax.nn.sigmoid(-at.logit_nested) / replicates


def set_sums(at: GuideLines, strata: GuideStrata) -> SetSums:
    """Sum over the cells of each set what does not depend on its gene's share."""
    sets, n = strata.sets, strata.replicates
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
    others = sets.number - 1.0
    freedom = others * cells + sets.number * within_freedom
    log_variance = log_n + cells * jnp.log(sets.number) + others * log_nz
    log_variance += sets.number * (of_rows + within_freedom * log_unshared)
    return SetSums(
        Effects(precision, explained, others),
        jnp.maximum(squares - explained, 0.0),
        log_variance,
        freedom,
    )


def class_sums(at: GuideLines, strata: GuideStrata, number: int) -> ClassSums:
    """Sum over the cells of the first sets, by the number of replicates."""
    log_noise, slope, _ = (x[strata.line] for x in of_lines(at))
    weight = jnp.exp(-2.0 * log_noise)
    shift = (at.lines.location - strata.location)[strata.line]
    seen, mean = strata.sets.seen[:number], strata.sets.mean[:number]

    def by_class(values: Array, *columns: Array) -> list[Array]:
        """Products with columns that are kept apart by class, shape (genes, classes) each."""
        apart = jnp.stack(columns, -1)[..., None] * strata.in_class[:, None, :]
        product = values @ apart.reshape(values.shape[1], -1)
        return list(jnp.moveaxis(product.reshape(number, len(columns), -1), 1, 0))

    squares, product, precision, cells = by_class(
        seen, weight * shift**2, -weight * slope * shift, weight * slope**2, jnp.ones_like(weight)
    )
    of_squares, of_product = by_class(mean, -2.0 * weight * shift, weight * slope)
    (squares_of_means,) = by_class(mean**2, weight)
    return ClassSums(
        squares + of_squares + squares_of_means, product + of_product, precision, cells
    )


def sums_with_one_set(
    at: GuideLines, strata: GuideStrata, sets: SetSums, classes: ClassSums, shares: Shares
) -> GeneSums:
    """Put the sums of genes with one set together at their shares."""
    number = classes.cells.shape[0]
    own = jax.tree.map(lambda x: x[:number], sets)
    guides = strata.sets.number[:number]
    z = z_of(at, strata.classes)
    u = shares.share[..., None] + shares.rest[..., None] * z / guides[:, None]
    squares, product, precision = (
        (x / u).sum(-1) for x in (classes.squares, classes.product, classes.precision)
    )
    inflation = 1.0 + jnp.exp(2.0 * _ratio(at)) / guides  # of a gene's effect by its guides'
    explained = product**2 / jnp.where(precision > 0.0, precision, 1.0)
    log_variance = own.log_variance + own.freedom * shares.log_rest
    of_means = Effects(inflation * precision, explained, jnp.ones_like(precision))
    return GeneSums(
        strata.rows[:number],
        log_variance + (classes.cells * jnp.log(u)).sum(-1),
        own.squares / shares.rest + jnp.maximum(squares - explained, 0.0),
        jax.tree.map(lambda *x: jnp.stack(x), of_means, _at_shares(own.deviations, shares.rest)),
        [],
        [],
    )


def sums_with_several_sets(
    at: GuideLines, strata: GuideStrata, sets: SetSums, shares: Shares
) -> GeneSums:
    """Sum over the cells of genes with several sets, at their shares."""
    ragged = strata.ragged
    number, most = ragged.guides.shape
    there = ragged.guides > 0.0
    own = jax.tree.map(lambda x: jnp.where(there, x[ragged.set], 0.0), sets)
    log_noise, slope, _ = of_lines(at)
    weight = jnp.exp(-2.0 * log_noise)
    shift = at.lines.location - strata.location
    seen = ragged.rows > 0.0
    z = z_of(at, jnp.maximum(ragged.rows, 1.0))
    residual = jnp.where(seen, ragged.mean - shift, 0.0)
    q = jnp.where(seen, ragged.guides[..., None] / z, 0.0)
    q = q / shares.rest[..., None, None]  # (shares, genes, sets, lines)
    whole, product = q.sum(-2), (q * residual).sum(-2)
    shared = weight * shares.share[..., None] / (1.0 + shares.share[..., None] * whole)
    squares = (weight * (q * residual**2).sum(-2)).sum(-1) - (shared * product**2).sum(-1)
    log_variance = (own.log_variance + own.freedom * shares.log_rest[..., None]).sum(-1)
    log_variance -= jnp.where(seen, jnp.log(jnp.where(seen, q, 1.0)), 0.0).sum((-1, -2))
    log_variance += jnp.log1p(shares.share[..., None] * whole).sum(-1)

    on_diagonal = (weight * slope**2 * q).sum(-1)
    measured = (slope * q * (weight * residual - (shared * product)[..., None, :])).sum(-1)
    between = [
        [
            -(shared * slope**2 * q[..., i, :] * q[..., j, :]).sum(-1)
            + (on_diagonal[..., i] if i == j else 0.0)
            for j in range(most)
        ]
        for i in range(most)
    ]
    gram, explained = _of_gene_and_sets(between, measured, _ratio(at), ragged.guides)
    rest = shares.rest[..., None]
    deviations = _at_shares(own.deviations, rest)
    return GeneSums(
        strata.rows[strata.rows.shape[0] - number :],
        log_variance,
        squares + (own.squares / rest).sum(-1),
        jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), deviations),
        gram,
        explained,
    )


def _of_gene_and_sets(
    between: list[list[Array]], measured: Array, ratio: Array, guides: Array
) -> tuple[list[list[Array]], list[Array]]:
    """Precisions of a gene's effect and its sets' in units of their SDs, from those of sums."""
    most = len(between)
    size = [jnp.exp(ratio) * jnp.where(n > 0.0, n, 1.0) ** -0.5 for n in jnp.moveaxis(guides, 1, 0)]
    of_gene = [sum(row) * size[i] for i, row in enumerate(between)]
    gram = [
        [sum(sum(row) for row in between), *of_gene],
        *(
            [of_gene[i], *(size[i] * size[j] * between[i][j] for j in range(most))]
            for i in range(most)
        ),
    ]
    product = [measured.sum(-1), *(size[i] * measured[..., i] for i in range(most))]
    return gram, product


def _at_shares(effects: Effects, rest: Array) -> Effects:
    """Deviations of guides where interaction leaves so much of the variance."""
    precision = effects.precision / rest
    return Effects(
        precision, effects.explained / rest, jnp.broadcast_to(effects.copies, precision.shape)
    )


def _ratio(at: GuideLines) -> Array:
    """Logarithm of the SD of guide effects over that of gene effects."""
    return at.log_guide_sd - at.lines.log_slope.mean()
