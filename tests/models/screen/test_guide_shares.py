"""Rules for the shares of genes: their nodes, and what they integrate."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from crossed_jax.models.screen.guides.estimate import of_shares
from crossed_jax.models.screen.guides.shares import (
    GRID,
    NodesInSDs,
    OwnNodes,
    gauss_rules,
    rules_of_shares,
)


def test_rules_of_a_normal_are_those_of_gauss_and_hermite():
    grid = np.linspace(-12.0, 12.0, 4001)
    probability = norm.pdf(grid, 0.3, 1.2)[:, None]
    nodes, weights = gauss_rules(grid, probability / probability.sum(), 7)
    wanted, factors = np.polynomial.hermite_e.hermegauss(7)
    np.testing.assert_allclose(nodes[:, 0], 0.3 + 1.2 * wanted, atol=1e-9)
    np.testing.assert_allclose(weights[:, 0], factors / factors.sum(), atol=1e-10)


def _skew(num_genes: int, logit: np.ndarray) -> np.ndarray:
    """Log-likelihoods that are cut at the right, of which half know of no cut at the left."""
    rng = np.random.default_rng(0)
    cut, steep = rng.normal(-1.0, 1.5, num_genes), rng.uniform(1.0, 6.0, num_genes)
    left = rng.choice([0.0, 3.0], num_genes)
    return -steep * np.log1p(np.exp(logit - cut)) - left * np.log1p(np.exp(cut - 1.0 - logit))


@pytest.mark.parametrize(
    ("num_genes", "kind", "near"),
    [
        (3000, OwnNodes, [(0.0, 1.0), (0.1, 1.05), (-0.1, 0.95)]),
        (20, NodesInSDs, [(0.0, 1.0), (1.0, 1.5), (-1.0, 1.5), (0.0, 0.1), (1.0, 0.01)]),
    ],
)
def test_rules_integrate_skew_likelihoods_wherever_the_genes_leave_their_prior(
    num_genes: int, kind: type, near: list[tuple[float, float]]
) -> None:
    """Few genes leave it open."""
    on_grid = _skew(num_genes, GRID[:, None])
    logit, sd = of_shares(on_grid)
    for rule in rules_of_shares(on_grid, logit, sd)[:2]:
        assert type(rule) is kind
        errors = []
        for shift, factor in near:
            mean, width = logit + shift, sd * factor
            fine = mean + np.linspace(-9.0, 9.0, 2001)[:, None] * width
            values = _skew(num_genes, fine) + norm.logpdf(fine, mean, width)
            wanted = logsumexp(values, 0) + np.log(fine[1, 0] - fine[0, 0])
            nodes, log_weights = rule.about(mean, np.log(width))
            values = _skew(num_genes, np.asarray(nodes)) + log_weights
            errors.append(logsumexp(values, 0).sum() - wanted.sum())
        assert np.ptp(errors) < 1e-2
