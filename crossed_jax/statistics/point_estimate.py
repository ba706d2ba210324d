r"""A first estimate of everything, without sampling: where chains start and how wide they may look.

Variance components by Henderson's method I (Henderson, 1953, *Biometrics* 9:226): equate the
uncorrected sums of squares with their expectations. With :math:`n_{kl}` rows at level `l` of factor
`k` and :math:`n_{kl,jm}` rows at levels `l` of `k` and `m` of `j`,

.. math::
    E\sum_i y_i^2 &= N\mu^2 + N\textstyle\sum_j \sigma_j^2 + N\sigma^2 \\
    E\sum_l s_{kl}^2/n_{kl} &= N\mu^2 + \textstyle\sum_j \sigma_j^2
        \sum_l \sum_m n_{kl,jm}^2 / n_{kl} + L_k \sigma^2 \\
    E\,(\textstyle\sum_i y_i)^2/N &= N\mu^2 + \textstyle\sum_j \sigma_j^2 \sum_m n_{jm}^2/N
        + \sigma^2

and solve. Effects follow by backfitting: Gauss-Seidel sweeps over Henderson's mixed model
equations, each effect shrunk by :math:`n/(n + \sigma^2/\sigma_k^2)`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from crossed_jax.statistics.cells import Cells, PairCounts
from crossed_jax.statistics.least_squares import Decomposition, Explained


class Estimate(NamedTuple):
    """Point estimates of a crossed model, in the response's unit.

    Attributes
    ----------
    intercept
        Scalar.
    effects
        For each factor, shape (levels,), summing to zero.
    factor_sds
        Shape (factors,). Never zero: at least a third of what the data can resolve.
    sigma
        Residual SD, or the scale of the noise where that is estimated otherwise.
    evidence
        How firmly the data rule out an SD of zero, shape (factors,), in log-likelihood; see
        :attr:`crossed_jax.statistics.least_squares.Decomposition.evidence`.
    others
        What a model has besides, by name.
    """

    intercept: np.ndarray
    effects: tuple[np.ndarray, ...]
    factor_sds: np.ndarray
    sigma: np.ndarray
    evidence: np.ndarray
    others: Mapping[str, np.ndarray] = {}


def estimate(cells: Cells, pairs: PairCounts, decomposition: Decomposition) -> Estimate:
    """Estimate variance components by Henderson's method I and effects by backfitting.

    Parameters
    ----------
    cells, pairs
        The table, and the counts of its pairs of levels.
    decomposition
        Its sums of squares.
    """
    factor_sds, sigma = variance_components(cells, pairs, decomposition.residual)
    intercept, effects = backfit(cells, pairs, (sigma / factor_sds) ** 2)
    return Estimate(
        np.asarray(intercept), effects, factor_sds, np.asarray(sigma), decomposition.evidence
    )


def variance_components(
    cells: Cells, pairs: PairCounts, residual: Explained
) -> tuple[np.ndarray, float]:
    """Estimate the factors' SDs and the residual SD by Henderson's method I.

    On small sparse tables its residual variance may be far from what the residuals show, or
    negative. Where the residual mean square is more than twice as large or small, that is taken,
    and the equations are solved for the factors' variances given it.

    A variance that comes out below what the data can resolve, negative ones included, is raised to
    a tenth of the variance of a level's mean, so that its logarithm is a sane place to start.

    Parameters
    ----------
    cells, pairs
        The table, and the counts of its pairs of levels.
    residual
        What is left of its response once all factors are fitted by least squares.

    Returns
    -------
    factor_sds, sigma
        Shape (factors,) and scalar, in the response's unit.
    """
    num_factors = len(cells.num_levels)
    total = cells.counts.sum()
    mean = cells.means - (cells.counts @ cells.means) / total  # centred: smaller numbers, same SDs
    ones = [cells.level_sums(k, cells.counts) for k in range(num_factors)]

    # unknowns: mu^2, the factors' variances, sigma^2
    equations = np.full((num_factors + 2, num_factors + 2), total)
    equations[-1, 1:-1] = [(n @ n) / total for n in ones]
    equations[-1, -1] = 1.0
    squares = np.empty(num_factors + 2)
    squares[0] = cells.sum_squares_within + cells.counts @ mean**2
    squares[-1] = (cells.counts @ mean) ** 2 / total
    for k in range(num_factors):
        equations[k + 1, -1] = cells.num_levels[k]
        squares[k + 1] = np.sum(cells.level_sums(k, cells.counts * mean) ** 2 / ones[k])
        for j in range(num_factors):
            if j != k:
                squared = pairs[k, j] * pairs[k, j]
                equations[k + 1, j + 1] = np.sum(squared.sum(axis=1) / ones[k])

    solution = np.linalg.lstsq(equations, squares)[0]
    sigma2 = solution[-1]
    if residual.freedom:
        shown = residual.squares / residual.freedom
        if not 0.5 * shown < sigma2 < 2.0 * shown:
            sigma2 = shown
            solution = np.linalg.lstsq(equations[:, :-1], squares - sigma2 * equations[:, -1])[0]
    else:  # no residual to look at
        sigma2 = max(sigma2, 0.1 * squares[0] / total)
    floors = np.array([0.1 * sigma2 / n.mean() for n in ones])
    return np.sqrt(np.maximum(solution[1 : num_factors + 1], floors)), float(np.sqrt(sigma2))


def backfit(
    cells: Cells, pairs: PairCounts, variance_ratios: np.ndarray, max_sweeps: int = 100
) -> tuple[float, tuple[np.ndarray, ...]]:
    """Solve the mixed model equations for the effects by Gauss-Seidel sweeps.

    Parameters
    ----------
    cells, pairs
        The table, and the counts of its pairs of levels.
    variance_ratios
        sigma^2 over each factor's variance, shape (factors,); zeros give least squares.
    max_sweeps
        Where to stop on designs that converge slowly.

    Returns
    -------
    intercept, effects
        Scalar, and for each factor the zero-sum effects, shape (levels,).
    """
    factors = range(len(cells.num_levels))
    counts = [cells.level_sums(k, cells.counts) for k in factors]
    sums = [cells.level_sums(k, cells.counts * cells.means) for k in factors]

    total, grand_sum = counts[0].sum(), sums[0].sum()
    intercept = grand_sum / total
    effects = [np.zeros(n) for n in cells.num_levels]
    tolerance = 1e-9 * max(np.abs(cells.means - intercept).max(), np.finfo(float).tiny)
    for _ in range(max_sweeps):
        change = 0.0
        for k in factors:
            residual = sums[k] - intercept * counts[k]
            for j in factors:
                if j != k:
                    residual -= pairs[k, j] @ effects[j]
            new = residual / (counts[k] + variance_ratios[k])
            new -= new.mean()
            change = max(change, float(np.abs(new - effects[k]).max()))
            effects[k] = new
            intercept = (
                grand_sum - sum(n @ e for n, e in zip(counts, effects, strict=True))
            ) / total
        if change < tolerance:
            break
    return float(intercept), tuple(effects)
