r"""Student-t noise: :math:`y_i \sim t_\nu(\mu_i, \sigma)`, independent given the effects.

With residuals :math:`r_i = y_i - \mu_i` and :math:`\tau = \nu\sigma^2`,

.. math::
    \log p(y \mid \mu, \sigma, \nu) = N \Big[\log\frac{\Gamma(\frac{\nu+1}2)}{\Gamma(\frac\nu2)}
        - \tfrac12 \log \pi\nu\sigma^2\Big] - \frac{\nu + 1}2 \sum_i \log(1 + r_i^2/\tau).

The sum over rows is all that a gradient costs, so it and its derivatives, those of each :math:`r_i`
being :math:`2 r_i / (\tau + r_i^2)`, are taken in one pass over the rows
(:mod:`crossed_jax.statistics.rows`). The degrees of freedom have the prior Gamma(2, 0.1) of Juárez
and Steel (2010, *Journal of Business & Economic Statistics* 28:52).

A response is Normal given a weight of its own, so chains start from reweighted least squares:
given :math:`w_i = (\nu + 1)/(\nu + r_i^2/\sigma^2)` the effects' conditional means are those of
weighted cells under Gaussian noise, and :math:`\sigma, \nu` and the factors' SDs follow from them
(the EM algorithm of Lange, Little and Taylor, 1989, *JASA* 84:881). Fisher's information of a row
on its expectation is :math:`(\nu + 1)/(\nu + 3)/\sigma^2`, which widens the conditional SDs.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.models.collapsed.collapse import effects_at
from crossed_jax.models.distributions import Gamma, inside_support, log_density_of_log
from crossed_jax.models.parameterization import ModelData, log_sd_scales
from crossed_jax.models.parts import Noise, Quantity
from crossed_jax.models.priors import Priors
from crossed_jax.statistics.cells import Cells, blocks, cell_of_row, pair_counts
from crossed_jax.statistics.design import require_scale, robust_sd
from crossed_jax.statistics.least_squares import decompose
from crossed_jax.statistics.point_estimate import Estimate
from crossed_jax.statistics.rows import Rows, rows_of
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.types import Array

MOST_SWEEPS = 30
TOLERANCE = 1e-2  # of logarithms; warm-up does the rest
LARGE_NU = 200.0
FIRST_NU = 4.0
NU_BOUNDS = (0.5, 50.0)  # to start from
PRIOR_INFORMATION = 1.0  # on log nu: chains start no wider than an SD of one, however few the rows


class Position(NamedTuple):
    """Unconstrained coordinates."""

    log_sigma: Array
    log_nu: Array


def statistics(table: CrossedData, cells: Cells, point: Estimate) -> Rows:
    """All rows of the table."""
    del cells, point
    return rows_of(table)


def log_priors(position: Position, data: ModelData) -> Iterator[Array]:
    """Log-densities of the logarithms of sigma and nu."""
    yield log_density_of_log(data.priors.sigma, position.log_sigma)
    yield log_density_of_log(data.priors.others["nu"], position.log_nu)


def log_likelihood(
    position: Position, data: ModelData, intercept: Array, effects: tuple[Array, ...]
) -> Array:
    """Log-density of all responses."""
    nu, rows = jnp.exp(position.log_nu), data.statistics
    excess = log_excess(rows, intercept, effects, jnp.exp(2.0 * position.log_sigma) * nu)
    return rows.num_rows * (log_constant(nu) - position.log_sigma) - 0.5 * (nu + 1.0) * excess


def log_constant(nu: Array) -> Array:
    r"""Log-density of a standard Student-t number at zero.

    It is :math:`-\frac12 \log 2\pi + h(\nu)`, where h is a difference of logarithms of large Gamma
    functions, or of large nu the asymptotic :math:`-1/4\nu + 1/24\nu^3 - 1/20\nu^5`.
    """
    gammaln = jax.scipy.special.gammaln
    small = jnp.minimum(nu, LARGE_NU)
    exact = gammaln(0.5 * (small + 1.0)) - gammaln(0.5 * small) - 0.5 * jnp.log(0.5 * small)
    inverse = 1.0 / jnp.maximum(nu, LARGE_NU)
    asymptotic = inverse * (-1.0 / 4.0 + inverse**2 * (1.0 / 24.0 - inverse**2 / 20.0))
    return jnp.where(nu < LARGE_NU, exact, asymptotic) - 0.5 * jnp.log(2.0 * jnp.pi)


@jax.custom_vjp
def log_excess(rows: Rows, intercept: Array, effects: tuple[Array, ...], tau: Array) -> Array:
    """Sum over rows of log(1 + r^2 / tau)."""
    return _log_excess_forward(rows, intercept, effects, tau)[0]


def _log_excess_forward(
    rows: Rows, intercept: Array, effects: tuple[Array, ...], tau: Array
) -> tuple[Array, tuple[Array, tuple[Array, ...], Array]]:
    """The sum, and its derivatives by all but the rows."""
    total, by_tau, scores = jnp.asarray(0.0), jnp.asarray(0.0), []
    inverse = 1.0 / tau  # of a row's two divisions, one is a product
    for block, residual in zip(rows.blocks, rows.residuals(intercept, effects), strict=True):
        there = residual if block.present is None else residual * block.present
        inflation = 1.0 + inverse * there * there
        # computed once, where each of the sums would compute it anew
        score = jax.lax.optimization_barrier(there / inflation)
        total += _sum_of_logs(inflation)
        by_tau -= inverse * (inverse * jnp.sum(score * there))
        scores.append(score)
    by_effects = tuple(-2.0 * inverse * sums for sums in rows.level_sums(scores))
    return total, (jnp.sum(by_effects[0]), by_effects, by_tau)


def _sum_of_logs(values: Array) -> Array:
    """Sum of the logarithms of numbers of one and more: of the products of eight at a time."""
    eighths = values.shape[0] // 8
    together, alone = values[: 8 * eighths], values[8 * eighths :]
    products = together.reshape(8, eighths, values.shape[1]).prod(0)
    return jnp.log(products).sum() + jnp.log(alone).sum()


def _log_excess_backward(
    gradients: tuple[Array, tuple[Array, ...], Array], cotangent: Array
) -> tuple:
    return None, *jax.tree.map(lambda gradient: cotangent * gradient, gradients)


log_excess.defvjp(_log_excess_forward, _log_excess_backward)


def center(data: ModelData) -> Position:
    """Give the estimate's position."""
    point = data.estimate
    return Position(jnp.log(point.sigma), jnp.log(point.others["nu"]))


