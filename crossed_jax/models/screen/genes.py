r"""The genes given draws of the lines: drawn back exactly, and averaged without drawing.

Given the lines, genes are independent. A gene's log noise factor e has a density known up to a
constant (:mod:`crossed_jax.models.screen.quadrature`), given which its effect is Normal. So e is
drawn from the quadrature's nodes, and moved by some steps of an independence sampler about the mode
(Tierney, 1994, *Annals of Statistics* 22:1701), which forgets where it began but for the rate at
which it rejects, to the power of its steps.

Reported are effects that sum to zero. With :math:`\bar a` the mean over genes, gene g has
:math:`a_g - \bar a`, and line c the centred :math:`\beta_c + k_c \bar a`, whose mean is the
intercept. Their means and variances given a draw of the lines are averaged over the draws
(Rao-Blackwell).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from crossed_jax.models.screen.density import Lines, columns_of, gene_sums
from crossed_jax.models.screen.quadrature import (
    GeneSums,
    Nodes,
    Rule,
    effect_given_noise,
    log_joint,
    mode_and_width,
    posterior_nodes,
)
from crossed_jax.models.screen.strata import Strata
from crossed_jax.types import Array

MOVES = 6
SMALLEST = 1e-12  # probability of a proposal's tail


class Effects(NamedTuple):
    """Of all genes and lines, in the response's unit; log noise is None without noise by gene.

    Attributes
    ----------
    intercept
        Scalar.
    gene, line
        Zero-sum effects, shape (genes,) and (lines,).
    gene_log_noise
        Shape (genes,).
    """

    intercept: Array
    gene: Array
    line: Array
    gene_log_noise: Array | None


class Given(NamedTuple):
    """A draw of everything given the lines, and the means and variances it was drawn from."""

    draw: Effects
    mean: Effects
    variance: Effects


def effects_given_lines(
    key: jax.Array, lines: Lines, strata: Strata, rule: Rule, num_genes: int
) -> Given:
    """Draw the genes given a draw of the lines, and give their moments.

    Parameters
    ----------
    key
        Of what is drawn.
    lines
        A draw of the lines.
    strata, rule
        As for the likelihood.
    num_genes
        Without those that fill the last block up.
    """
    sums = sums_of_genes(lines, strata, num_genes)
    tau = None if lines.log_gene_noise is None else jnp.exp(lines.log_gene_noise)
    nodes = posterior_nodes(sums, tau, rule)
    gene_sd = jnp.exp(lines.log_slope.mean())
    slope = jnp.exp(lines.log_slope) / gene_sd * jnp.ones_like(lines.location)
    of_noise, of_effect = jax.random.split(key)
    e = None if tau is None else _draw_log_noise(of_noise, sums, tau, nodes)
    given_e, spread = effect_given_noise(sums, jnp.zeros(()) if e is None else e)
    drawn = given_e + jnp.sqrt(spread) * jax.random.normal(of_effect, given_e.shape)

    means, variances = effect_given_noise(sums, nodes.e)
    mean = nodes.expected(means)
    variance = nodes.expected(variances) + nodes.expected((means - mean) ** 2)
    mean_e = None if tau is None else nodes.expected(nodes.e)
    variance_e = None if mean_e is None else nodes.expected((nodes.e - mean_e) ** 2)
    return Given(
        zero_sum(gene_sd * drawn, e, lines.location, slope),
        zero_sum(gene_sd * mean, mean_e, lines.location, slope),
        variance_of_zero_sum(gene_sd**2 * variance, variance_e, slope),
    )


def sums_of_genes(lines: Lines, strata: Strata, num_genes: int) -> GeneSums:
    """Sums over the cells of each gene, without those that fill the last block up."""
    sums = gene_sums(columns_of(lines, strata), strata.matrices)
    return GeneSums(*(values.reshape(-1)[:num_genes] for values in sums))


def zero_sum(a: Array, e: Array | None, location: Array, slope: Array) -> Effects:
    """Report effects that sum to zero."""
    line = jnp.asarray(location + slope * a.mean())
    return Effects(line.mean(), a - a.mean(), line - line.mean(), e)


def variance_of_zero_sum(of_a: Array, of_e: Array | None, slope: Array) -> Effects:
    """Variances of what :func:`zero_sum` gives of independent genes."""
    number = of_a.shape[0]
    of_mean = of_a.sum() / number**2
    return Effects(
        slope.mean() ** 2 * of_mean,
        of_a * (1.0 - 2.0 / number) + of_mean,
        (slope - slope.mean()) ** 2 * of_mean,
        of_e,
    )


def _draw_log_noise(key: jax.Array, sums: GeneSums, tau: Array, nodes: Nodes) -> Array:
    """Draw each gene's log noise factor given its rows, shape (genes,)."""
    mode, width = mode_and_width(sums, tau)
    first, later = jax.random.split(key)
    place = (jax.random.uniform(first, mode.shape) > jnp.cumsum(nodes.probability, 0)).sum(0)
    place = jnp.minimum(place, nodes.e.shape[0] - 1)
    z = (jnp.take_along_axis(nodes.e, place[None], 0)[0] - mode) / width

    def log_weight(z: Array) -> Array:
        """Density over that of the proposals, Student-t with two degrees of freedom."""
        return log_joint(sums, tau, mode + width * z) + 1.5 * jnp.log1p(0.5 * z**2)

    def move(state: Any, key: jax.Array) -> tuple[Any, None]:
        z, weight = state
        of_proposal, of_choice = jax.random.split(key)
        proposal = student_t(of_proposal, z.shape)
        proposed = log_weight(proposal)
        accept = jnp.log(jax.random.uniform(of_choice, z.shape)) < proposed - weight
        return (jnp.where(accept, proposal, z), jnp.where(accept, proposed, weight)), None

    moved, _ = jax.lax.scan(move, (z, log_weight(z)), jax.random.split(later, MOVES))
    return mode + width * moved[0]


def student_t(key: jax.Array, shape: tuple[int, ...]) -> Array:
    """Draw from Student's t with two degrees of freedom."""
    p = jax.random.uniform(key, shape, minval=SMALLEST)
    return (2.0 * p - 1.0) / jnp.sqrt(2.0 * p * (1.0 - p))
