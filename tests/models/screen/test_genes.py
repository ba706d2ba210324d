"""The genes given the lines: draws against closed moments, and those against dense normals."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit, softmax
from scipy.stats import multivariate_normal
from screen_tables import simulated
from screens import screen_of

from crossed_jax.models.screen.density import Lines
from crossed_jax.models.screen.genes import Given, effects_given_lines
from crossed_jax.models.screen.parameterization import PARAMETERIZATION, ScreenData, start
from crossed_jax.models.screen.parts import Parts
from crossed_jax.models.screen.quadrature import gauss_hermite

NUM_GENES, NUM_LINES = 12, 4
DATA = simulated(3, NUM_GENES, NUM_LINES, 2)


@cache
def _screen() -> tuple[ScreenData, Lines]:
    screen = screen_of(DATA, Parts())
    return screen, PARAMETERIZATION.quantities(start(jax.random.key(1), screen), screen).lines


def _given(num_draws: int) -> Given:
    screen, lines = _screen()
    keys = jax.random.split(jax.random.key(0), num_draws)
    one = partial(
        effects_given_lines,
        lines=lines,
        strata=jax.tree.map(jnp.asarray, screen.statistics),
        rule=gauss_hermite(41),
        num_genes=NUM_GENES,
    )
    return jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=500))(keys)


def _dense(g: int, e: float) -> tuple[float, float, float]:
    """Log-density of a gene's rows at a log noise factor, and its effect's mean and variance."""
    _, lines = _screen()
    gene, line = (factor.codes for factor in DATA.factors)
    at = line[gene == g]
    k = np.exp(np.asarray(lines.log_slope))[at]
    variance = np.exp(2.0 * np.asarray(lines.log_noise) + 2.0 * e)[at]
    share = expit(float(lines.logit_share))
    noise = np.where(at[:, None] == at, share * variance, 0.0)
    noise += np.diag((1.0 - share) * variance)
    residual = DATA.response[gene == g] - np.asarray(lines.location)[at]
    precision = 1.0 + k @ np.linalg.solve(noise, k)
    mean = k @ np.linalg.solve(noise, residual) / precision
    log_density = multivariate_normal.logpdf(residual, None, np.outer(k, k) + noise)
    return log_density, mean, 1.0 / precision


def test_moments_are_those_of_dense_normals() -> None:
    _, lines = _screen()
    tau = np.exp(float(lines.log_gene_noise))
    e = np.linspace(-8.0 * tau, 8.0 * tau, 401)
    gene_sd = np.exp(float(lines.log_slope.mean()))
    means, variances, log_noise = [], [], []
    for g in range(NUM_GENES):
        log_density, mean, variance = np.transpose([_dense(g, x) for x in e])
        weights = softmax(log_density - 0.5 * (e / tau) ** 2)
        means.append(gene_sd * weights @ mean)
        variances.append(gene_sd**2 * (weights @ (variance + mean**2) - (weights @ mean) ** 2))
        log_noise.append(weights @ e)
    found = jax.tree.map(lambda x: x[0], _given(1))
    np.testing.assert_allclose(found.mean.gene, means - np.mean(means), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(found.mean.gene_log_noise, log_noise, rtol=1e-6, atol=1e-8)
    slope = np.exp(np.asarray(lines.log_slope)) / gene_sd
    line = np.asarray(lines.location) + slope * np.mean(means)
    np.testing.assert_allclose(found.mean.intercept, line.mean(), rtol=1e-8)
    np.testing.assert_allclose(found.mean.line, line - line.mean(), rtol=1e-7, atol=1e-9)
    centring = np.eye(NUM_GENES) - 1.0 / NUM_GENES
    wanted = np.diag(centring @ np.diag(variances) @ centring)
    np.testing.assert_allclose(found.variance.gene, wanted, rtol=1e-6)


def test_draws_have_these_moments() -> None:
    """Independent draws: their means and variances within 4.5 standard errors, 62 of them each."""
    number = 40_000
    given = _given(number)
    for drawn, mean, variance in zip(*jax.tree.map(np.asarray, given), strict=True):
        error = np.sqrt(variance[0] / number)
        np.testing.assert_array_less(abs(drawn.mean(0) - mean[0]), 4.5 * error)
        fourth = ((drawn - mean) ** 4).mean(0)
        error = np.sqrt((fourth - variance[0] ** 2) / number)
        np.testing.assert_array_less(abs(drawn.var(0) - variance[0]), 4.5 * error)
