r"""Posterior means and SDs of the effects without draws of them (Rao-Blackwell).

Given the SDs an effect is :math:`J(x)\,\omega` plus noise of known variance, with :math:`\omega` of
:mod:`crossed_jax.models.collapsed.back_substitution`, so posterior means and variances are
expectations, over the draws of the SDs, of Chebyshev series in x. With :math:`\ell_t` the
polynomial that is one at node :math:`x_t` and zero at the others,

.. math:: \frac1S \sum_s J(x_s)\,\omega_s
    = \sum_t J(x_t) \Big[\frac1S \sum_s \ell_t(x_s)\,\omega_s\Big]

and alike for the squares and the noise: sums over the nodes, with weights that the draws decide.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from crossed_jax.models.collapsed import chebyshev
from crossed_jax.models.collapsed.conditional import Conditional, Node, centered_diagonal
from crossed_jax.models.collapsed.elimination import elimination_weights


class NodeWeights(NamedTuple):
    """What the nodes count in a factor's posterior means and variances.

    Attributes
    ----------
    omega, second
        For the mean of J @ omega and of its square, shapes (nodes, B + 2) and
        (nodes, B + 2, B + 2). Beyond omega's B + 1 entries stands the unit less its mean.
    noise
        For variances of noise, shape (nodes,).
    """

    omega: np.ndarray
    second: np.ndarray
    noise: np.ndarray


def moments(given: Conditional) -> list[tuple[np.ndarray, np.ndarray]]:
    """Posterior mean and SD of each effect, averaged exactly over the draws of the SDs."""
    products = given.products
    center = given.border[0].mean(0)
    recenter = np.eye(len(center) + 1)
    recenter[:-1, -1] = -center
    draw_units = _by_factor_units(given, given.x)
    node_units = _by_factor_units(given, np.array([node.x for node in given.nodes]))
    weights = [
        _node_weights(given, center, at_draws, at_nodes)
        for at_draws, at_nodes in zip(draw_units, node_units, strict=True)
    ]

    first = [np.zeros(size) for size in products.num_levels]
    square = [np.zeros(size) for size in products.num_levels]
    reference: dict[int, np.ndarray] = {}
    num_inner = len(given.nodes) // given.shape[0]
    for start in range(0, len(given.nodes), num_inner):
        inner = slice(start, start + num_inner)
        covariances = {k: np.zeros_like(products.dense_gram) for k in products.gridded}
        for index, node in enumerate(given.nodes[inner], start):
            covariance = node.covariance
            for k in products.gridded:
                covariances[k] += weights[k].noise[index] * covariance
            for k, loading in _loadings(given, node):
                j = (loading @ recenter) / node_units[k][index]
                # from the first node's: no variance is a difference of large numbers
                r = reference.setdefault(k, j[:, -1].copy())
                j = np.column_stack([j[:, :-1], j[:, -1] - r, r])
                first[k] += j @ weights[k].omega[index]
                square[k] += ((j @ weights[k].second[index]) * j).sum(1)
        weight = weights[products.eliminated].noise[inner].sum()
        for k, variances in _noise_variances(given, given.nodes[start].ratio, weight, covariances):
            square[k] += variances
    return [
        (
            draw_units[k].mean() * reference[k] + first[k],
            np.sqrt(np.maximum(square[k] - first[k] ** 2, 0.0)),
        )
        for k in range(len(products.num_levels))
    ]


def _by_factor_units(given: Conditional, x: np.ndarray) -> list[np.ndarray]:
    """Units of each factor's interpolants at points of shape (points, gridded)."""
    units = [np.ones(len(x)) for _ in given.products.num_levels]
    for axis, k in enumerate(given.products.gridded):
        units[k] = given.units(x)[:, axis]
    return units


def _node_weights(
    given: Conditional, center: np.ndarray, at_draws: np.ndarray, at_nodes: np.ndarray
) -> NodeWeights:
    """Weights of the nodes in a factor's moments, given its units at draws and nodes."""
    border_mean, half = given.border
    u, sigma2 = at_draws[:, None], given.sigma**2
    omega = np.concatenate([u * (center - border_mean), u, u - u.mean()], axis=1)
    second = omega[:, :, None] * omega[:, None]
    border_variance = (u**2 * sigma2[:, None])[:, :, None] * (half @ half.swapaxes(1, 2))
    second[:, :-2, :-2] += border_variance
    noise = _mean_weights(given, at_draws * sigma2) / at_nodes
    return NodeWeights(_mean_weights(given, omega), _mean_weights(given, second), noise)


