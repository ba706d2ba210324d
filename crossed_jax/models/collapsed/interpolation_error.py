"""How good the interpolants of the collapsed form are where it was drawn from."""

import numpy as np

from crossed_jax.models.collapsed.border import border_system
from crossed_jax.models.collapsed.conditional import Conditional, solve_dense_block
from crossed_jax.models.collapsed.elimination import (
    Condensed,
    condense,
    eliminate,
    elimination_weights,
)


def interpolation_error(
    given: Conditional, moments: list[tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """Measure the interpolants against exact solves, at the first draw and the extreme ones.

    Parameters
    ----------
    given
        The effects given draws of the SDs.
    moments
        Their posterior means and SDs: errors of effects are measured in these SDs.

    Returns
    -------
    dict
        Largest error of the log-density (but for a constant), of the effects' means given the
        SDs, and of the dense block's effects' SDs given the SDs. Empty where nothing is
        interpolated.
    """
    products = given.products
    if not products.dense:
        return {}
    density_errors, mean_errors, sd_errors = [], [], []
    for index in np.unique([0, *given.x.argmin(0), *given.x.argmax(0)]):
        ratios = given.ratios[index]
        eliminated = eliminate(products, ratios[products.eliminated])
        dense_ratios = ratios[list(products.dense)]
        exact = condense(products, eliminated, dense_ratios)
        interpolated, _ = given.model_data.condensed.at(np.log(ratios[products.gridded]))
        density_errors.append(
            _log_likelihood(given, interpolated, index) - _log_likelihood(given, exact, index)
        )
        node = solve_dense_block(products, eliminated, dense_ratios)
        draw = np.array([index])
        omega = np.append(-given.border[0][index], 1.0)
        error = given.dense_mean(draw, omega[None]) - node.dense_mean @ omega
        weights = elimination_weights(products, node.ratio)
        passed_on = -weights * products.counts.times(error.T).T
        for k, errors in given.by_factor(passed_on, error, np.zeros((1, len(omega) - 1))):
            mean_errors.append(_largest(errors - errors.mean(), moments[k][1]))
        size = len(products.dense_owner)
        found = given.dense_noise(np.full(size, index), np.eye(size, dtype=np.float32))
        root = given.sigma[index] * node.inverse_factor * node.relative_sds
        for position, k in enumerate(products.dense):
            levels = products.dense_owner == position
            sds = [_zero_sum_sds(half[:, levels]) for half in (found, root)]
            sd_errors.append(_largest(sds[0] - sds[1], moments[k][1]))
    return {
        "log_density": float(np.ptp(density_errors)),
        "effect_means": max(mean_errors),
        "effect_sds": max(sd_errors),
    }


def _log_likelihood(given: Conditional, condensed: Condensed, index: int) -> float:
    """Log-likelihood of one draw of the SDs, but for what no condensation changes."""
    gram, relative_sds = np.asarray(condensed.gram), given.border_relative_sds[index]
    matrix, score, total = border_system(gram, relative_sds, given.shift)
    squares = total - score @ np.linalg.solve(matrix, score)
    log_det = condensed.log_det + np.linalg.slogdet(matrix)[1]
    return -0.5 * float(log_det + squares / given.sigma[index] ** 2)


def _zero_sum_sds(root: np.ndarray) -> np.ndarray:
    """SDs of levels of covariance root' @ root, less their mean."""
    return np.linalg.norm(root - root.mean(1, keepdims=True), axis=0)


def _largest(errors: np.ndarray, posterior_sds: np.ndarray) -> float:
    """Largest error in posterior SDs; effects that are zero by definition have none."""
    return float(np.max(np.abs(errors) / np.maximum(posterior_sds, np.finfo(float).tiny)))
