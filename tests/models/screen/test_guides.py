"""The log-likelihood with guides against dense normals, its two integrals by trapezoid rules."""

from collections.abc import Callable
from itertools import product

import jax
import numpy as np
import pytest
from guide_tables import GENE_OF_GUIDE, dense, guides, laid_out, lines_with
from jax.test_util import check_grads

from crossed_jax.models.screen.guides.density import GuideRules, log_likelihood
from crossed_jax.models.screen.guides.shares import NodesInSDs, OwnNodes
from crossed_jax.models.screen.quadrature import Rule, gauss_hermite

TABLES = {"ragged": guides(None), "complete": guides(2), "no replicates": guides(1)}
PARTS = ("slopes", "line_noise", "gene_noise", "interaction", "nested")
LESS_ONE = [tuple(i != k for i in range(5)) for k in range(6)]  # of which the last has all
CASES = [("ragged", parts) for parts in product((True, False), repeat=5)]
CASES += list(product(("complete", "no replicates"), LESS_ONE))
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
    layout = laid_out(TABLES["ragged"], np.zeros(4), a_set_each=guide_noise)
    at = lines_with(guide_noise=guide_noise)
    compiled = jax.jit(log_likelihood)
    check_grads(lambda at: compiled(at, layout, _in_sds(41)), (at,), 1, ("rev",), rtol=1e-6)
