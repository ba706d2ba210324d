r"""Interactions: posterior moments, intervals and local false sign rates, without drawing them.

Given the lines and the gene's log noise factor e, with :math:`\hat a, \mathrm{var}\,a` the effect's
mean and variance (:mod:`crossed_jax.models.screen.quadrature`), the interaction of a cell of n rows
is Normal,

.. math::
    \gamma \sim \mathrm{Normal}\Big(\frac{\rho}{u}(r - k \hat a),\
    \sqrt{\frac{\rho (1 - \rho) V}{n u} + \Big(\frac{\rho k}{u}\Big)^2 \mathrm{var}\,a}\Big),

so its posterior is a mixture of Normals over draws of the lines and nodes of e. Means, variances
and :math:`P(\gamma \le 0)` are averaged over both (Rao-Blackwell); the ends of an interval are
where the mixture's distribution reaches its probability, by some steps of Newton's method on the
scale of scores from those of a Normal (:mod:`crossed_jax.models.collapsed.quantiles`). The local
false sign rate is :math:`\min(P(\gamma \le 0), P(\gamma \ge 0))` (Stephens, 2017,
*Biostatistics* 18:275).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import erfc, ndtri

from crossed_jax.models.screen.density import Lines, columns_of, gene_sums, shift_of
from crossed_jax.models.screen.quadrature import Rule, effect_given_noise, posterior_nodes
from crossed_jax.models.screen.strata import Matrices, Strata
from crossed_jax.types import Array

SCORE = 1.959963984540054  # of the ends of a 95% interval
SHAPING_DRAWS = 32
NEWTON_STEPS = 3


class Interactions(NamedTuple):
    """The posterior of each cell's interaction, in the response's unit.

    Attributes
    ----------
    residual
        Mean of the cell's rows less their expectation without interaction.
    mean, sd, lower, upper
        Posterior mean and SD, and the ends of a 95% interval.
    lfsr
        Local false sign rate.
    mean_error, lfsr_error
        Monte Carlo standard errors of the mean and of the rate, the draws of the lines being taken
        for independent.
    """

    residual: Array
    mean: Array
    sd: Array
    lower: Array
    upper: Array
    lfsr: Array
    mean_error: Array
    lfsr_error: Array


class Normals(NamedTuple):
    """Posteriors given a draw, shape (nodes, genes, strata), and (nodes, genes, 1)."""

    residual: Array
    mean: Array
    sd: Array
    probability: Array


def interactions(lines: Lines, strata: Strata, rule: Rule) -> Interactions:
    """Average the posteriors of all cells' interactions over draws of the lines.

    Parameters
    ----------
    lines
        Draws, leading dimension (draws,).
    strata
        The table.
    rule
        Nodes over the genes' noise.

    Returns
    -------
    Interactions
        Shape (blocks, genes, strata) each; without meaning where there is no cell.
    """
    return jax.lax.map(lambda block: _of_block(lines, strata, block, rule), strata.matrices)


def _of_block(lines: Lines, strata: Strata, block: Matrices, rule: Rule) -> Interactions:
    return summed_up(lambda one: _given_lines(one, strata, block, rule), lines)


def summed_up[Draws](given: Callable[[Draws], Normals], draws: Draws) -> Interactions:
    """Average posteriors over draws, leading dimension (draws,)."""

    def moments(one: Draws) -> tuple[Array, ...]:
        """What is averaged over draws."""
        normals = given(one)
        p = normals.probability
        mean = (p * normals.mean).sum(0)
        second = (p * (normals.sd**2 + normals.mean**2)).sum(0)
        z = normals.mean / normals.sd
        # both, as one less the other has lost the small rates of one sign
        tail = _distribution(-jnp.abs(z))
        below, above = ((p * jnp.where(side > 0, tail, 1.0 - tail)).sum(0) for side in (z, -z))
        return (p * normals.residual).sum(0), mean, second, below, above, mean**2, below**2

    number = jax.tree.leaves(draws)[0].shape[0]
    residual, mean, second, below, above, mean_squares, below_squares = _average(moments, draws)
    sd = jnp.sqrt(jnp.maximum(second - mean**2, 0.0))
    every = max(1, min(4, number // SHAPING_DRAWS))
    lower, upper = _ends(given, jax.tree.map(lambda x: x[::every], draws))
    return Interactions(
        residual,
        mean,
        sd,
        mean + sd * lower,
        mean + sd * upper,
        jnp.minimum(below, above),
        _standard_error(mean, mean_squares, number),
        _standard_error(below, below_squares, number),
    )


def _ends[Draws](given: Callable[[Draws], Normals], draws: Draws) -> Array:
    """Ends of the intervals in SDs from the mean, shape (2, genes, strata).

    The shape of a mixture needs fewer draws than its mean and SD.
    """

    def moments(one: Draws) -> tuple[Array, Array]:
        normals = given(one)
        p = normals.probability
        second = normals.sd**2 + normals.mean**2
        return (p * normals.mean).sum(0), (p * second).sum(0)

    mean, second = _average(moments, draws)
    sd = jnp.sqrt(jnp.maximum(second - mean**2, jnp.finfo(float).tiny))
    scores = jnp.array([-SCORE, SCORE])[:, None, None]

    def distribution(one: Draws, ends: Array) -> tuple[Array, Array]:
        """Distribution function and density of the mixture at the ends."""
        normals = given(one)
        p = normals.probability
        z = ((mean + sd * ends)[:, None] - normals.mean) / normals.sd
        density = jnp.exp(-0.5 * z**2) / normals.sd
        return (p * _distribution(z)).sum(1), (p * density).sum(1)

    def step(_: int, ends: Array) -> Array:
        reached, density = _average(lambda one: distribution(one, ends), draws)
        score = ndtri(jnp.clip(reached, 1e-12, 1.0 - 1e-12))
        step = (score - scores) * jnp.exp(-0.5 * score**2) / (sd * density)
        return ends - jnp.clip(step, -1.0, 1.0)

    return jax.lax.fori_loop(0, NEWTON_STEPS, step, jnp.broadcast_to(scores, (2, *mean.shape)))


def _distribution(z: Array) -> Array:
    """The standard Normal's distribution function; single precision is ample for an average."""
    return 0.5 * erfc(-math.sqrt(0.5) * z.astype(jnp.float32)).astype(z.dtype)


