r"""Log-likelihood of the lines with everything of a gene and its guides integrated out.

Given a gene's noise factor e and share s everything else of it is Gaussian. With
:math:`v = e^{-2e}`, N rows whose variances have logarithms that sum to L, weighted squares E, and
independent effects measured with precisions D that explain F of the squares,

.. math::
    -2 \log p(y_g \mid e, s) = N (\log 2\pi + 2 e) + L + v E
        + \sum_j \Big[ c_j \log(1 + v D_j) + \frac{v F_j}{1 + v D_j} \Big] .

Effects that are not independent, of precision matrix G and product t, add
:math:`\log|1 + v G| - v^2 t'(1 + v G)^{-1} t`.

What is left are two numbers. The logit of the share is integrated by a rule that suits the gene
(:mod:`crossed_jax.models.screen.guides.shares`); and e, at each of its nodes, by adaptive
quadrature (:mod:`crossed_jax.models.screen.quadrature`).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from crossed_jax.models.distributions import Normal
from crossed_jax.models.screen.guides.lines import GuideLines, shares_of
from crossed_jax.models.screen.guides.sets import set_sums, sums_of_means
from crossed_jax.models.screen.guides.shares import ShareRule
from crossed_jax.models.screen.guides.sums import (
    GeneSums,
    class_sums,
    sums_with_one_set,
    sums_with_several_sets,
)
from crossed_jax.models.screen.guides.table import GuideStrata
from crossed_jax.models.screen.quadrature import Rule
from crossed_jax.types import Array

MIDDLE_STEPS, STEPS = 6, 2
LONGEST_STEP = 1.0
LEAST_REST = 1e-12


class GuideRules(NamedTuple):
    """Nodes of the two integrals.

    Attributes
    ----------
    noise
        In posterior SDs from the mode of each gene's e.
    share
        Of the logits of the genes' shares, in the order of the table laid out.
    """

    noise: Rule
    share: ShareRule


def log_given_noise(sums: GeneSums, e: Array) -> Array:
    """Log-likelihood of genes given their log noise factors, shape (..., shares, genes)."""
    v = jnp.exp(-2.0 * e)
    squares = sums.squares
    total = sums.rows * (math.log(2.0 * math.pi) + 2.0 * e) + sums.log_variance
    for precision, explained, copies in sums.effects:
        x = v * precision
        total += copies * jnp.log1p(x) + v * explained / (1.0 + x)
    if sums.gram:
        log_det, explained = _log_det_and_squares(sums.gram, sums.product, v)
        # where noise is nearly gone the difference has no digits left
        squares = jnp.maximum(squares - v * explained, LEAST_REST * squares)
        total += log_det
    return -0.5 * (total + v * squares)


def _log_det_and_squares(
    gram: list[list[Array]], product: list[Array], v: Array
) -> tuple[Array, Array]:
    r""":math:`\log|1 + vG|` and :math:`t'(1 + vG)^{-1}t`."""
    factor, solved = solve_lower(gram, product, v)
    zero = jnp.zeros(())
    log_det = sum((2.0 * jnp.log(row[-1]) for row in factor), zero)
    return log_det, sum((x**2 for x in solved), zero)


def _explained_and_trace(
    gram: list[list[Array]], product: list[Array], v: Array
) -> tuple[Array, Array]:
    r""":math:`t'(Q + Q^2)t` and the trace of :math:`1 - Q`, with :math:`Q = (1 + vG)^{-1}`."""
    factor, solved = solve_lower(gram, product, v)
    size, zero = len(product), jnp.zeros(())
    explained, trace = sum((x**2 for x in solved), zero), jnp.zeros_like(v)
    inverse: list[list[Array]] = []  # of the factor, columns from the diagonal down
    for j in range(size):
        column = [1.0 / factor[j][j]]
        for i in range(j + 1, size):
            inner = sum((factor[i][k] * column[k - j] for k in range(j, i)), zero)
            column.append(-inner / factor[i][i])
        inverse.append(column)
    for j, column in enumerate(inverse):
        explained += sum((x * y for x, y in zip(column, solved[j:], strict=True)), zero) ** 2
        trace += 1.0 - sum((x**2 for x in column), zero)
    return explained, trace


def solve_lower(
    gram: Sequence[Sequence[Array]], product: Sequence[Array], v: Array
) -> tuple[list[list[Array]], list[Array]]:
    r"""The Cholesky factor of :math:`1 + vG`, and what it times a vector gives t, written out.

    The matrices are small and many. The factor has its rows as far as the diagonal.
    """
    factor: list[list[Array]] = []
    solved: list[Array] = []
    zero = jnp.zeros(())
    for i in range(len(product)):
        row: list[Array] = []
        for j in range(i):
            inner = sum((row[k] * factor[j][k] for k in range(j)), zero)
            row.append((v * gram[i][j] - inner) / factor[j][j])
        added = v * gram[i][i] - sum((x**2 for x in row), zero)
        row.append(jnp.sqrt(1.0 + jnp.maximum(added, 0.0)))  # never negative but by rounding
        solved.append((product[i] - sum((row[k] * solved[k] for k in range(i)), zero)) / row[i])
        factor.append(row)
    return factor, solved


def log_likelihood(at: GuideLines, strata: GuideStrata, rules: GuideRules) -> Array:
    """Log-likelihood of the lines, genes and guides integrated out."""
    of_genes = jnp.concatenate(log_marginals(at, strata, rules))
    return jnp.where(strata.genes.rows > 0.0, of_genes, 0.0).sum()


def log_marginals(at: GuideLines, strata: GuideStrata, rules: GuideRules) -> list[Array]:
    """Log-likelihood of each gene, by group, see `GuideStrata.groups`."""
    nodes, log_weights = share_nodes(at, rules)
    return [
        jax.nn.logsumexp(noise_integrated_out(sums, at, rules.noise) + log_weights[:, some], 0)
        for some, sums in sums_of_genes(at, strata, nodes)
    ]


def share_nodes(at: GuideLines, rules: GuideRules) -> tuple[Array, Array]:
    """Nodes of the logits of the shares, and logarithms of what the likelihood counts there.

    Shape (nodes, genes); of one node where all genes have the same share.
    """
    if at.lines.logit_share is not None and at.log_share_sd is not None:
        return rules.share.about(at.lines.logit_share, at.log_share_sd)
    none = jnp.zeros((1, rules.share.log_weights.shape[1]))
    return none + (0.0 if at.lines.logit_share is None else at.lines.logit_share), none


def sums_of_genes(
    at: GuideLines, strata: GuideStrata, logit: Array
) -> list[tuple[slice, GeneSums]]:
    """Sums over the cells of each gene at some shares.

    Parameters
    ----------
    at, strata
        What is not a gene's, and the table.
    logit
        Of the genes' shares, shape (shares, genes).

    Returns
    -------
    list
        Of each group of genes, see `GuideStrata.groups`, their places and their sums.
    """
    of_sets = set_sums(at, strata), sums_of_means(at, strata)
    shares = shares_of(at, logit)
    classes = class_sums(at, strata)
    found = []
    for some, ragged in strata.groups:
        of_classes = jax.tree.map(lambda x, some=some: x[some], classes)
        of_shares = jax.tree.map(lambda x, some=some: x[:, some], shares)
        if ragged is None:
            sums = sums_with_one_set(at, strata, of_sets[0], of_classes, of_shares)
        else:
            sums = sums_with_several_sets(
                at, strata, (some, ragged), of_sets, of_classes, of_shares
            )
        found.append((some, sums))
    return found


def noise_integrated_out(sums: GeneSums, at: GuideLines, rule: Rule) -> Array:
    """Log-likelihood of genes given their shares, shape (shares, genes)."""
    return jax.nn.logsumexp(noise_nodes(sums, at, rule)[1], 0)


def noise_nodes(sums: GeneSums, at: GuideLines, rule: Rule) -> tuple[Array, Array]:
    """Nodes of log noise factors given shares, and logarithms of what they count.

    Of the genes' likelihoods, shape (nodes, shares, genes) each.
    """
    if at.lines.log_gene_noise is None:
        none = jnp.zeros((1, *sums.log_variance.shape))
        return none, log_given_noise(sums, none)
    tau = jnp.exp(at.lines.log_gene_noise)
    mode, width = jax.lax.stop_gradient(mode_and_width(sums, tau))
    e = mode + width * rule.nodes[:, None, None]
    return e, log_joint(sums, tau, e) + rule.log_weights[:, None, None] + jnp.log(width)


def log_joint(sums: GeneSums, tau: Array, e: Array) -> Array:
    """Log-density of the genes' rows and log noise factors, given their shares."""
    return log_given_noise(sums, e) + Normal(0.0, tau).log_prob(e)