def scale(data: ModelData) -> Position:
    """Rough posterior SDs of the coordinates, from Fisher's information."""
    point = data.estimate
    nu = point.others["nu"]
    _, of_log_sigma = log_sd_scales(data.num_levels, data.statistics.num_rows)
    return Position(of_log_sigma * jnp.sqrt((nu + 3.0) / nu), point.others["log_nu_sd"])


def values(position: Position) -> dict[str, Array]:
    """Sigma and nu by name."""
    return {"sigma": jnp.exp(position.log_sigma), "nu": jnp.exp(position.log_nu)}


def variance(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Variance of a response about its expectation, infinite for nu of 2 and less."""
    nu = values["nu"]
    with np.errstate(divide="ignore"):
        return np.where(nu > 2.0, values["sigma"] ** 2 * nu / np.maximum(nu - 2.0, 0.0), np.inf)


def simulate(
    generator: np.random.Generator, values: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> np.ndarray:
    """Draw noise."""
    noise = generator.standard_t(values["nu"], shape)
    noise *= values["sigma"]
    return noise


def log_density(residuals: np.ndarray, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Log-density of each row."""
    from scipy.special import gammaln

    sigma, nu = values["sigma"], values["nu"]
    constant = gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu) - 0.5 * np.log(np.pi * nu)
    tail = 0.5 * (nu + 1.0) * np.log1p((residuals / sigma) ** 2 / nu)
    return constant - np.log(sigma) - tail


