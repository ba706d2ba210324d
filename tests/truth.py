"""The posterior by quadrature: dense Gaussian conditionals averaged over a grid of log SDs.

Independent of the library's algebra: the posted model is written out with one column per mean and
per level, and nothing is integrated, reparameterized or reduced to cells.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from crossed_jax.models.priors import Priors
from crossed_jax.results.convergence import identified
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.types import Array


class Truth(NamedTuple):
    """Posterior means and SDs by name, of SDs those of their logarithms; vectors for levels.

    An SD that the data do not rule out to be large has so heavy a tail that the Monte Carlo errors
    of its own moments are far from normal.
    """

    mean: dict[str, np.ndarray]
    sd: dict[str, np.ndarray]


def dense_design(data: CrossedData) -> tuple[np.ndarray, list[slice]]:
    """Indicator columns of all levels of all factors, and the slice of each factor."""
    columns, slices, start = [], [], 0
    for factor in data.factors:
        columns.append(np.eye(len(factor.levels))[factor.codes])
        slices.append(slice(start, start + len(factor.levels)))
        start += len(factor.levels)
    return np.concatenate(columns, axis=1), slices


def log_marginal(
    data: CrossedData, priors: Priors, factor_sds: jax.Array, sigma: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log-likelihood of the SDs with all else integrated out, and the latents' conditional.

    The latents are the factor means, then all levels' intercepts.
    """
    design, slices = dense_design(data)
    num_factors = len(slices)
    owner = np.repeat(np.arange(num_factors), [s.stop - s.start for s in slices])
    observe = np.concatenate([np.zeros((len(design), num_factors)), design], axis=1)
    prior_mean = jnp.array([p.loc for p in priors.factor_means])
    prior_sd = jnp.array([p.scale for p in priors.factor_means])
    return _conditional(observe, data.response, owner, prior_mean, prior_sd, factor_sds, sigma)


