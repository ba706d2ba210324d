r"""The likelihood of the lines from a Gram matrix, whose cost does not depend on the genes.

Without noise by gene, and where every gene has the same rows in every line, all genes have the same
weights w, and so the same D and L (:mod:`crossed_jax.models.screen.density`). The responses enter
through sums over genes of products of two lines' means alone. With means :math:`r_{gc}` measured
from the lines' estimates, their sums s and their Gram matrix M, columns
:math:`v = w k`, and the lines' shifts :math:`\Delta` from the estimates,

.. math::
    \sum_g B_g^2 = v^\top M v - 2 (v^\top \Delta)(v^\top s) + G (v^\top \Delta)^2, \qquad
    -2 \log p = \sum_g A_g + G \log(1 + D) + G L - \frac{\sum_g B_g^2}{1 + D} + N \log 2\pi .
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.models.screen.density import Lines, columns_of
from crossed_jax.models.screen.strata import Strata
from crossed_jax.types import Array


class Gram(NamedTuple):
    """Sums over the genes.

    Attributes
    ----------
    strata
        The lines, with no cells.
    product
        Products of two lines' means, less their estimates, shape (lines, lines).
    total
        Those means, shape (lines,).
    within
        Sums of squares about the cells' means, shape (lines with replicates,).
    genes
        Their number.
    between
        Sums of the deviations of samples' rows from their cells' means, shape (samples,);
        None where samples have no effects.
    """

    strata: Strata
    product: Array
    total: Array
    within: Array
    genes: Array
    between: Array | None = None


def gram_of(strata: Strata, num_genes: int) -> Gram | None:
    """Sum over the genes; None if not all have the same rows in every line."""
    seen, mean, within, _, between = strata.matrices
    if len(strata.line) > len(strata.location) or np.sum(seen) < num_genes * len(strata.line):
        return None
    means = np.asarray(mean).reshape(-1, len(strata.line))
    return Gram(
        strata=strata._replace(matrices=None),
        product=means.T @ means,
        total=means.sum(0),
        within=np.zeros(0) if within is None else np.sum(within, (0, 1)),
        genes=np.asarray(float(num_genes)),
        between=None if between is None else between.sum((0, 1)),
    )


def log_likelihood_of_gram(lines: Lines, gram: Gram) -> Array:
    """Log-likelihood of the lines, genes integrated out."""
    columns = columns_of(lines, gram.strata)
    of_shift, shift, precision, log_variance = columns.seen.sum(0)
    of_mean, v = columns.mean.T
    squares = gram.genes * of_shift + of_mean @ gram.total
    squares += columns.square[:, 0] @ jnp.diag(gram.product)
    squares += columns.within[: gram.within.shape[0], 0] @ gram.within
    if gram.between is not None:
        squares += jnp.asarray(columns.between)[:, 0] @ gram.between
    products = _quadratic(v, gram.product) + 2.0 * shift * (v @ gram.total)
    products += gram.genes * shift**2
    rows = gram.genes * gram.strata.replicates.sum()
    return -0.5 * (
        rows * math.log(2.0 * math.pi)
        + gram.genes * (log_variance + jnp.log1p(precision))
        + squares
        - products / (1.0 + precision)
    )


def _quadratic(v: Array, product: Array) -> Array:
    """The form v'Mv of a symmetric M, whose gradient 2 Mv does not read M again."""
    image = jax.lax.stop_gradient(product @ v)
    return 2.0 * (v @ image) - jax.lax.stop_gradient(v @ image)
