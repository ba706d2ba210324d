"""Where chains start."""

import jax.numpy as jnp
import numpy as np

from crossed_jax.models.screen.guides.density import solve_lower
from crossed_jax.models.screen.guides.estimate import of_guides, of_shares
from crossed_jax.models.screen.guides.shares import GRID


def test_shares_are_found_from_likelihoods_that_know_them():
    rng = np.random.default_rng(1)
    truth = rng.normal(-2.0, 1.3, 2000)
    logit, sd = of_shares(-0.5 * ((GRID[:, None] - truth) / 0.3) ** 2)
    assert abs(logit + 2.0) < 4.0 * 1.3 / np.sqrt(2000)
    assert abs(sd - 1.3) < 4.0 * 1.3 / np.sqrt(4000)


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
