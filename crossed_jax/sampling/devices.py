"""The devices of a run: which those are, how chains share them, and several processes' part in it.

A run keeps to the caller's default device where there is one (``jax.default_device``); else it has
all that JAX has, other processes' included. What it does outside of JAX, such as keeping a
checkpoint, the first process does for all.
"""

import itertools
import pickle
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from crossed_jax.errors import InputError
from crossed_jax.models.parameterization import SHARDS
from crossed_jax.sampling.nuts import AXIS
from crossed_jax.types import ChainMethod


def available_devices() -> list[jax.Device]:
    """List the devices that the caller lets a run use.

    Raises
    ------
    InputError
        If JAX cannot use what it was told to use.
    """
    chosen = jax.config.jax_default_device
    if isinstance(chosen, jax.Device):
        return [chosen]
    try:
        return jax.devices(chosen)
    except (RuntimeError, AssertionError) as error:  # the latter of CUDA where there is no GPU
        kind = chosen or jax.config.jax_platforms
        which = f" of the kind {kind!r}" if kind else ""
        why = str(error).partition(" (")[0].rstrip(".")  # what follows is JAX's own way out
        raise InputError(
            f"JAX finds no device{which}{f' ({why})' if why else ''}: name another kind in "
            "JAX_PLATFORMS, such as cpu, or leave the choice to JAX."
        ) from None


def spread(
    method: ChainMethod, num_chains: int, *, can_share: bool = False
) -> tuple[Mesh | None, bool]:
    """Choose how the chains share the machine.

    Parameters
    ----------
    method
        As asked for.
    num_chains
        Chains.
    can_share
        Whether devices can share the data of a chain.

    Returns
    -------
    mesh
        The devices over which the chains are spread, by those that share a chain's data; None for
        a single one of each process, which then runs all chains.
    vectorized
        Whether the chains of a device move side by side.
    """
    devices = available_devices()
    on_cpu = devices[0].platform == "cpu"
    number = max(n for n in range(1, min(len(devices), num_chains) + 1) if num_chains % n == 0)
    sharing = len(devices) // number if can_share else 1
    processes = sorted({device.process_index for device in devices})
    of_process = [[d for d in devices if d.process_index == process] for process in processes]
    # a process can take part in what is computed only with a device of its own
    can_spread = number * sharing > 1 and number * sharing >= len(processes)
    if method == "auto":
        method = "parallel" if can_spread else "sequential" if on_cpu else "vectorized"
    if method == "parallel" and can_spread:
        in_turn = [d for each in itertools.zip_longest(*of_process) for d in each if d is not None]
        chosen = np.array(in_turn[: number * sharing]).reshape(number, sharing)
        return Mesh(chosen, (AXIS, SHARDS)), not on_cpu
    return None, method == "vectorized"


def on_host(array: Any, rows: Any = ...) -> np.ndarray:
    """Copy an array or some rows of it to the host, all processes' parts of it."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        from jax.experimental.multihost_utils import process_allgather

        array = process_allgather(array, tiled=True)
    return np.array(np.asarray(array)[rows])  # a view of some would hold on to all


def placed_like(like: Any, leaves: list[np.ndarray]) -> Any:
    """Put leaves where those of another tree are, and give them its structure."""
    old, structure = jax.tree.flatten(like)
    put = [jax.device_put(leaf, old.sharding) for leaf, old in zip(leaves, old, strict=True)]
    return jax.tree.unflatten(structure, put)


def in_first_process[T](call: Callable[[], T]) -> T:
    """Do something in the first process alone, and give all of them what came of it.

    Bad input that it finds is raised in all of them: none is left waiting for one that has ended.
    """
    if jax.process_count() == 1:
        return call()
    from jax.experimental.multihost_utils import broadcast_one_to_all

    outcome: Any = None
    if jax.process_index() == 0:
        try:
            outcome = call()
        except InputError as error:
            outcome = error
    told = np.frombuffer(pickle.dumps(outcome), np.uint8)
    size = int(broadcast_one_to_all(np.asarray(told.size)))
    told = broadcast_one_to_all(np.resize(told, size))
    outcome = pickle.loads(np.asarray(told).tobytes())
    if isinstance(outcome, InputError):
        raise outcome
    return outcome


def cut_up(leaf: np.ndarray, mesh: Mesh) -> jax.Array:
    """Give each device its part of an array, along the first axis, filled up with zeros."""
    missing = -len(leaf) % mesh.shape[SHARDS]
    filled = np.concatenate([leaf, np.zeros((missing, *leaf.shape[1:]), leaf.dtype)])
    return jax.device_put(filled, NamedSharding(mesh, PartitionSpec(SHARDS)))
