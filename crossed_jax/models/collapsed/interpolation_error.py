"""How good the interpolants of the collapsed form are where it was drawn from."""

import numpy as np

from crossed_jax.models.collapsed import density as collapsed
from crossed_jax.models.collapsed.conditional import Conditional, solve_core


def interpolation_error(
    given: Conditional, moments: list[tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """Measure the interpolants against exact solves, at the first draw and the extreme ones.

    Parameters
    ----------
    moments
        What `moments` gave: errors of effects are measured in their posterior SDs.

    Returns
    -------
    dict
        Largest error of the log-density (but for a constant), of the effects' means given the
        SDs, and of the core's effects' SDs given the SDs. Empty where nothing is interpolated.
    """
    table, model_data = given.table, given.model_data
    if not table.core:
        return {}
    density_errors, mean_errors, sd_errors = [], [], []
    for index in np.unique([0, *given.x.argmin(0), *given.x.argmax(0)]):
        ratios = given.ratios[index]
        eliminated = collapsed.eliminate(table, ratios[table.eliminated])
        core_ratios = ratios[list(table.core)]
        exact = collapsed.condense(table, eliminated, core_ratios)
        interpolated, _ = model_data.condensed.at(np.log(ratios[table.gridded]))
        density_errors.append(
            _log_likelihood(given, interpolated, index) - _log_likelihood(given, exact, index)
        )
        node = solve_core(table, eliminated, ratios[table.eliminated], core_ratios)
        draw = np.array([index])
        omega = np.append(-given.border[0][index], 1.0)
        error = given.core_mean(draw, omega[None]) - node.core_mean @ omega
        weights = node.ratio / (1.0 + table.rows * node.ratio)
        passed_on = -weights * table.counts.times(error.T).T
        for k, errors in given.by_factor(passed_on, error, np.zeros((1, len(omega) - 1))):
            mean_errors.append(_largest(errors - errors.mean(), moments[k][1]))
        size = len(table.core_owner)
        found = given.core_noise(np.full(size, index), np.eye(size, dtype=np.float32))
        root = given.sigma[index] * node.inverse_factor * node.scale
        for position, k in enumerate(table.core):
            levels = table.core_owner == position
            sds = [_zero_sum_sds(half[:, levels]) for half in (found, root)]
            sd_errors.append(_largest(sds[0] - sds[1], moments[k][1]))
    return {
        "log_density": float(np.ptp(density_errors)),
        "effect_means": max(mean_errors),
        "effect_sds": max(sd_errors),
    }


def _log_likelihood(given: Conditional, condensed: collapsed.Condensed, index: int) -> float:
    """Log-likelihood of one draw of the SDs, but for what no condensation changes."""
    scale, gram = given.border_scale[index], np.asarray(condensed.gram)
    inner = np.eye(len(scale)) + scale[:, None] * gram[:-1, :-1] * scale
    score, total = collapsed.border_score(gram, scale, given.shift)
    squares = total - score @ np.linalg.solve(inner, score)
    log_det = condensed.log_det + np.linalg.slogdet(inner)[1]
    return -0.5 * float(log_det + squares / given.sigma[index] ** 2)


def _zero_sum_sds(root: np.ndarray) -> np.ndarray:
    """SDs of levels of covariance root' @ root, less their mean."""
    return np.linalg.norm(root - root.mean(1, keepdims=True), axis=0)


def _largest(errors: np.ndarray, posterior_sds: np.ndarray) -> float:
    """Largest error in posterior SDs; effects that are zero by definition have none."""
    return float(np.max(np.abs(errors) / np.maximum(posterior_sds, np.finfo(float).tiny)))