def _average[Draws](of_draw: Callable[[Draws], Any], draws: Draws) -> Any:
    """Average over the draws, one in memory at a time."""
    number = jax.tree.leaves(draws)[0].shape[0]
    shapes = jax.eval_shape(of_draw, jax.tree.map(lambda x: x[0], draws))
    zero = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)

    def add(total: Any, one: Draws) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, of_draw(one)), None

    return jax.tree.map(lambda total: total / number, jax.lax.scan(add, zero, draws)[0])


def _standard_error(mean: Array, mean_squares: Array, number: int) -> Array:
    return jnp.sqrt(jnp.maximum(mean_squares - mean**2, 0.0) / number)


def _given_lines(lines: Lines, strata: Strata, block: Matrices, rule: Rule) -> Normals:
    """The interactions' posteriors given a draw of the lines, at each node of the genes' noise."""
    line, n = strata.line, strata.replicates
    num_lines = lines.location.shape[0]
    sums = gene_sums(columns_of(lines, strata), block)
    tau = None if lines.log_gene_noise is None else jnp.exp(lines.log_gene_noise)
    nodes = posterior_nodes(sums, tau, rule)
    effect, variance = (x[..., None] for x in effect_given_noise(sums, nodes.e))
    logit_share = jnp.asarray(lines.logit_share)
    share, rest = jax.nn.sigmoid(logit_share), jax.nn.sigmoid(-logit_share)
    u = share + rest / n
    slope = jnp.exp(jnp.broadcast_to(lines.log_slope, (num_lines,))[line])
    noise = jnp.exp(2.0 * jnp.broadcast_to(lines.log_noise, (num_lines,)))[line]
    noise = share * rest / (n * u) * noise * jnp.exp(2.0 * nodes.e)[..., None]
    residual = block.mean - shift_of(lines, strata) - slope * effect
    sd = jnp.sqrt(noise + (share * slope / u) ** 2 * variance)
    return Normals(residual, share / u * residual, sd, nodes.probability[..., None])
