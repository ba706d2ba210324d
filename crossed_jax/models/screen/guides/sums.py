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
    """Sums over the cells of genes all of whose guides have as many rows, by that number.

    Of precisions of responses, :math:`\\omega`, shape (genes, classes) each.

    Attributes
    ----------
    squares, product, precision
        Times the squares of means, products of means and slopes, and squares of slopes.
    cells
        Their number.
    """

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
        Those.
    mean
        Least-squares estimate of the first of them, that of the mean of a gene's guides, in SDs;
        None where it is not independent.
    gram, product
        Of effects that are not measured independently: precision matrix and its product with the
        least-squares estimate, lists of lists and lists of arrays; empty if there are none.
    """

    rows: Array
    log_variance: Array
    squares: Array
    effects: list[Effects]
    mean: Array | None
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
    return at.lines.log_noise * ones, jnp.exp(log_slope), jnp.exp(log_slope + log_ratio(at))


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


def class_sums(at: GuideLines, strata: GuideStrata) -> ClassSums:
    """Sum over the lines in which all guides of a gene have equally many rows."""
    log_noise, slope, _ = (x[strata.line] for x in of_lines(at))
    weight = jnp.exp(-2.0 * log_noise)
    shift = (at.lines.location - strata.location)[strata.line]
    seen, mean = strata.genes.seen, strata.genes.mean

    def by_class(values: Array, *columns: Array) -> list[Array]:
        """Products with columns that are kept apart by class, shape (genes, classes) each."""
        apart = jnp.stack(columns, 1)[:, :, None] * strata.in_class[:, None, :]
        product = values @ apart.reshape(values.shape[1], -1)
        return list(jnp.moveaxis(product.reshape(len(product), len(columns), -1), 1, 0))

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
    guides = strata.genes.guides[: strata.alone]
    own = jax.tree.map(lambda x: x[: strata.alone], sets)
    z = z_of(at, strata.classes)
    u = shares.share[..., None] + shares.rest[..., None] * z / guides[:, None]
    squares, product, precision = ((x / u).sum(-1) for x in classes[:3])
    inflation = inflation_of(at, guides)
    mean = product / jnp.where(precision > 0.0, precision, 1.0)
    explained = product * mean
    log_variance = own.log_variance + own.freedom * shares.log_rest
    of_means = Effects(inflation * precision, explained, jnp.ones_like(guides))
    return GeneSums(
        strata.genes.rows[: strata.alone],
        log_variance + (classes.cells * jnp.log(u)).sum(-1),
        own.squares / shares.rest + jnp.maximum(squares - explained, 0.0),
        [of_means, _at_shares(own.deviations, shares.rest)],
        mean / jnp.sqrt(inflation),
        [],
        [],
    )


def sums_with_several_sets(
    at: GuideLines, strata: GuideStrata, sets: SetSums, classes: ClassSums, shares: Shares
) -> GeneSums:
    """Put the sums of genes with several sets together at their shares.

    What the means of sets weigh without interaction is summed over all lines, and what interactions
    take of it over the lines by class, but for those where the sets are unlike.
    """
    ragged = strata.ragged
    num_sets = ragged.guides.shape[1]
    there = ragged.guides > 0.0
    own, of_means = jax.tree.map(
        lambda x: jnp.where(there, x[ragged.set], 0.0), (sets, _sums_of_means(at, strata))
    )
    share, rest = shares.share[..., None], shares.rest[..., None]  # (shares, genes, classes)
    whole = strata.genes.guides[strata.alone :, None]
    z = rest * z_of(at, strata.classes)
    taken = share / (1.0 + share * whole / z) / z**2
    squares = (of_means.squares / rest).sum(-1) - (taken * classes.squares * whole**2).sum(-1)
    log_variance = own.log_variance + of_means.log_variance
    log_variance = (log_variance + (own.freedom + of_means.cells) * shares.log_rest[..., None]).sum(
        -1
    )
    log_variance += (classes.cells * jnp.log1p(share * whole / z)).sum(-1)
    precision_taken = (taken * classes.precision).sum(-1)
    product_taken = (taken * classes.product * whole).sum(-1)

    unlike = _unlike(at, strata, shares)
    guides = [ragged.guides[:, i] for i in range(num_sets)]
    measured = [
        of_means.product[:, i] / shares.rest - guides[i] * product_taken - unlike.product[i]
        for i in range(num_sets)
    ]
    between = [
        [
            (of_means.precision[:, i] / shares.rest if i == j else 0.0)
            - guides[i] * guides[j] * precision_taken
            - unlike.precision[min(i, j)][max(i, j) - min(i, j)]
            for j in range(num_sets)
        ]
        for i in range(num_sets)
    ]
    gram, product = _of_gene_and_sets(between, measured, log_ratio(at), guides)
    return GeneSums(
        strata.genes.rows[strata.alone :],
        log_variance + unlike.log_variance,
        squares - unlike.squares + own.squares.sum(-1) / shares.rest,
        [
            _at_shares(jax.tree.map(lambda x, i=i: x[:, i], own.deviations), shares.rest)
            for i in range(num_sets)
        ],
        None,
        gram,
        product,
    )


class _SumsOfMeans(NamedTuple):
    """What means of sets weigh, were there no interaction and the share zero, shape (sets,)."""

    squares: Array
    product: Array
    precision: Array
    log_variance: Array
    cells: Array


def _sums_of_means(at: GuideLines, strata: GuideStrata) -> _SumsOfMeans:
    log_noise, slope, _ = (x[strata.line] for x in of_lines(at))
    z = z_of(at, strata.replicates)
    weight = jnp.exp(-2.0 * log_noise) / z
    shift = (at.lines.location - strata.location)[strata.line]
    seen, mean, number = strata.sets.seen, strata.sets.mean, strata.sets.number
    columns = [weight * shift**2, -weight * slope * shift, weight * slope**2, jnp.log(z)]
    squares, product, precision, log_z = jnp.moveaxis(seen @ jnp.stack(columns, -1), -1, 0)
    squares += mean @ (-2.0 * weight * shift) + mean**2 @ weight
    product += mean @ (weight * slope)
    cells = seen.sum(-1)
    return _SumsOfMeans(
        number * squares,
        number * product,
        number * precision,
        log_z - cells * jnp.log(number),
        cells,
    )


class _Unlike(NamedTuple):
    """What interactions take in the lines in which sets are unlike, shape (shares, genes) each.

    Attributes
    ----------
    squares, product, precision
        Of the squares, of their products with slopes, and of precisions, for each set and for each
        pair of one and a later one.
    log_variance
        By how much they raise it.
    """

    squares: Array
    product: list[Array]
    precision: list[list[Array]]
    log_variance: Array


def _unlike(at: GuideLines, strata: GuideStrata, shares: Shares) -> _Unlike:
    ragged = strata.ragged
    num_genes, num_sets = ragged.guides.shape
    log_noise, slope, _ = (x[ragged.line] for x in of_lines(at))
    shift = (at.lines.location - strata.location)[ragged.line]
    share, rest = (x[:, ragged.gene, None] for x in shares[:2])
    seen = ragged.rows > 0.0
    number = jnp.moveaxis(ragged.guides[ragged.gene], 1, 0)[..., None]
    without_share = jnp.where(seen, number / z_of(at, jnp.where(seen, ragged.rows, 1.0)), 0.0)
    weight = [one / rest for one in without_share]
    whole = sum(weight, jnp.zeros(()))
    product = sum(
        (q * (mean - shift) for q, mean in zip(weight, ragged.mean, strict=True)), jnp.zeros(())
    )
    taken = jnp.exp(-2.0 * log_noise) * share / (1.0 + share * whole)

    def of_genes(of_lines: Array) -> Array:
        total = jax.ops.segment_sum(of_lines.sum(-1).T, ragged.gene, num_genes)
        return jnp.moveaxis(total, 0, -1)

    sloped = [taken * slope * q for q in weight]
    return _Unlike(
        of_genes(taken * product**2),
        [of_genes(q * product) for q in sloped],
        [
            [of_genes(sloped[i] * slope * weight[j]) for j in range(i, num_sets)]
            for i in range(num_sets)
        ],
        of_genes(jnp.log1p(share * whole)),
    )


def _of_gene_and_sets(
    between: list[list[Array]], measured: list[Array], ratio: Array, guides: list[Array]
) -> tuple[list[list[Array]], list[Array]]:
    """Precisions of a gene's effect and its sets' in units of their SDs, from those of sums."""
    size = [jnp.exp(ratio) * jnp.where(n > 0.0, n, 1.0) ** -0.5 for n in guides]
    zero = jnp.zeros(())
    rows = [sum(row, zero) for row in between]
    of_gene = [x * row for x, row in zip(size, rows, strict=True)]
    of_sets = [
        [x * y * entry for y, entry in zip(size, row, strict=True)]
        for x, row in zip(size, between, strict=True)
    ]
    gram = [
        [sum(rows, zero), *of_gene],
        *([one, *row] for one, row in zip(of_gene, of_sets, strict=True)),
    ]
    return gram, [sum(measured, zero), *(x * y for x, y in zip(size, measured, strict=True))]


def _at_shares(effects: Effects, rest: Array) -> Effects:
    """Deviations of guides where interaction leaves so much of the variance."""
    precision = effects.precision / rest
    return Effects(precision, effects.explained / rest, effects.copies)


def inflation_of(at: GuideLines, guides: Array) -> Array:
    """Variance of a gene's effect with the mean of its guides', in variances of gene effects."""
    return 1.0 + jnp.exp(2.0 * log_ratio(at)) / guides


def log_ratio(at: GuideLines) -> Array:
    """Logarithm of the SD of guide effects over that of gene effects."""
    return at.log_guide_sd - at.lines.log_slope.mean()
