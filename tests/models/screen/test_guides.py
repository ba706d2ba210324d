"""The log-likelihood with guides against dense normals, its two integrals by trapezoid rules."""

from itertools import product

import numpy as np
import pytest
from guide_tables import GENE_OF_GUIDE, dense, guides, laid_out, lines_with
from jax.test_util import check_grads

from crossed_jax.models.screen.guides.density import GuideRules, log_likelihood
from crossed_jax.models.screen.quadrature import gauss_hermite

TABLES = {"ragged": guides(None), "complete": guides(2), "no replicates": guides(1)}
PARTS = ("slopes", "line_noise", "gene_noise", "interaction", "nested")
LESS_ONE = [tuple(i != k for i in range(5)) for k in range(6)]  # of which the last has all
CASES = [("ragged", parts) for parts in product((True, False), repeat=5)]
CASES += list(product(("complete", "no replicates"), LESS_ONE))
NUM_GENES = int(GENE_OF_GUIDE.max()) + 1


def _rules(num_nodes: int, sd: float = 0.8) -> GuideRules:
    rule = gauss_hermite(num_nodes)
    nodes, log_weights = (x[:, None] * np.ones(NUM_GENES) for x in rule)
    return GuideRules(rule, sd * nodes, log_weights + np.log(sd))


@pytest.mark.parametrize(("name", "parts"), CASES)
def test_log_likelihood_is_that_of_dense_normals(name: str, parts: tuple[bool, ...]) -> None:
    at = lines_with(**dict(zip(PARTS, parts, strict=True)), gene_share=False)
    layout = laid_out(TABLES[name], np.random.default_rng(1).normal(0.0, 0.3, 4))
    found = float(log_likelihood(at, layout, _rules(41)))
    assert found == pytest.approx(dense(TABLES[name], at, (401, 1)), rel=1e-8)


@pytest.mark.parametrize("gene_noise", [True, False])
@pytest.mark.parametrize("name", TABLES)
def test_shares_by_gene_are_integrated_out(gene_noise: bool, name: str) -> None:
    at = lines_with(gene_noise=gene_noise)
    layout = laid_out(TABLES[name], np.zeros(4))
    found = float(log_likelihood(at, layout, _rules(81)))
    assert found == pytest.approx(dense(TABLES[name], at, (81, 81)), rel=1e-8)


def test_gradient_is_that_of_the_log_likelihood() -> None:
    layout = laid_out(TABLES["ragged"], np.zeros(4))
    check_grads(
        lambda at: log_likelihood(at, layout, _rules(41)), (lines_with(),), 1, ("rev",), rtol=1e-6
    )
