"""A table with guides cut into blocks is the same table."""

from unittest import mock

import jax
import numpy as np
import pytest
from guide_tables import GENE_OF_GUIDE, guides, laid_out, lines_with

from crossed_jax.models.screen.guides import blocks
from crossed_jax.models.screen.guides.density import GuideRules, log_likelihood
from crossed_jax.models.screen.guides.shares import NodesInSDs, OwnNodes
from crossed_jax.models.screen.quadrature import gauss_hermite

NUM_GENES = int(GENE_OF_GUIDE.max()) + 1
TABLES = {"ragged": guides(None), "complete": guides(2), "no replicates": guides(1)}


@pytest.mark.parametrize("kind", [OwnNodes, NodesInSDs])
@pytest.mark.parametrize("most_genes", [1, 3])
@pytest.mark.parametrize("name", TABLES)
def test_likelihood_and_gradient_are_those_of_the_table(
    name: str, most_genes: int, kind: type
) -> None:
    at, strata = lines_with(), laid_out(TABLES[name], np.zeros(4))
    rule = gauss_hermite(7)
    spread = np.linspace(0.8, 1.2, NUM_GENES)
    share = kind(
        np.asarray(rule.nodes)[:, None] * spread, np.log(spread) + rule.log_weights[:, None]
    )
    with mock.patch.object(blocks, "MOST_GENES", most_genes):
        table = blocks.in_blocks(strata, share)
    assert len(table.blocks.gene) == -(-NUM_GENES // most_genes)

    wanted = jax.value_and_grad(log_likelihood)(at, strata, GuideRules(rule, share))
    # devices may be given a block without genes
    empty = jax.tree.map(lambda x: np.concatenate([x, np.zeros_like(x[:1])]), table.blocks)
    for one in (table, table._replace(blocks=empty)):
        found = jax.jit(jax.value_and_grad(blocks.log_likelihood_of_blocks))(at, one, rule)
        for x, y in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-10)
