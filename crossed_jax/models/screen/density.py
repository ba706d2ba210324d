r"""Log-likelihood of the lines: everything of a gene is integrated out.

For gene g, line c and replicate r the screen model is

.. math::
    y_{gcr} = \beta_c + k_c a_g + \gamma_{gc} + \epsilon_{gcr}, \qquad
    a_g \sim \mathrm{Normal}(0, \sigma_a), \\
    \gamma_{gc} \sim \mathrm{Normal}(0, \sqrt{\rho V_{gc}}), \quad
    \epsilon_{gcr} \sim \mathrm{Normal}(0, \sqrt{(1 - \rho) V_{gc}}), \quad
    V_{gc} = \sigma^2 e^{2 d_c + 2 e_g}, \quad e_g \sim \mathrm{Normal}(0, \tau).

Given the lines genes are independent. With a cell's mean :math:`\bar y`, sum of squares W about it
and n rows, :math:`u = \rho + (1 - \rho)/n`, :math:`r = \bar y - \beta_c`, and the precision
:math:`w = e^{-2 d_c}/(\sigma^2 u)` of the mean at :math:`e_g = 0`, a gene's sums over its cells are

.. math::
    A = \sum w r^2 + \frac{\sum e^{-2 d_c} W}{\sigma^2 (1 - \rho)}, \quad B = \sum w k_c r, \quad
    D = \sum w k_c^2, \quad \hat a = B / D, \quad E = A - B \hat a, \\
    L = \sum 2 n (\log\sigma + d_c) + \log(n u) + (n - 1) \log(1 - \rho),

from which :mod:`crossed_jax.models.screen.quadrature` has its likelihood; slopes hold the SD of
gene effects, :math:`\sigma_a k_c`, so that effects are in units of it. The sums are products of
gene x stratum matrices with columns that the lines decide, for all chains together, block by block
(:mod:`crossed_jax.models.screen.blocks`); the squares of the means are cheaper to compute again
than to read.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from crossed_jax.models.screen.blocks import sum_over_blocks
from crossed_jax.models.screen.quadrature import GeneSums, Rule, log_marginal
from crossed_jax.models.screen.strata import Matrices, OfSamples, Strata
from crossed_jax.types import Array


class Lines(NamedTuple):
    """What the likelihood depends on.

    Attributes
    ----------
    location
        :math:`\\beta_c`, shape (lines,).
    log_slope
        :math:`\\log k_c + \\log\\sigma_a`: lines' SDs of gene effects, shape (lines,) or (1,).
    log_noise
        :math:`\\log\\sigma + d_c`, shape (lines,) or (1,).
    log_gene_noise
        :math:`\\log\\tau`; None without noise by gene.
    logit_share
        Of :math:`\\rho`; None without interaction.
    sample
        Effects of samples about the means of their lines, which the locations hold, shape
        (samples,); None where these have none.
    """

    location: Array
    log_slope: Array
    log_noise: Array
    log_gene_noise: Array | None
    logit_share: Array | None
    sample: Array | None = None


class Columns(NamedTuple):
    """What the matrices are multiplied with, shape (strata, columns) each.

    And one for what samples differ by, shape (samples, 1), or None.
    """

    seen: Array
    mean: Array
    square: Array
    within: Array
    between: Array | None


def columns_of(lines: Lines, strata: Strata) -> Columns:
    """Weights of the strata in the genes' sums; a gene effect's SD is one, as slopes hold it."""
    line, n = strata.line, strata.replicates
    num_lines = lines.location.shape[0]
    log_noise = jnp.broadcast_to(lines.log_noise, (num_lines,))[line]
    slope = jnp.exp(jnp.broadcast_to(lines.log_slope, (num_lines,))[line])
    shift = shift_of(lines, strata)
    if lines.logit_share is None:
        u, log_rest, rest = 1.0 / n, jnp.zeros(()), jnp.ones(())
    else:
        log_rest = jax.nn.log_sigmoid(-lines.logit_share)
        rest = jnp.exp(log_rest)
        u = jax.nn.sigmoid(lines.logit_share) + rest / n
    precision = jnp.exp(-2.0 * log_noise)
    w = precision / u
    log_variances = 2.0 * n * log_noise + jnp.log(n * u) + (n - 1.0) * log_rest
    squares, between = w * shift**2, None
    if strata.samples is not None:
        squares += precision / rest * squares_of_samples(lines, strata)
        of_lines = jnp.exp(-2.0 * lines.log_noise) * jnp.ones(num_lines) / rest
        between = between_samples(lines, strata.samples, of_lines)[:, None]
    return Columns(
        seen=jnp.stack([squares, -w * slope * shift, w * slope**2, log_variances], -1),
        mean=jnp.stack([-2.0 * w * shift, w * slope], -1),
        square=w[:, None],
        within=(precision / rest)[:, None],
        between=between,
    )


def shift_of(lines: Lines, strata: Any) -> Array:
    """What lines and samples add to the means of cells as they are kept, shape (strata,)."""
    shift = jnp.asarray(lines.location - strata.location)[strata.line]
    if strata.samples is None:
        return shift
    samples = strata.samples
    return shift + (samples.share * _beside_estimate(lines, samples)[samples.of_strata]).sum(-1)


def squares_of_samples(lines: Lines, strata: Any) -> Array:
    """Sum over a cell's rows of the squares of samples' effects about its mean, shape (strata,)."""
    share = strata.samples.share
    effect = _beside_estimate(lines, strata.samples)[strata.samples.of_strata]
    mean = (share * effect).sum(-1, keepdims=True)
    return strata.replicates * (share * (effect - mean) ** 2).sum(-1)


def between_samples(lines: Lines, samples: OfSamples, weight: Array) -> Array:
    """What sums of samples' deviations count in the squares, with weights of lines."""
    return -2.0 * weight[samples.line] * _beside_estimate(lines, samples)


def _beside_estimate(lines: Lines, samples: OfSamples) -> Array:
    assert lines.sample is not None
    return jnp.asarray(lines.sample - samples.estimate)


def gene_sums(columns: Columns, matrices: Matrices) -> GeneSums:
    """Sums over the cells of each gene."""
    of_seen, of_mean = matrices.seen @ columns.seen, matrices.mean @ columns.mean
    squares = of_seen[..., 0] + of_mean[..., 0] + (matrices.mean**2 @ columns.square)[..., 0]
    if matrices.within is not None:
        replicated = matrices.within.shape[-1]
        squares += (matrices.within @ columns.within[:replicated])[..., 0]
    if matrices.between is not None:
        squares += (matrices.between @ jnp.asarray(columns.between))[..., 0]
    product, precision = of_seen[..., 1] + of_mean[..., 1], of_seen[..., 2]
    mean = product / jnp.where(precision > 0.0, precision, 1.0)  # a block's last may be empty
    # a gene of one cell fits it exactly
    squares = jnp.maximum(squares - product * mean, 0.0)
    return GeneSums(precision, mean, squares, of_seen[..., 3], matrices.rows)


def log_likelihood(lines: Lines, strata: Strata, rule: Rule) -> Array:
    """Log-likelihood of the lines, genes integrated out."""
    parameters = columns_of(lines, strata), lines.log_gene_noise
    return sum_over_blocks(_of_block, parameters, strata.matrices, rule)


def _of_block(parameters: tuple[Columns, Array | None], block: Matrices, rule: Rule) -> Array:
    columns, log_tau = parameters
    tau = None if log_tau is None else jnp.exp(log_tau)
    return log_marginal(gene_sums(columns, block), tau, rule).sum()
