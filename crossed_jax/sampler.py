"""Run NUTS on the host's side: chains, chunks, progress.

The compiled step (:mod:`crossed_jax.nuts`) is called chunk by chunk. Between chunks the host
reports and keeps what was drawn; where the cuts fall does not change the draws.
"""

import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import numpy as np
from jax.sharding import Mesh

from crossed_jax.models.form import Form
from crossed_jax.nuts import AXIS, Settings, Statistics, advance, blank_state, shape_of_draws
from crossed_jax.programs import compilation_cache, kept_program
from crossed_jax.warmup import schedule

ChainMethod = Literal["auto", "vectorized", "parallel", "sequential"]
CHAIN_METHODS = get_args(ChainMethod)

LARGE_POSITION = 200  # coordinates: from here on copying costs a CPU more than vectorizing saves
MOST_BUFFER_STEPS = 256
BUFFER_NUMBERS = 2**22
SECONDS_BETWEEN_REPORTS = 0.5


class Progress(NamedTuple):
    """What is told between chunks: steps done of all, in which stage, and how it goes."""

    done: int
    total: int
    warming_up: bool
    divergences: int
    step_size: float


class Run(NamedTuple):
    """Draws and statistics, leading dimensions (chains, draws), and seconds spent on each part."""

    draws: Any
    statistics: Statistics
    seconds: dict[str, float]


def sample(
    key: jax.Array,
    form: Form,
    problem: Any,
    *,
    num_chains: int,
    num_warmup: int,
    num_draws: int,
    target_accept: float = 0.8,
    max_tree_depth: int = 10,
    chain_method: ChainMethod = "auto",
    report: Callable[[Progress], None] | None = None,
) -> Run:
    """Warm up and sample all chains.

    Parameters
    ----------
    key
        A JAX random key. The same key gives the same draws.
    form
        What to sample. Compiled once for each form, number of chains and shapes of `problem`.
    problem
        Any pytree of arrays, an argument of the compiled function.
    num_chains
        Chains, advanced side by side.
    num_warmup, num_draws
        Steps of each chain.
    target_accept
        Mean acceptance rate that warm-up aims the step size at.
    max_tree_depth
        NUTS doubles a trajectory at most this often.
    chain_method
        See :mod:`crossed_jax.nuts`. The same key gives the same draws with each, to rounding.
    report
        Called on the host between chunks.
    """
    clock = time.perf_counter()
    size, drawn = shape_of_draws(form, problem)
    leaves, problem_structure = jax.tree.flatten(problem)
    mesh, vectorized = spread(chain_method, num_chains, size)
    settings = Settings(
        form,
        problem_structure,
        max_tree_depth,
        buffer_steps=max(1, min(MOST_BUFFER_STEPS, BUFFER_NUMBERS // (num_chains * size))),
        mesh=mesh,
        vectorized=vectorized,
    )
    state = blank_state(num_chains, size, mesh)
    fixed = (
        np.asarray(jax.random.key_data(key)),
        np.arange(num_chains, dtype=np.uint32),
        schedule(num_warmup),
        np.asarray(target_accept, float),
        tuple(np.asarray(leaf) for leaf in leaves),
    )
    returned = jax.tree.structure((state, (drawn, Statistics._make(Statistics._fields))))
    with compilation_cache():
        program = kept_program(
            advance,
            {"settings": settings},
            (state, np.asarray(0), *fixed),
            returned,
        )
        state, _ = jax.block_until_ready(program(state, np.asarray(0), *fixed))  # moves nothing
    seconds = {"compile": time.perf_counter() - clock, "warmup": 0.0, "sample": 0.0}

    pieces = []
    divergences = 0
    total = num_warmup + num_draws
    done, pace = 0, 16
    while done < total:
        warming_up = done < num_warmup
        num_steps = min(pace, settings.buffer_steps, (num_warmup if warming_up else total) - done)
        clock = time.perf_counter()
        state, buffer = jax.block_until_ready(program(state, np.asarray(num_steps), *fixed))
        if not warming_up:
            piece = jax.tree.map(lambda x, n=num_steps: np.array(x)[:n], buffer)
            divergences += int(piece[1].diverging.sum())
            pieces.append(piece)
        elapsed = time.perf_counter() - clock
        seconds["warmup" if warming_up else "sample"] += elapsed
        done += num_steps
        pace = max(1, round(num_steps * SECONDS_BETWEEN_REPORTS / elapsed))
        if report is not None:
            step_size = float(state.tuning.step_size)
            report(Progress(done, total, done < num_warmup, divergences, step_size))

    draws, statistics = jax.tree.map(
        lambda *parts: np.swapaxes(np.concatenate(parts), 0, 1), *pieces
    )
    return Run(draws, statistics, seconds)


def spread(method: ChainMethod, num_chains: int, size: int) -> tuple[Mesh | None, bool]:
    """Choose how the chains share the machine.

    Parameters
    ----------
    method
        As asked for.
    num_chains
        Chains.
    size
        Coordinates of a position.

    Returns
    -------
    mesh
        The devices over which the chains are spread; None for a single one.
    vectorized
        Whether the chains of a device move side by side.
    """
    devices = jax.devices()
    on_cpu = jax.default_backend() == "cpu"
    number = max(n for n in range(1, min(len(devices), num_chains) + 1) if num_chains % n == 0)
    if method == "auto":
        if on_cpu and (size < LARGE_POSITION or num_chains == 1):
            method = "vectorized"
        else:
            method = "parallel" if number > 1 else "sequential" if on_cpu else "vectorized"
    if method == "parallel" and number > 1:
        return Mesh(np.array(devices[:number]), (AXIS,)), not on_cpu
    return None, method == "vectorized"