def estimate(
    table: CrossedData, cells: Cells, priors: Priors, rough: Estimate
) -> tuple[Estimate, tuple[np.ndarray, ...]]:
    """Estimate everything by reweighted least squares.

    Returns
    -------
    Estimate
        With `nu` and `log_nu_sd`, the rough posterior SD of its logarithm, among the others.
    tuple of ndarray
        For each factor the rough SDs of its effects given all SDs and nu, shape (levels,).
    """
    cell = cell_of_row(cells, table)
    point, conditional_sds = effects_at(cells, priors, rough)
    residuals = _residuals(table, cells, cell, point)
    point = point._replace(intercept=point.intercept + np.median(residuals))
    # outliers widen the estimate; where most residuals are equal, it is all that there is
    sigma = min(robust_sd(residuals), float(point.sigma)) or float(point.sigma)
    nu = FIRST_NU
    # effects take their share of the residuals
    freedom = max(cells.num_rows - sum(size - 1 for size in cells.num_levels) - 1, 1)
    for _ in range(MOST_SWEEPS):
        before = np.log([sigma, nu, *point.factor_sds])
        residuals = _residuals(table, cells, cell, point)
        sigma, nu = _scale_and_freedom(residuals, sigma, freedom)
        sigma = inside_support(priors.sigma, sigma)
        require_scale(sigma, table.response)
        weighted = _reweighted(table, cells, cell, (nu + 1.0) / (nu + (residuals / sigma) ** 2))
        point = point._replace(sigma=np.asarray(sigma))
        point, conditional_sds = effects_at(weighted, priors, point)
        shift = np.average(
            weighted.residuals(point.intercept, point.effects), None, weighted.counts
        )
        point = point._replace(intercept=point.intercept + shift)
        sds = [
            inside_support(
                prior, np.sqrt((effects @ effects + of_effects @ of_effects) / (len(effects) - 1))
            )
            for prior, effects, of_effects in zip(
                priors.factor_sds, point.effects, conditional_sds, strict=True
            )
        ]
        point = point._replace(factor_sds=np.array(sds))
        if np.abs(np.log([sigma, nu, *sds]) - before).max() < TOLERANCE:
            break
    nu = inside_support(priors.others["nu"], nu)
    information = cells.num_rows * nu**2 * _information(nu) + PRIOR_INFORMATION
    evidence = _evidence(weighted, cells.num_rows)
    others = {"nu": np.asarray(nu), "log_nu_sd": np.asarray(information**-0.5)}
    widening = np.sqrt((nu + 3.0) / (nu + 1.0))
    return point._replace(evidence=evidence, others=others), tuple(
        widening * sds for sds in conditional_sds
    )


def _evidence(weighted: Cells, num_rows: int) -> np.ndarray:
    """How firmly the rows, outliers weighed down, rule out an SD of zero for each factor."""
    share = num_rows / weighted.counts.sum()
    squares = share * weighted.sum_squares_within
    cells = weighted._replace(counts=share * weighted.counts, sum_squares_within=squares)
    return decompose(cells, pair_counts(cells), len(blocks(cells))).evidence


def _residuals(table: CrossedData, cells: Cells, cell: np.ndarray, point: Estimate) -> np.ndarray:
    """Of each row."""
    expected = cells.means - cells.residuals(point.intercept, point.effects)
    return table.response - expected[cell]


def _reweighted(table: CrossedData, cells: Cells, cell: np.ndarray, weights: np.ndarray) -> Cells:
    """Cells of rows that count as often as their weights say."""
    counts = np.bincount(cell, weights)
    means = np.bincount(cell, weights * table.response) / counts
    squares = float(weights @ (table.response - means[cell]) ** 2)
    return cells._replace(counts=counts, means=means, sum_squares_within=squares)


def _scale_and_freedom(residuals: np.ndarray, sigma: float, freedom: int) -> tuple[float, float]:
    """Likeliest nu of residuals at a scale, and the scale that follows from their weights.

    Its square is divided by the sum of the weights and not by their expectation, one each, which
    is the same where it stays, and much faster (Kent, Tyler and Vardi, 1994, *Communications in
    Statistics: Simulation* 23:441).
    """
    from scipy import optimize, special

    squares = (residuals / sigma) ** 2

    def minus_log_likelihood(log_nu: float) -> float:
        nu = np.exp(log_nu)
        constant = special.gammaln(0.5 * (nu + 1.0)) - special.gammaln(0.5 * nu) - 0.5 * log_nu
        return 0.5 * (nu + 1.0) * np.log1p(squares / nu).sum() - len(squares) * constant

    options = {"xatol": 1e-3}
    found = optimize.minimize_scalar(
        minus_log_likelihood, bounds=np.log(NU_BOUNDS), method="bounded", options=options
    )
    nu = float(np.exp(found.x))
    weights = (nu + 1.0) / (nu + squares)
    share = freedom / len(squares)
    return sigma * float(np.sqrt(weights @ squares / (share * weights.sum()))), nu


def _information(nu: float) -> float:
    """Fisher's information of a row on nu (Lange, Little and Taylor, 1989)."""
    from scipy.special import polygamma

    trigammas = polygamma(1, 0.5 * nu) - polygamma(1, 0.5 * (nu + 1.0))
    return float(0.25 * trigammas - (nu + 5.0) / (2.0 * nu * (nu + 1.0) * (nu + 3.0)))


NOISE = Noise(
    name="student_t",
    parameterizations=("sum_to_zero", "original"),
    quantities=(
        Quantity("sigma", "residual scale", in_unit=True),
        Quantity("nu", "degrees of freedom", in_unit=False, prior=Gamma(2.0, 0.1)),
    ),
    statistics=statistics,
    estimate=estimate,
    log_priors=log_priors,
    log_likelihood=log_likelihood,
    center=center,
    scale=scale,
    values=values,
    variance=variance,
    simulate=simulate,
    log_density=log_density,
)
