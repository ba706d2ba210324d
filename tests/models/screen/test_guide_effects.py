"""Genes, guides and interactions given the lines, against dense normals on a grid of the rest."""

from functools import cache, partial

import jax
import numpy as np
import pytest
from guide_tables import (
    GENE_OF_GUIDE,
    NUM_LINES,
    Posterior,
    dense_posterior,
    grid_of,
    guides,
    laid_out,
    lines_with,
)
from scipy.special import ndtr

from crossed_jax.models.screen.guides.density import GuideRules
from crossed_jax.models.screen.guides.effects import Latent, WithGuides, effects_given_lines
from crossed_jax.models.screen.guides.interactions import Drawn, interactions
from crossed_jax.models.screen.guides.shares import NodesInSDs
from crossed_jax.models.screen.guides.table import GuideStrata
from crossed_jax.models.screen.quadrature import gauss_hermite

NUM_GENES = int(GENE_OF_GUIDE.max()) + 1
NUM_DRAWS = 20_000
DATA = guides(None)
both = pytest.mark.parametrize("guide_noise", [False, True])


@cache
def _dense(guide_noise: bool) -> list[Posterior]:
    at = lines_with(guide_noise=guide_noise)
    e, h = grid_of(at.lines.log_gene_noise, 61)[0], grid_of(at.log_share_sd, 61)[0]
    return [dense_posterior(DATA, at, gene, e, h) for gene in range(NUM_GENES)]


@cache
def _layout(guide_noise: bool) -> GuideStrata:
    return laid_out(DATA, np.zeros(NUM_LINES), a_set_each=guide_noise)


@cache
def _found(guide_noise: bool) -> WithGuides:
    """Draws given the same lines over and over."""
    rule = gauss_hermite(41)
    nodes, log_weights = (x[:, None] * np.ones(NUM_GENES) for x in rule)
    rules = GuideRules(rule, NodesInSDs(nodes, log_weights))
    at, strata = lines_with(guide_noise=guide_noise), jax.device_put(_layout(guide_noise))
    one = partial(effects_given_lines, at=at, strata=strata, rules=rules)
    keys = jax.random.split(jax.random.key(0), NUM_DRAWS)
    drawn = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=500))(keys)
    return jax.tree.map(np.asarray, drawn)


@both
def test_moments_of_gene_effects_are_those_of_dense_normals(guide_noise: bool) -> None:
    moments = [posterior.moments() for posterior in _dense(guide_noise)]
    mean, variance = (np.array([both[k][0] for both in moments]) for k in range(2))
    found = jax.tree.map(lambda x: x[0], _found(guide_noise).given)
    np.testing.assert_allclose(found.mean.gene, mean - mean.mean(), rtol=1e-6, atol=1e-7)
    centring = np.eye(NUM_GENES) - 1.0 / NUM_GENES
    wanted = np.diag(centring @ np.diag(variance) @ centring)
    np.testing.assert_allclose(found.variance.gene, wanted, rtol=1e-6)
    e = [both[0][-2] for both in moments]
    np.testing.assert_allclose(found.mean.gene_log_noise, e, rtol=1e-5, atol=1e-7)


@both
def test_draws_are_of_the_posterior(guide_noise: bool) -> None:
    """Independent draws: means and variances within 4.5 standard errors."""
    found = _found(guide_noise)
    order = _layout(guide_noise).gene
    drawn, wanted = [], []
    for gene, posterior in enumerate(_dense(guide_noise)):
        place = int(np.flatnonzero(order == gene)[0])
        own = np.flatnonzero(gene == GENE_OF_GUIDE)
        drawn.append(
            np.column_stack(
                [found.guide[:, own], found.latent.noise[:, place], found.latent.share[:, place]]
            )
        )
        number = len(own)
        kept = [*range(1, 1 + number), -2, -1]
        wanted.append([moment[kept] for moment in posterior.moments()])
    values = np.column_stack(drawn)
    mean, variance = (np.concatenate(x) for x in zip(*wanted, strict=True))
    z = (values.mean(0) - mean) / np.sqrt(variance / NUM_DRAWS)
    assert np.abs(z).max() < 4.5
    squares = (values - mean) ** 2
    z = (squares.mean(0) - variance) / (squares.std(0) / np.sqrt(NUM_DRAWS))
    assert np.abs(z).max() < 4.5


@both
def test_draws_of_genes_and_guides_go_together(guide_noise: bool) -> None:
    """What rows see of a gene and a guide, their sum, has the variance that dense normals give."""
    found, dense = _found(guide_noise), _dense(guide_noise)
    mean = np.array([p.moments()[0][0] for p in dense])
    of_guides = np.concatenate(
        [p.moments()[0][1 : 1 + (g == GENE_OF_GUIDE).sum()] for g, p in enumerate(dense)]
    )
    gene = found.given.draw.gene
    both = gene[:, GENE_OF_GUIDE] + found.guide
    wanted = (mean - mean.mean())[GENE_OF_GUIDE] + of_guides
    z = (both.mean(0) - wanted) / (both.std(0) / np.sqrt(NUM_DRAWS))
    assert np.abs(z).max() < 4.5


@both
def test_interactions_are_those_of_dense_normals(guide_noise: bool) -> None:
    found = _found(guide_noise)
    lines = jax.tree.map(
        lambda x: np.broadcast_to(x, (NUM_DRAWS, *np.shape(x))), lines_with(guide_noise=guide_noise)
    )
    strata = jax.device_put(_layout(guide_noise))
    by_cell = jax.jit(interactions)(Drawn(lines, Latent(*found.latent)), strata)
    seen = np.zeros((NUM_GENES, NUM_LINES), bool)
    seen[GENE_OF_GUIDE[DATA.factors[0].codes], DATA.factors[1].codes] = True
    for gene, posterior in enumerate(_dense(guide_noise)):
        mean, variance = (moment[-2 - NUM_LINES : -2] for moment in posterior.moments())
        own = slice(-NUM_LINES, None)
        below = posterior.weight @ ndtr(
            -posterior.mean[:, own] / np.sqrt(posterior.variance[:, own])
        )
        for line in np.flatnonzero(seen[gene]):
            at = gene, line
            error = float(by_cell.mean_error[at])
            assert abs(float(by_cell.mean[at]) - mean[line]) < 4.5 * error + 1e-6
            assert float(by_cell.sd[at]) == pytest.approx(np.sqrt(variance[line]), rel=0.03)
            rate = min(below[line], 1.0 - below[line])
            assert abs(float(by_cell.lfsr[at]) - rate) < 4.5 * float(by_cell.lfsr_error[at]) + 1e-6