def _mean_weights(given: Conditional, values: np.ndarray) -> np.ndarray:
    """Weights that turn a function's values at the nodes into its mean against `values`."""
    mean = np.tensordot(given.basis, values, (0, 0)) / len(given.basis)
    weights = mean.reshape(*given.shape, -1)
    for axis, number in enumerate(given.shape):
        transform = chebyshev.values_to_coefficients(number).T
        weights = np.moveaxis(np.tensordot(transform, weights, (1, axis)), 0, axis)
    return weights.reshape(mean.shape)


def _loadings(given: Conditional, node: Node) -> Iterator[tuple[int, np.ndarray]]:
    """J of each factor: its zero-sum effects are J @ (-w, 1) plus noise."""
    products = given.products
    weights = elimination_weights(products, node.ratio)
    sums = products.eliminated_sums
    if products.dense:
        sums = sums - products.counts.times(node.dense_mean)
    border = -np.eye(sums.shape[1])[:-1]
    parts = (weights[:, None] * sums).T, node.dense_mean.T, border.T
    for k, levels in given.by_factor(*parts):
        yield k, (levels - levels.mean(1, keepdims=True)).T


def _noise_variances(
    given: Conditional, ratio: float, weight: float, covariances: dict[int, np.ndarray]
) -> Iterator[tuple[int, np.ndarray]]:
    """Variances of the zero-sum effects' noise, summed over the nodes at one `ratio`.

    `weight` is the sum of those nodes' weights for the eliminated factor, `covariances` the sums
    of the dense block's covariances, each weighted for one of the gridded factors.
    """
    products = given.products
    covariance = covariances[products.eliminated]
    weights = elimination_weights(products, ratio)
    diagonal, row, total = weight * weights, weight * weights, weight * weights.sum()
    if products.dense:
        product, quadratic = products.counts.quadratic(covariance)
        column = products.counts.transposed_times(weights[:, None])[:, 0]
        diagonal = diagonal + weights**2 * quadratic
        row = row + weights * (product @ column)
        total = total + column @ covariance @ column
    yield products.eliminated, centered_diagonal(diagonal, row, total)
    for position, k in enumerate(products.dense):
        yield k, given.dense_variances(position, covariances[k])


def conditionals(
    given: Conditional, factor: int, draws: np.ndarray, sd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give means and SDs of a factor's effects given some draws, shape (draws, levels).

    Of the eliminated factor's variance the part that comes from the dense block's noise is too dear
    to know level by level at every draw: it is what is missing from the posterior variance, whose
    root is `sd`, and is taken to move as the square of D times the dense block's mean variance.
    """
    products = given.products
    border_mean, half = (values[draws] for values in given.border)
    sigma = given.sigma[draws, None]
    mean = _means(given, factor, draws, np.concatenate([-border_mean, np.ones_like(sigma)], 1))
    variance = np.zeros_like(mean)
    for column in range(half.shape[2]):
        root = np.concatenate([-sigma * half[:, :, column], np.zeros_like(sigma)], axis=1)
        variance += _means(given, factor, draws, root) ** 2
    if factor in products.dense:
        variance += given.dense_variances_at(draws, products.dense.index(factor))
    if factor == products.eliminated:
        weights = elimination_weights(products, given.ratios[draws, factor, None])
        total = weights.sum(1, keepdims=True)
        variance += sigma**2 * centered_diagonal(weights, weights, total)
        if products.dense:
            positions = range(len(products.dense))
            dense = np.concatenate([given.dense_variances_at(draws, p) for p in positions], axis=1)
            passed_on = weights**2 * dense.mean(1, keepdims=True)
            missing = np.maximum(sd**2 - mean.var(0) - variance.mean(0), 0.0)
            variance += passed_on * (missing / np.maximum(passed_on.mean(0), np.finfo(float).tiny))
    return mean, np.sqrt(variance)


def _means(given: Conditional, factor: int, draws: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """J @ omega of a factor at some draws, shape (draws, levels)."""
    products = given.products
    if factor in products.border:
        levels = -omega[:, 1:-1][:, products.border_owner == factor]
    elif factor in products.dense:
        dense = given.dense_mean(draws, omega)
        levels = dense[:, products.dense_owner == products.dense.index(factor)]
    else:
        levels = omega @ products.eliminated_sums.T
        if products.dense:
            levels -= products.counts.times(given.dense_mean(draws, omega).T).T
        levels *= elimination_weights(products, given.ratios[draws, factor, None])
    return levels - levels.mean(1, keepdims=True)