def mode_and_width(sums: GeneSums, tau: Array) -> tuple[Array, Array]:
    """Where each gene's log noise factor is likely given its share, and a rough posterior SD.

    The mode at the middle share, and from it those at the others by what changes most: the squares.
    """
    middle = sums.log_variance.shape[0] // 2
    of_middle = jax.tree.map(
        lambda x: x[middle : middle + 1] if jnp.ndim(x) == 2 else x,
        sums,
    )
    start = jnp.zeros_like(of_middle.log_variance)
    e = jax.lax.fori_loop(0, MIDDLE_STEPS, lambda _, e: _step(e, *_at(of_middle, e), tau), start)
    squares, freedom = _at(sums, e)
    for _ in range(STEPS):
        e = _step(e, squares, freedom, tau)
    return e, (2.0 * jnp.maximum(freedom, 0.5) + tau**-2) ** -0.5


def _at(sums: GeneSums, e: Array) -> tuple[Array, Array]:
    r"""Squares that are left to noise, and their degrees of freedom, given log noise factors.

    The likelihood of e is highest where :math:`v S = n`. Of effects that are not independent, with
    :math:`Q = (1 + v G)^{-1}`, S is less by :math:`v t'(Q + Q^2) t` and n by the trace of 1 - Q.
    """
    v = jnp.exp(-2.0 * e)
    squares, freedom = sums.squares, sums.rows
    for precision, explained, copies in sums.effects:
        inflation = 1.0 + v * precision
        squares = squares + explained / inflation**2
        freedom = freedom - copies * (1.0 - 1.0 / inflation)
    if sums.gram:
        explained, trace = _explained_and_trace(sums.gram, sums.product, v)
        squares, freedom = squares - v * explained, freedom - trace
    return jnp.maximum(squares, 0.0), jnp.broadcast_to(freedom, squares.shape)


def _step(e: Array, squares: Array, freedom: Array, tau: Array) -> Array:
    """A step of Newton's method for squares of so many degrees of freedom."""
    squares = jnp.exp(-2.0 * e) * squares
    step = (squares - freedom - e / tau**2) / (2.0 * squares + tau**-2)
    return e + jnp.clip(step, -LONGEST_STEP, LONGEST_STEP)
