"""A table with guides cut into blocks is the same table, on one device or on several."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest
from guide_tables import GENE_OF_GUIDE, guides, laid_out, lines_with
from jax.sharding import Mesh, PartitionSpec

from crossed_jax.models.parameterization import SHARDS
from crossed_jax.models.screen.guides import blocks
from crossed_jax.models.screen.guides.density import GuideRules, log_likelihood
from crossed_jax.models.screen.guides.lines import GuideLines
from crossed_jax.models.screen.guides.shares import NodesInSDs, OwnNodes, ShareRule
from crossed_jax.models.screen.quadrature import gauss_hermite
from crossed_jax.sampling.devices import cut_up

NUM_GENES = int(GENE_OF_GUIDE.max()) + 1
TABLES = {"ragged": guides(None), "complete": guides(2)}
NOISE = gauss_hermite(5)
DEVICES = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 3)
jax.config.update("jax_enable_x64", True)
sys.path[:0] = {places}
from test_guide_blocks import check, on_devices
check("ragged", 1, on_devices)
"""


def share_rule(kind: Callable[..., ShareRule]) -> ShareRule:
    spread = np.linspace(0.8, 1.2, NUM_GENES)
    nodes = np.asarray(NOISE.nodes)[:, None] * spread
    return kind(nodes, np.log(spread) + NOISE.log_weights[:, None])


@jax.jit
def on_one(at: GuideLines, table: blocks.GuideBlocks) -> tuple:
    return jax.value_and_grad(blocks.log_likelihood_of_blocks)(at, table, NOISE)


def on_devices(at: GuideLines, table: blocks.GuideBlocks) -> tuple:
    """Spread the blocks over all devices, of which one has fewer."""
    mesh = Mesh(np.array(jax.devices()), SHARDS)
    everywhere, spread = PartitionSpec(), PartitionSpec(SHARDS)
    specs = everywhere, blocks.GuideBlocks(spread, everywhere)
    table = table._replace(blocks=jax.tree.map(partial(cut_up, mesh=mesh), table.blocks))
    shared = jax.shard_map(on_one, mesh=mesh, in_specs=specs, out_specs=everywhere, check_vma=False)
    return jax.jit(shared)(at, table)


def check(
    name: str,
    most_genes: int,
    found_by: Callable[..., tuple],
    kind: Callable[..., ShareRule] = OwnNodes,
    *,
    guide_noise: bool = False,
) -> None:
    at, share = lines_with(guide_noise=guide_noise), share_rule(kind)
    strata = laid_out(TABLES[name], np.zeros(4), a_set_each=guide_noise)
    with mock.patch.object(blocks, "MOST_GENES", most_genes):
        table = blocks.in_blocks(strata, share)
    assert len(table.blocks.gene) == -(-NUM_GENES // most_genes)
    wanted = jax.jit(jax.value_and_grad(log_likelihood))(at, strata, GuideRules(NOISE, share))
    found = found_by(at, table)
    for x, y in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "most_genes", "kind", "guide_noise"),
    [
        ("ragged", 1, OwnNodes, True),
        ("complete", 3, NodesInSDs, False),
    ],
)
def test_likelihood_and_gradient_are_those_of_the_table(
    name: str, most_genes: int, kind: Callable[..., ShareRule], guide_noise: bool
) -> None:
    check(name, most_genes, on_one, kind, guide_noise=guide_noise)


def test_devices_share_the_blocks() -> None:
    here = Path(__file__).parent
    places = [str(here), str(here.parents[1])]
    subprocess.run([sys.executable, "-c", DEVICES.format(places=places)], check=True)