@jax.jit
def _conditional(
    observe: Array,
    response: Array,
    owner: Array,
    prior_mean: Array,
    prior_sd: Array,
    factor_sds: Array,
    sigma: Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    num_factors = len(prior_mean)
    constant = jnp.concatenate([prior_mean, prior_mean[owner]])
    # latents = constant + lift @ standard normals, first those of the means, then of the levels
    lift = jnp.block(
        [
            [jnp.diag(prior_sd), jnp.zeros((num_factors, len(owner)))],
            [jnp.eye(num_factors)[owner] * prior_sd, jnp.diag(factor_sds[owner])],
        ]
    )

    # y = observe @ constant + loading @ z + noise, z standard normal: the matrix inversion lemma
    loading = observe @ lift
    residual = response - observe @ constant
    cholesky = jnp.linalg.cholesky(jnp.eye(loading.shape[1]) + loading.T @ loading / sigma**2)
    score = jax.scipy.linalg.solve_triangular(cholesky, loading.T @ residual, lower=True) / sigma**2
    log_likelihood = -0.5 * (
        len(residual) * jnp.log(2 * jnp.pi * sigma**2)
        + 2 * jnp.log(jnp.diag(cholesky)).sum()
        + residual @ residual / sigma**2
        - score @ score
    )
    root = jax.scipy.linalg.solve_triangular(cholesky, lift.T, lower=True).T
    return log_likelihood, constant + root @ score, root @ root.T


def log_sd_grid(data: CrossedData, priors: Priors, grids: list[np.ndarray]) -> np.ndarray:
    """Posterior mass at the nodes of uniform grids of the log SDs, the residual's last."""

    def at_node(log_sds: jax.Array) -> jax.Array:
        sds = jnp.exp(log_sds)
        log_weight, _, _ = log_marginal(data, priors, sds[:-1], sds[-1])
        return log_weight + log_sd_prior(priors, log_sds)

    nodes = np.stack(np.meshgrid(*grids, indexing="ij"), -1).reshape(-1, len(grids))
    log_weights = np.asarray(jax.jit(lambda x: jax.lax.map(at_node, x, batch_size=256))(nodes))
    weights = np.exp(log_weights - logsumexp(log_weights))
    return weights.reshape([len(grid) for grid in grids])


def log_sd_prior(priors: Priors, log_sds: jax.Array) -> jax.Array:
    """Log prior density of the log SDs."""
    sds = jnp.exp(log_sds)
    density = jnp.sum(log_sds)
    for prior, sd in zip((*priors.factor_sds, priors.sigma), sds, strict=True):
        density += prior.log_prob(sd)
    return density


def posterior_by_quadrature(data: CrossedData, priors: Priors, grids: list[np.ndarray]) -> Truth:
    """Average the conditional moments over uniform grids of the log SDs, the residual's last."""
    names = [factor.name for factor in data.factors]
    num_factors = len(names)
    _, slices = dense_design(data)
    size = num_factors + slices[-1].stop
    # rows: mu_k, alpha, then intercept and effects, each linear in the latents
    project = np.eye(size)
    intercept = np.zeros((1, size))
    effects = []
    for levels in slices:
        columns = slice(num_factors + levels.start, num_factors + levels.stop)
        number = levels.stop - levels.start
        intercept[0, columns] = 1.0 / number
        effect = np.zeros((number, size))
        effect[:, columns] = np.eye(number) - 1.0 / number
        effects.append(effect)
    project = np.concatenate([project, intercept, *effects])

    def at_node(log_sds: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        sds = jnp.exp(log_sds)
        log_weight, mean, covariance = log_marginal(data, priors, sds[:-1], sds[-1])
        log_weight += log_sd_prior(priors, log_sds)
        return log_weight, project @ mean, ((project @ covariance) * project).sum(1)

    nodes = np.stack(np.meshgrid(*grids, indexing="ij"), -1).reshape(-1, len(grids))
    log_weights, means, variances = map(
        np.asarray, jax.jit(lambda x: jax.lax.map(at_node, x, batch_size=256))(nodes)
    )
    weights = np.exp(log_weights - logsumexp(log_weights))
    boundary = _mass_on_faces(weights.reshape([len(g) for g in grids]))
    assert boundary < 1e-4, f"the grid cuts off the posterior: {boundary:.1e} on its faces"

    mean = weights @ means
    sd = np.sqrt(weights @ (variances + (means - mean) ** 2))
    log_mean = weights @ nodes
    log_sd = np.sqrt(weights @ (nodes - log_mean) ** 2)

    def named(vector: np.ndarray, of_logs: np.ndarray) -> dict[str, np.ndarray]:
        out = {"intercept": vector[size], "sigma": of_logs[-1]}
        position = size + 1
        for k, (name, levels) in enumerate(zip(names, slices, strict=True)):
            number = levels.stop - levels.start
            out[f"{name}_mean"] = vector[k]
            out[f"{name}_sd"] = of_logs[k]
            start = num_factors + levels.start
            out[f"{name}_intercept"] = vector[start : start + number]
            out[f"{name}_effect"] = vector[position : position + number]
            position += number
        return out

    return Truth(named(mean, log_mean), named(sd, log_sd))


def _mass_on_faces(weights: np.ndarray) -> float:
    inside = weights[tuple(slice(1, -1) for _ in weights.shape)].sum()
    return float(weights.sum() - inside)


def standardized_errors(tree, truth: Truth) -> dict[str, float]:
    """Largest distance from the truth of each variable's mean and SD, in Monte Carlo SEs."""
    errors = {}
    posterior = tree["posterior"].to_dataset()
    for name, draws in posterior.data_vars.items():
        values = draws.transpose("chain", "draw", ...).to_numpy()
        if name == "sigma" or str(name).endswith("_sd"):
            values = np.log(values)
        for moment, expected in (("mean", truth.mean[name]), ("sd", truth.sd[name])):
            found = values.mean((0, 1)) if moment == "mean" else values.std((0, 1))
            error = array_stats.mcse(values, chain_axis=0, draw_axis=1, method=moment)
            errors[f"{name} {moment}"] = float(np.max(np.abs(found - expected) / error))
    return errors


def disagreement(first, second) -> float:
    """Largest difference of the means of identified quantities, in Monte Carlo standard errors."""
    worst = 0.0
    for name in identified(first):
        means, squares = [], []
        for tree in (first, second):
            draws = tree["posterior"][name].transpose("chain", "draw", ...).to_numpy()
            means.append(draws.mean((0, 1)))
            squares.append(array_stats.mcse(draws, chain_axis=0, draw_axis=1) ** 2)
        error = np.sqrt(squares[0] + squares[1])
        worst = max(worst, float(np.max(np.abs(means[0] - means[1]) / error)))
    return worst


def assert_normal(draws: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Hold moments of independent draws, shape (draws, rows), to these at 4.5 standard errors."""
    error = np.sqrt(np.diag(covariance) / len(draws))
    np.testing.assert_array_less(np.abs(draws.mean(0) - mean), 4.5 * error)
    spread = np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2
    off = np.abs(np.cov(draws.T) - covariance)
    np.testing.assert_array_less(off, 4.5 * np.sqrt(spread / len(draws)))
