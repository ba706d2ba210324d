"""The log-likelihood with guides against dense normals, its two integrals by trapezoid rules."""

from collections.abc import Callable
from itertools import product

import jax
import numpy as np
import pytest
from guide_tables import GENE_OF_GUIDE, dense, guides, laid_out, lines_with
from jax.flatten_util import ravel_pytree
from screens import less_one_and_alone

from crossed_jax.models.screen.guides.density import GuideRules, log_likelihood
from crossed_jax.models.screen.guides.shares import NodesInSDs, OwnNodes
from crossed_jax.models.screen.quadrature import Rule, gauss_hermite

TABLES = {"ragged": guides(None), "complete": guides(2), "no replicates": guides(1)}
PARTS = ("slopes", "line_noise", "gene_noise", "interaction", "nested")
SOME_PARTS = less_one_and_alone(5)
LESS_ONE = SOME_PARTS[:6]
CASES = [("ragged", parts) for parts in SOME_PARTS]
CASES += product(("complete", "no replicates"), LESS_ONE)
NUM_GENES = int(GENE_OF_GUIDE.max()) + 1


def _nodes(num_nodes: int) -> tuple[Rule, np.ndarray, np.ndarray]:
    rule = gauss_hermite(num_nodes)
    return rule, *(x[:, None] * np.ones(NUM_GENES) for x in rule)


def _own(num_nodes: int) -> GuideRules:
    """Nodes of the logits that do not follow what these are about."""
    rule, nodes, log_weights = _nodes(num_nodes)
    return GuideRules(rule, OwnNodes(0.8 * nodes - 0.3, log_weights + np.log(0.8)))


def _in_sds(num_nodes: int) -> GuideRules:
    rule, nodes, log_weights = _nodes(num_nodes)
    return GuideRules(rule, NodesInSDs(nodes, log_weights))


@pytest.mark.parametrize(("name", "parts"), CASES)
def test_log_likelihood_is_that_of_dense_normals(name: str, parts: tuple[bool, ...]) -> None:
    at = lines_with(**dict(zip(PARTS, parts, strict=True)), gene_share=False)
    layout = laid_out(TABLES[name], np.random.default_rng(1).normal(0.0, 0.3, 4))
    found = float(log_likelihood(at, layout, _own(41)))
    assert found == pytest.approx(dense(TABLES[name], at, (401, 1)), rel=1e-8)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        *(("ragged", parts) for parts in LESS_ONE),
        *((name, LESS_ONE[-1]) for name in ("complete", "no replicates")),
    ],
)
def test_log_likelihood_where_guides_differ_in_noise(name: str, parts: tuple[bool, ...]) -> None:
    of_parts = dict(zip(PARTS, parts, strict=True))
    at = lines_with(**of_parts, gene_share=False, guide_noise=True)
    location = np.random.default_rng(1).normal(0.0, 0.3, 4)
    layout = laid_out(TABLES[name], location, a_set_each=True)
    found = float(log_likelihood(at, layout, _own(41)))
    assert found == pytest.approx(dense(TABLES[name], at, (401, 1)), rel=1e-8)


@pytest.mark.parametrize("rules", [_own, _in_sds])
@pytest.mark.parametrize("gene_noise", [True, False])
@pytest.mark.parametrize("name", TABLES)
def test_shares_by_gene_are_integrated_out(
    rules: Callable[[int], GuideRules], gene_noise: bool, name: str
) -> None:
    at = lines_with(gene_noise=gene_noise)
    layout = laid_out(TABLES[name], np.zeros(4))
    found = float(log_likelihood(at, layout, rules(81)))
    assert found == pytest.approx(dense(TABLES[name], at, (81, 81)), rel=1e-8)


@pytest.mark.parametrize("guide_noise", [False, True])
def test_gradient_is_that_of_the_log_likelihood(guide_noise: bool) -> None:
    """Along random directions, against central differences of the value beside it."""
    layout = laid_out(TABLES["ragged"], np.zeros(4), a_set_each=guide_noise)
    flat, unravel = ravel_pytree(lines_with(guide_noise=guide_noise))
    with_gradient = jax.jit(jax.value_and_grad(log_likelihood))
    step, rules = 1e-5, _in_sds(41)
    gradient, _ = ravel_pytree(with_gradient(unravel(flat), layout, rules)[1])
    for direction in np.random.default_rng(2).normal(size=(5, len(flat))):
        above, below = (
            with_gradient(unravel(flat + sign * step * direction), layout, rules)[0]
            for sign in (1.0, -1.0)
        )
        assert float(above - below) / (2.0 * step) == pytest.approx(
            float(gradient @ direction), rel=1e-6
        )
