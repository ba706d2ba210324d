"""A log-density at many positions at once, through a program that is kept between runs."""

from functools import partial
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from crossed_jax.models.parameterization import Parameterization
from crossed_jax.sampling.kept_programs import compilation_cache, kept_program
from crossed_jax.types import Array

POINTS_AT_ONCE = 2_048


def evaluate(
    parameterization: Parameterization, model_data: Any, positions: np.ndarray
) -> np.ndarray:
    """Evaluate a log-density at flat positions.

    Parameters
    ----------
    parameterization, model_data
        As for sampling.
    positions
        Shape (points, coordinates).

    Returns
    -------
    ndarray
        Shape (points,).
    """
    leaves, structure = jax.tree.flatten(model_data)
    arguments = (positions, tuple(np.asarray(leaf) for leaf in leaves))
    static = {"parameterization": parameterization, "structure": structure}
    with compilation_cache():
        program = kept_program(_log_densities, static, arguments, jax.tree.structure(0))
        return np.asarray(program(*arguments))


@partial(jax.jit, static_argnames=("parameterization", "structure"))
def _log_densities(
    positions: Array,
    leaves: tuple[Array, ...],
    *,
    parameterization: Parameterization,
    structure: Any,
) -> jax.Array:
    model_data = jax.tree.unflatten(structure, leaves)
    _, unravel = ravel_pytree(parameterization.scale(model_data))
    return jax.lax.map(
        lambda position: parameterization.log_density(unravel(position), model_data),
        positions,
        batch_size=POINTS_AT_ONCE,
    )
