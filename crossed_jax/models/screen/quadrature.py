r"""One gene's likelihood with everything of the gene integrated out.

Given its log noise factor :math:`e` a gene's effect and its interactions are Gaussian and go in
closed form. Let its N rows measure the effect as :math:`\hat a \pm D^{-1/2}` at a noise factor of
one, with weighted squares E about that fit and L the sum of the logarithms of their variances
(:mod:`crossed_jax.models.screen.density`). In units in which :math:`a \sim \mathrm{Normal}(0, 1)`,
with :math:`v = e^{-2e}` and :math:`x = v D`,

.. math::
    -2 \log p(y \mid e) = N (\log 2\pi + 2 e) + L + \log(1 + x) + v E + \frac{x \hat a^2}{1 + x},
    \qquad
    a \mid y, e \sim \mathrm{Normal}\Big(\frac{x \hat a}{1 + x}, (1 + x)^{-1/2}\Big).

What is left is one number, :math:`e \sim \mathrm{Normal}(0, \tau)`, which adaptive Gauss-Hermite
quadrature integrates (Liu and Pierce, 1994, *Biometrika* 81:624): nodes about the mode of
:math:`p(y, e)`, as wide as its curvature there says. The integral does not depend on where the
nodes are but for its error, so they are held fixed where it is differentiated.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.models.distributions import Normal
from crossed_jax.types import Array

# posterior SDs of a gene's log noise factor up to which so many nodes err by less than 1e-6 a gene
ENOUGH_NODES = ((0.25, 15), (0.35, 25), (0.45, 41))
MOST_NODES = 65
NEWTON_STEPS = 6
LONGEST_STEP = 1.0


class GeneSums(NamedTuple):
    """What genes' likelihoods depend on, shape (genes,) each.

    Attributes
    ----------
    precision
        D: with which the rows measure the gene's effect, at a noise factor of one.
    mean
        Their weighted least-squares estimate of it, in SDs of gene effects.
    squares
        E: weighted squares about that fit.
    log_variance
        L: sum of the logarithms of the rows' variances.
    rows
        N: their number.
    """

    precision: Array
    mean: Array
    squares: Array
    log_variance: Array
    rows: Array


class Rule(NamedTuple):
    """Gauss-Hermite nodes and the logarithms of what their values count, shape (nodes,) each."""

    nodes: Array
    log_weights: Array


class Nodes(NamedTuple):
    """Values of e about each gene's mode and their probabilities, shape (nodes, genes)."""

    e: Array
    probability: Array

    def expected(self, values: Array) -> Array:
        """Posterior means of what has these values at the nodes, shape (genes,)."""
        return (self.probability * values).sum(0)


def gauss_hermite(num_nodes: int) -> Rule:
    r"""Give the rule for :math:`\int f(x)\,dx` with f near a standard Normal's density."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    return Rule(nodes, np.log(weights) + 0.5 * nodes**2)


def enough_nodes(
    tau: float, rows: float, enough: tuple[tuple[float, int], ...] = ENOUGH_NODES
) -> int:
    """How many nodes suffice for genes of so many rows, if their noise has the SD tau."""
    width = tau / math.sqrt(1.0 + 2.0 * rows * tau**2)
    return next((nodes for widest, nodes in enough if width <= widest), MOST_NODES)


def log_given_noise(sums: GeneSums, e: Array) -> Array:
    """Log-likelihood of genes given their log noise factors, of any shape that broadcasts."""
    v = jnp.exp(-2.0 * e)
    constant = sums.rows * math.log(2.0 * math.pi) + sums.log_variance
    inflation = jnp.log1p(v * sums.precision)
    return -0.5 * (constant + 2.0 * sums.rows * e + inflation + _squares_about_zero(sums, v))


def _squares_about_zero(sums: GeneSums, v: Array | float) -> Array:
    """Weighted squares of the rows about zero, the gene's effect integrated out."""
    x = v * sums.precision
    return v * sums.squares + x / (1.0 + x) * sums.mean**2


def effect_given_noise(sums: GeneSums, e: Array) -> tuple[Array, Array]:
    """Mean and variance of the genes' effects, in SDs of gene effects, given log noise factors."""
    x = jnp.exp(-2.0 * e) * sums.precision
    return x / (1.0 + x) * sums.mean, 1.0 / (1.0 + x)


def log_joint(sums: GeneSums, tau: Array, e: Array) -> Array:
    """Log-density of the genes' rows and log noise factors."""
    return log_given_noise(sums, e) + Normal(0.0, tau).log_prob(e)


def log_marginal(sums: GeneSums, tau: Array | None, rule: Rule) -> Array:
    """Log-likelihood of each gene, its log noise factor Normal(0, tau) integrated out.

    Without a tau the noise factor is one.
    """
    if tau is None:
        return log_given_noise(sums, jnp.zeros(()))
    mode, width = jax.lax.stop_gradient(mode_and_width(sums, tau))
    joint = log_joint(sums, tau, mode + width * rule.nodes[:, None])
    return jax.nn.logsumexp(joint + rule.log_weights[:, None], 0) + jnp.log(width)


def posterior_nodes(sums: GeneSums, tau: Array | None, rule: Rule) -> Nodes:
    """Each gene's posterior of its log noise factor, as the quadrature sees it."""
    if tau is None:
        return Nodes(*(jnp.full((1, *sums.rows.shape), value) for value in (0.0, 1.0)))
    mode, width = mode_and_width(sums, tau)
    e = mode + width * rule.nodes[:, None]
    return Nodes(e, jax.nn.softmax(log_joint(sums, tau, e) + rule.log_weights[:, None], 0))


def mode_and_width(sums: GeneSums, tau: Array) -> tuple[Array, Array]:
    """Mode of each gene's log noise factor and the SD that the curvature there stands for.

    Where the posterior curves less than the prior does, the prior's SD is the width.
    """
    free = jnp.maximum(sums.rows - 1.0, 1.0)
    at_best = 0.5 * jnp.log(_squares_about_zero(sums, 1.0) / free)
    information = 2.0 * sums.rows * tau**2
    e = jnp.clip(at_best, -4.0 * tau, 4.0 * tau) * information / (1.0 + information)

    def step(_: int, e: Array) -> Array:
        slope, curvature = _slope_and_curvature(sums, tau, e)
        return e + jnp.clip(slope / curvature, -LONGEST_STEP, LONGEST_STEP)

    e = jax.lax.fori_loop(0, NEWTON_STEPS, step, e)
    return e, _slope_and_curvature(sums, tau, e)[1] ** -0.5


def _slope_and_curvature(sums: GeneSums, tau: Array, e: Array) -> tuple[Array, Array]:
    """First derivative in e of log p(y, e), and minus the second, at least the prior's."""
    v = jnp.exp(-2.0 * e)
    x = v * sums.precision
    q = 1.0 + x
    explained = x * sums.mean**2
    slope = v * sums.squares + explained / q**2 + x / q - sums.rows - e / tau**2
    curvature = v * sums.squares + explained * (1.0 - x) / q**3 + x / q**2
    return slope, 2.0 * jnp.maximum(curvature, 0.0) + tau**-2
