"""Where chains start and nodes lie: rules of the genes' own, and what they are made from."""

import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from crossed_jax.models.screen.guides.density import solve_lower
from crossed_jax.models.screen.guides.estimate import GRID, gauss_rules, of_guides, of_shares


def test_rules_of_a_normal_are_those_of_gauss_and_hermite():
    grid = np.linspace(-12.0, 12.0, 4001)
    probability = norm.pdf(grid, 0.3, 1.2)[:, None]
    nodes, weights = gauss_rules(grid, probability / probability.sum(), 7)
    wanted, factors = np.polynomial.hermite_e.hermegauss(7)
    np.testing.assert_allclose(nodes[:, 0], 0.3 + 1.2 * wanted, atol=1e-9)
    np.testing.assert_allclose(weights[:, 0], factors / factors.sum(), atol=1e-10)


def test_rules_of_skew_likelihoods_integrate_them_where_the_scalars_lie_near():
    """Flat to the left and cut at the right, as of a gene with little interaction."""
    rng = np.random.default_rng(0)
    cut, steep = rng.normal(-1.0, 1.5, 300), rng.uniform(1.0, 6.0, 300)

    def log_likelihood(logit: np.ndarray) -> np.ndarray:
        return -steep * np.log1p(np.exp(logit - cut))

    found = of_shares(log_likelihood(GRID[:, None]))
    fine = np.linspace(-14.0, 9.0, 4001)[:, None]
    errors = []
    for shift, factor in ((0.0, 1.0), (0.1, 1.05), (-0.1, 0.95)):
        mean, sd = found.logit + shift, found.sd * factor
        values = log_likelihood(fine) + norm.logpdf(fine, mean, sd)
        wanted = logsumexp(values, 0) + np.log(fine[1, 0] - fine[0, 0])
        nodes = found.rule[0] + found.logit
        values = log_likelihood(nodes) + norm.logpdf(nodes, mean, sd)
        errors.append(logsumexp(values + found.rule[1], 0).sum() - wanted.sum())
    assert np.ptp(errors) < 1e-3


def test_shares_are_found_from_likelihoods_that_know_them():
    rng = np.random.default_rng(1)
    truth = rng.normal(-2.0, 1.3, 2000)
    found = of_shares(-0.5 * ((GRID[:, None] - truth) / 0.3) ** 2)
    assert abs(found.logit + 2.0) < 4.0 * 1.3 / np.sqrt(2000)
    assert abs(found.sd - 1.3) < 4.0 * 1.3 / np.sqrt(4000)


def test_guides_are_parted_from_genes():
    rng = np.random.default_rng(2)
    gene = np.repeat(np.arange(500), 4)
    effect = rng.normal(0.0, 0.7, 500)[gene] + rng.normal(0.0, 0.3, 2000)
    shared = rng.normal(0.0, np.sqrt(0.2), (500, 10))[gene]
    residual = shared + rng.normal(0.0, np.sqrt(0.25), (2000, 10))
    # of V = 1 rows of a guide share .4, of which .2 is the gene's
    found = of_guides(effect, np.zeros(2000), residual, np.ones((2000, 10), bool), 0.4, gene)
    np.testing.assert_allclose(
        [found.gene_sd, found.guide_sd, found.share, found.nested_share],
        [0.7, 0.3, 0.2, 0.25],
        rtol=0.1,
    )


def test_rounding_makes_no_pivot_negative():
    """Precisions so large that one is lost beside them, of effects of which one is redundant."""
    random = np.random.default_rng(3).normal(size=(3, 2))
    gram = 1e20 * random @ random.T
    factor, solved = solve_lower(
        [[jnp.asarray(x) for x in row] for row in gram], [jnp.asarray(1.0)] * 3, jnp.asarray(1e9)
    )
    assert min(float(row[-1]) for row in factor) >= 1.0
    assert np.isfinite(np.array(solved)).all()
