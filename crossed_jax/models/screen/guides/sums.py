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
:math:`\omega` and n: sums are kept by the number of replicates. Guides that differ in their noise
are a set each, which weighs :math:`e^{-2 f_u}` in place of U.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from crossed_jax.models.screen.density import shift_of
from crossed_jax.models.screen.guides.lines import (
    GuideLines,
    Shares,
    inflation_of,
    log_ratio,
    of_lines,
    z_of,
)
from crossed_jax.models.screen.guides.sets import (
    Effects,
    SetSums,
    SumsOfMeans,
    weights_of_sets,
)
from crossed_jax.models.screen.guides.table import GuideStrata, Ragged
from crossed_jax.types import Array


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


def class_sums(at: GuideLines, strata: GuideStrata) -> ClassSums:
    """Sum over the lines in which all guides of a gene have equally many rows."""
    log_noise, slope, _ = (x[strata.line] for x in of_lines(at))
    weight = jnp.exp(-2.0 * log_noise)
    shift = shift_of(at.lines, strata)
    seen, mean = strata.genes.seen, _means_of_genes(at, strata)

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


def _means_of_genes(at: GuideLines, strata: GuideStrata) -> Array:
    """Means over guides where all are seen alike, as these weigh, in the shape of `Genes.mean`."""
    if at.log_guide_noise is None:
        return strata.genes.mean
    of_genes = []
    for ragged in strata.ragged:
        weight = _weights_of_ragged(at, strata, ragged)
        of_sets = jnp.einsum("gu,gus->gs", weight, strata.sets.mean[ragged.set])
        whole = weight.sum(-1, keepdims=True)
        of_genes.append(of_sets / jnp.where(whole > 0.0, whole, 1.0))
    return strata.genes.seen * jnp.concatenate(of_genes)


def _weights_of_ragged(at: GuideLines, strata: GuideStrata, ragged: Ragged) -> Array:
    """What the sets of genes with several weigh, shape (genes, sets); zero where there is none."""
    return jnp.where(ragged.guides > 0.0, weights_of_sets(at, strata)[ragged.set], 0.0)


def sums_with_one_set(
    at: GuideLines, strata: GuideStrata, sets: SetSums, classes: ClassSums, shares: Shares
) -> GeneSums:
    """Put the sums of genes with one set together at their shares."""
    guides = jnp.maximum(strata.genes.guides[: strata.alone], 1.0)  # a block may be filled up
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
    at: GuideLines,
    strata: GuideStrata,
    group: tuple[slice, Ragged],
    of_sets: tuple[SetSums, SumsOfMeans],
    classes: ClassSums,
    shares: Shares,
) -> GeneSums:
    """Put the sums of genes with several sets together at their shares.

    What the means of sets weigh without interaction is summed over all lines, and what interactions
    take of it over the lines by class, but for those where the sets are unlike.
    """
    some, ragged = group
    num_sets = ragged.guides.shape[1]
    there = ragged.guides > 0.0
    after = jnp.maximum(ragged.set - strata.alone, 0)  # those that are a whole gene go first
    own = jax.tree.map(lambda x: jnp.where(there, x[ragged.set], 0.0), of_sets[0])
    of_means = jax.tree.map(lambda x: jnp.where(there, x[after], 0.0), of_sets[1])
    share, rest = shares.share[..., None], shares.rest[..., None]  # (shares, genes, classes)
    weights = _weights_of_ragged(at, strata, ragged)
    whole = weights.sum(-1, keepdims=True)
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

    unlike = _unlike(at, strata, ragged, weights, shares)
    guides, weight = ([x[:, i] for i in range(num_sets)] for x in (ragged.guides, weights))
    measured = [
        of_means.product[:, i] / shares.rest - weight[i] * product_taken - unlike.product[i]
        for i in range(num_sets)
    ]
    between = [
        [
            (of_means.precision[:, i] / shares.rest if i == j else 0.0)
            - weight[i] * weight[j] * precision_taken
            - unlike.precision[min(i, j)][max(i, j) - min(i, j)]
            for j in range(num_sets)
        ]
        for i in range(num_sets)
    ]
    gram, product = _of_gene_and_sets(between, measured, log_ratio(at), guides)
    return GeneSums(
        strata.genes.rows[some],
        log_variance + unlike.log_variance,
        squares - unlike.squares + own.squares.sum(-1) / shares.rest,
        # guides that are a set each have no deviations from its mean
        [
            _at_shares(jax.tree.map(lambda x, i=i: x[:, i], own.deviations), shares.rest)
            for i in range(num_sets if strata.sets.guide is None else 0)
        ],
        None,
        gram,
        product,
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


def _unlike(
    at: GuideLines, strata: GuideStrata, ragged: Ragged, weights: Array, shares: Shares
) -> _Unlike:
    num_genes, num_sets = ragged.guides.shape
    log_noise, slope, _ = (x[ragged.line] for x in of_lines(at))
    of_strata = shift_of(at.lines, strata)
    share, rest = (x[:, ragged.gene, None] for x in shares[:2])
    rows = strata.replicates[ragged.stratum]
    number = jnp.moveaxis(weights[ragged.gene], 1, 0)[..., None]
    without_share = jnp.where(ragged.there, number / z_of(at, rows), 0.0)
    weight = [one / rest for one in without_share]
    whole = sum(weight, jnp.zeros(()))
    product = sum(
        (
            q * (mean - of_strata[stratum])
            for q, mean, stratum in zip(weight, ragged.mean, ragged.stratum, strict=True)
        ),
        jnp.zeros(()),
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
    rows: list[Array] = [sum(row, zero) for row in between]
    of_gene = [x * row for x, row in zip(size, rows, strict=True)]
    of_sets = [
        [x * y * entry for y, entry in zip(size, row, strict=True)]
        for x, row in zip(size, between, strict=True)
    ]
    gram: list[list[Array]] = [[sum(rows, zero), *of_gene]]
    gram += [[one, *row] for one, row in zip(of_gene, of_sets, strict=True)]
    return gram, [sum(measured, zero), *(x * y for x, y in zip(size, measured, strict=True))]


def _at_shares(effects: Effects, rest: Array) -> Effects:
    """Deviations of guides where interaction leaves so much of the variance."""
    precision = effects.precision / rest
    return Effects(precision, effects.explained / rest, effects.copies)
