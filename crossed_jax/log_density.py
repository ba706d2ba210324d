"""The sampler for a log-density of one's own, with the chains, checkpoints and verdict of a fit."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from crossed_jax.arguments import path_of
from crossed_jax.errors import InputError, shown, told
from crossed_jax.models.parameterization import Parameterization
from crossed_jax.results.record import describe_run
from crossed_jax.results.tree import dimensions_of, to_datatree
from crossed_jax.sampling import chunks
from crossed_jax.sampling.checkpoint import open_checkpoint
from crossed_jax.sampling.chunks import Progress
from crossed_jax.sampling.devices import available_devices
from crossed_jax.sampling.identity import computing
from crossed_jax.sampling.memory import check_run
from crossed_jax.sampling.nuts import key_of
from crossed_jax.sampling.settings import own_settings, run_settings
from crossed_jax.tables.names import is_storable
from crossed_jax.types import ChainMethod

if TYPE_CHECKING:
    import xarray as xr


def sample(
    parameterization: Parameterization,
    model_data: Any,
    *,
    num_chains: int = 4,
    num_warmup: int = 1000,
    num_draws: int = 1000,
    seed: int = 0,
    target_accept: float = 0.8,
    max_tree_depth: int = 10,
    chain_method: ChainMethod = "auto",
    checkpoint: str | Path | None = None,
    report: Callable[[Progress], None] | None = None,
) -> "xr.DataTree":
    """Sample a log-density by NUTS.

    Parameters
    ----------
    parameterization
        The log-density, where chains start and how widely, and the quantities to keep of each
        draw, by name.
    model_data
        Any pytree of arrays. Its numbers are taken as float64, and go into the compiled functions
        as arguments.
    num_chains, num_warmup, num_draws, seed, target_accept, max_tree_depth, chain_method, report
        As of :func:`crossed_jax.fit`.
    checkpoint
        As of :func:`crossed_jax.fit`. A run goes on from there if the log-density, traced, and the
        data are those that it was begun with.

    Returns
    -------
    xarray.DataTree
        Groups `posterior`, with a variable for each quantity, and `sample_stats`;
        :func:`crossed_jax.diagnose` gives the verdict. How the run was made is in `attrs`.

    Raises
    ------
    InputError
        If an argument does not make sense, the checkpoint is of another run, the chains would not
        fit into memory, or the log-density is not a number where they start.
    """
    if not isinstance(parameterization, Parameterization):
        raise InputError(
            f"the parameterization is {told(parameterization)}: give a Parameterization, with its "
            "log-density, start, scale and quantities."
        )
    settings = run_settings(
        num_chains=num_chains,
        num_warmup=num_warmup,
        num_draws=num_draws,
        seed=seed,
        target_accept=target_accept,
        max_tree_depth=max_tree_depth,
        chain_method=chain_method,
        report=report,
    )
    device = available_devices()[0]
    model_data = jax.tree.map(_in_double_precision, model_data)
    with own_settings():
        size, program = _traced(parameterization, model_data)
        check_run(settings, size)
        kept: Any = nullcontext()
        if checkpoint is not None:
            identity = {
                "parameterization": parameterization.name,
                "log_density": hashlib.sha256(program.encode()).hexdigest(),
                "data": _digest(model_data),
                **settings.recorded(),
                "chain_method": chain_method,
                **computing(),
            }
            place = path_of("checkpoint", checkpoint)
            kept = open_checkpoint(place, identity, settings.num_steps)
        with kept as opened:
            run = chunks.sample(
                key_of(settings.seed),
                parameterization,
                model_data,
                **settings.of_chains(),
                report=report,
                checkpoint=opened,
            )
    attributes = {"parameterization": parameterization.name, "factors": [], "notes": []}
    attributes |= describe_run(settings, run.seconds, run.warmup_gradients, device)
    return to_datatree(run.draws, run.statistics, attributes)


def _in_double_precision(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    return array.astype(float) if np.issubdtype(array.dtype, np.floating) else array


def _traced(parameterization: Parameterization, model_data: Any) -> tuple[int, str]:
    """Check what is sampled by tracing it: give the number of coordinates, and the program."""

    def everything(key: jax.Array, model_data: Any) -> tuple:
        position = parameterization.start(key, model_data)
        return (
            position,
            parameterization.scale(model_data),
            parameterization.log_density(position, model_data),
            parameterization.quantities(position, model_data),
        )

    lowered = jax.jit(everything).lower(jax.random.key(0), model_data)
    position, scale, log_density, quantities = lowered.out_info
    if jax.tree.map(np.shape, position) != jax.tree.map(np.shape, scale):
        raise InputError(
            "start and scale of the parameterization give positions of different structure or "
            "shapes: give the scale of each coordinate of the position."
        )
    if np.shape(log_density) != ():
        raise InputError(
            f"the log-density has the shape {np.shape(log_density)}: sum it to a single number."
        )
    _check_quantities(quantities)
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(position)), lowered.as_text()


def _check_quantities(quantities: Any) -> None:
    """Refuse, before anything is sampled, what the results could not hold."""
    named = isinstance(quantities, Mapping) and all(isinstance(name, str) for name in quantities)
    if not named or not quantities:
        raise InputError(
            "quantities of the parameterization must give arrays by name: return a dictionary such "
            "as {'theta': position.theta}."
        )
    owners = {"chain": "the results themselves", "draw": "the results themselves"}
    for name, value in quantities.items():
        if not is_storable(name):
            raise InputError(
                f"the quantity {shown(name)} cannot be stored under this name (it is blank, or has "
                "a slash or a control character): rename it."
            )
        if not jax.tree_util.all_leaves([value]):
            raise InputError(
                f"the quantity {shown(name)} is a {type(value).__name__}: give each array under a "
                "name of its own."
            )
        dimensions = dimensions_of(name, len(value.shape))
        owners |= dict.fromkeys(dimensions, f"a dimension of {shown(name)}")
    for name in quantities:
        if name in owners:
            raise InputError(
                f"the name of the quantity {shown(name)} belongs to {owners[name]}: rename it."
            )


def _digest(model_data: Any) -> str:
    """Of all numbers, and of how they are put together."""
    leaves, structure = jax.tree.flatten(model_data)
    digest = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        digest.update(f"{leaf.dtype}{leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
