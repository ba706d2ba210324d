"""Sums over blocks of genes, which devices can share, and their derivatives.

A block's term and its derivatives are computed while the block is in the processor's cache, so a
gradient reads the table once.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from crossed_jax.models.parameterization import sum_over_shards
from crossed_jax.types import Array


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def sum_over_blocks(
    of_block: Callable[[Any, Any, Any], Array], parameters: Any, blocks: Any, shared: Any
) -> Array:
    """Sum a function of parameters over blocks; it is differentiable by the parameters alone.

    Parameters
    ----------
    of_block
        Of the parameters, a block and what all blocks share.
    parameters
        What is differentiated by.
    blocks
        Leading dimension (blocks,).
    shared
        What does not depend on the block.
    """
    return _forward(of_block, parameters, blocks, shared)[0]


def _forward(
    of_block: Callable[[Any, Any, Any], Array], parameters: Any, blocks: Any, shared: Any
) -> tuple[Array, Any]:
    """The sum, and its derivatives by the parameters."""

    def add_block(total: Any, block: Any) -> tuple[Any, None]:
        term = jax.value_and_grad(of_block)(parameters, block, shared)
        return jax.tree.map(jnp.add, total, term), None

    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, parameters))
    return sum_over_shards(jax.lax.scan(add_block, zero, blocks)[0])


def _backward(_: Any, gradients: Any, cotangent: Array) -> tuple:
    return jax.tree.map(lambda gradient: cotangent * gradient, gradients), None, None


sum_over_blocks.defvjp(_forward, _backward)
