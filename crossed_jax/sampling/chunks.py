"""Run NUTS on the host's side: chains, chunks, progress.

The compiled step (:mod:`crossed_jax.sampling.nuts`) is called chunk by chunk. Between chunks the
host reports and keeps what was drawn; where the cuts fall does not change the draws.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.files.interrupts import deferred_interrupt
from crossed_jax.models.parameterization import Parameterization
from crossed_jax.sampling.checkpoint import Checkpoint, Segment
from crossed_jax.sampling.devices import cut_up, in_first_process, on_host, placed_like, spread
from crossed_jax.sampling.kept_programs import compilation_cache, kept_program
from crossed_jax.sampling.nuts import (
    Plan,
    Settings,
    State,
    Statistics,
    advance,
    blank_state,
    shape_of_draws,
)
from crossed_jax.sampling.warmup import schedule
from crossed_jax.types import ChainMethod

MOST_BUFFER_STEPS = 256
BUFFER_NUMBERS = 2**22
SECONDS_BETWEEN_REPORTS = 0.5
SECONDS_BETWEEN_SAVES = 2.0
MOST_FOR_ESS = 100_000


class Progress(NamedTuple):
    """What is told between chunks: steps done of all, in which stage, and how it goes.

    `ess` is the bulk ESS of the log-density's draws so far, NaN where there are too few to tell or
    so many that it would take long.
    """

    done: int
    total: int
    warming_up: bool
    divergences: int
    step_size: float
    ess: float


class Spent(NamedTuple):
    """What a run takes: seconds of warm-up and of draws, and gradients of warm-up's trajectories.

    A run that goes on from a checkpoint goes on counting from what it had taken.
    """

    warmup: float = 0.0
    sample: float = 0.0
    warmup_gradients: float = 0.0

    def plus(self, elapsed: float, warmup_gradients: int | None) -> "Spent":
        """Add a chunk, of draws if it has no gradients of warm-up."""
        if warmup_gradients is None:
            return self._replace(sample=self.sample + elapsed)
        gradients = self.warmup_gradients + warmup_gradients
        return self._replace(warmup=self.warmup + elapsed, warmup_gradients=gradients)


class Run(NamedTuple):
    """What came of a run.

    Attributes
    ----------
    draws, statistics
        What was kept of the draws, and of their transitions, (chains, draws, ...) each.
    seconds
        Of its parts.
    warmup_gradients
        Leapfrog steps of all chains in warm-up.
    """

    draws: Any
    statistics: Statistics
    seconds: dict[str, float]
    warmup_gradients: int


def sample(
    key: jax.Array,
    parameterization: Parameterization,
    model_data: Any,
    *,
    num_chains: int,
    num_warmup: int,
    num_draws: int,
    target_accept: float = 0.8,
    max_tree_depth: int = 10,
    chain_method: ChainMethod = "auto",
    report: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint | None = None,
    shifts: np.ndarray | None = None,
    keep: Callable[[int, Any], Any] = lambda before, drawn: drawn,
) -> Run:
    """Warm up and sample all chains.

    Parameters
    ----------
    key
        A JAX random key. The same key gives the same draws.
    parameterization
        What to sample. Compiled once for each parameterization, number of chains and shapes of
        `model_data`.
    model_data
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
        See :mod:`crossed_jax.sampling.nuts`. The same key gives the same draws with each, to
        rounding.
    report
        Called on the host between chunks.
    checkpoint
        Where to keep the run, and to go on with it if it was begun. Ctrl-C then ends the chunk
        and saves it first.
    shifts
        How far from where the parameterization would start it each chain starts, shape (chains,
        coordinates).
    keep
        Given the number of each chain's draws before and some more, leading dimensions (draws,
        chains), returns what to hold of them in memory.

    Raises
    ------
    InputError
        If chains start where the log-density is not a number, or a file of the checkpoint is not
        what was saved.
    """
    clock = time.perf_counter()
    program, state, structure, most_steps = _compile(
        key,
        parameterization,
        model_data,
        num_chains=num_chains,
        num_warmup=num_warmup,
        target_accept=target_accept,
        max_tree_depth=max_tree_depth,
        chain_method=chain_method,
        shifts=shifts,
    )
    _check_start(state, parameterization, model_data)
    compiling, spent = time.perf_counter() - clock, Spent()

    total = num_warmup + num_draws
    done = 0
    pieces: list = []
    if checkpoint is not None:
        done, state, pieces, spent = _restore(checkpoint, state, structure, total, keep)
    divergences = sum(int(statistics.diverging.sum()) for _, statistics in pieces)
    alone = jax.process_count() == 1  # several must do the same things, however long each waits
    unsaved: list = []
    saved_at = time.perf_counter()
    pace = 16
    ess, told_at = math.nan, saved_at
    holding = deferred_interrupt() if checkpoint is not None else nullcontext(lambda: False)
    with holding as interrupted:
        while done < total:
            warming_up = done < num_warmup
            num_steps = min(pace, most_steps, (num_warmup if warming_up else total) - done)
            clock = time.perf_counter()
            state, buffer = jax.block_until_ready(program(state, num_steps))
            gradients = None
            if warming_up:
                gradients = int(on_host(buffer[1].n_steps, rows=slice(num_steps)).sum())
            else:
                piece = jax.tree.map(partial(on_host, rows=slice(num_steps)), buffer)
                divergences += int(piece[1].diverging.sum())
                pieces.append((keep(done - num_warmup, piece[0]), piece[1]))
                if checkpoint is not None:
                    unsaved.append(piece)
            elapsed = time.perf_counter() - clock
            spent = spent.plus(elapsed, gradients)
            done += num_steps
            if alone:
                pace = max(1, round(num_steps * SECONDS_BETWEEN_REPORTS / elapsed))
            if report is not None:
                if time.perf_counter() - told_at > SECONDS_BETWEEN_REPORTS:
                    ess, told_at = _ess_so_far(pieces), time.perf_counter()
                step_size = float(state.tuning.step_size)
                report(Progress(done, total, done < num_warmup, divergences, step_size, ess))
            due = not alone or time.perf_counter() - saved_at > SECONDS_BETWEEN_SAVES
            if checkpoint is not None and (due or done == total or interrupted()):
                _save(checkpoint, (done, total), state, unsaved, spent)
                unsaved, saved_at = [], time.perf_counter()
            if interrupted():
                raise KeyboardInterrupt
    draws, statistics = jax.tree.map(lambda x: np.swapaxes(x, 0, 1), _joined(pieces))
    seconds = {"compile": compiling, "warmup": spent.warmup, "sample": spent.sample}
    return Run(draws, statistics, seconds, int(spent.warmup_gradients))


def _save(
    checkpoint: Checkpoint, place: tuple[int, int], state: State, pieces: list, spent: Spent
) -> None:
    leaves = [on_host(leaf) for leaf in jax.tree.leaves(state)]
    drawn = jax.tree.leaves(_joined(pieces)) if pieces else []
    in_first_process(partial(checkpoint.save, Segment(*place, leaves, drawn, np.array(spent))))


def _restore(
    checkpoint: Checkpoint,
    state: State,
    structure: Any,
    total: int,
    keep: Callable[[int, Any], Any],
) -> tuple[int, State, list, Spent]:
    """Go back to where a run was saved: steps done, the state then, what was kept, what it took."""
    loaded, pieces, last = 0, [], Segment(0, total, [], [], np.array(Spent()))
    saved = checkpoint.load()
    for segment in iter(lambda: in_first_process(lambda: next(saved, None)), None):
        if segment.done > total:
            break
        last = segment
        if segment.drawn:
            drawn, statistics = jax.tree.unflatten(structure, segment.drawn)
            pieces.append((keep(loaded, drawn), statistics))
            loaded += len(statistics.lp)
    if last.done == total < last.asked:  # for its draws are given out
        in_first_process(partial(checkpoint.save, last._replace(asked=total, drawn=[])))
    state = placed_like(state, last.state) if last.state else state
    return last.done, state, pieces, Spent(*last.spent.tolist())


def _compile(
    key: jax.Array,
    parameterization: Parameterization,
    model_data: Any,
    *,
    num_chains: int,
    num_warmup: int,
    target_accept: float,
    max_tree_depth: int,
    chain_method: ChainMethod,
    shifts: np.ndarray | None,
) -> tuple[Callable[[State, int], tuple[State, Any]], State, Any, int]:
    """Compile the step, and start the chains.

    Returns
    -------
    program
        (state, number of steps) -> state after them, and their draws and statistics.
    state
        Of chains that have started.
    structure
        Of draws and statistics.
    most_steps
        That one call can take.
    """
    size, drawn = shape_of_draws(parameterization, model_data)
    leaves, structure_of_data = jax.tree.flatten(model_data)
    sharded = (False,) * len(leaves)
    if parameterization.shards is not None:
        sharded = tuple(jax.tree.leaves(parameterization.shards(model_data)))
    mesh, vectorized = spread(chain_method, num_chains, can_share=any(sharded))
    most_steps = max(1, min(MOST_BUFFER_STEPS, BUFFER_NUMBERS // (num_chains * size)))
    settings = Settings(
        parameterization, structure_of_data, max_tree_depth, most_steps, mesh, sharded, vectorized
    )
    state = blank_state(num_chains, size, mesh)
    plan = Plan(
        np.asarray(jax.random.key_data(key)),
        np.arange(num_chains, dtype=np.uint32),
        schedule(num_warmup),
        np.asarray(target_accept, float),
        shifts,
        tuple(
            cut_up(np.asarray(leaf), mesh) if mesh is not None and part else np.asarray(leaf)
            for leaf, part in zip(leaves, sharded, strict=True)
        ),
    )
    kept = (drawn, Statistics._make(Statistics._fields))
    returned = jax.tree.structure((state, kept))
    with compilation_cache():
        arguments = (state, np.asarray(0), plan)
        step = kept_program(advance, {"settings": settings}, arguments, returned)

        def program(state: State, num_steps: int) -> tuple[State, Any]:
            return step(state, np.asarray(num_steps), plan)

        state, _ = jax.block_until_ready(program(state, 0))
    return program, state, jax.tree.structure(kept), most_steps


def _check_start(state: State, parameterization: Parameterization, model_data: Any) -> None:
    """Refuse chains that start where density or gradient are not a number, and say in what."""
    wrong = ~np.isfinite(on_host(state.chains.gradient))
    wrong |= ~np.isfinite(on_host(state.chains.position))
    if not np.isnan(on_host(state.chains.log_density)).any() and not wrong.any():
        return
    paths = jax.tree.leaves_with_path(jax.eval_shape(parameterization.scale, model_data))
    sizes = [int(np.prod(leaf.shape)) for _, leaf in paths]
    owner = np.repeat(np.arange(len(paths)), sizes)
    names = {jax.tree_util.keystr(paths[i][0]).lstrip(".") for i in owner[wrong.any(0)]}
    where = f", as is its derivative by {', '.join(sorted(names))}" if names else ""
    raise InputError(
        f"the log-density of the {parameterization.name} form is not a number where the chains "
        f"start{where}: look at the priors, and at the size of the response."
    )


def _ess_so_far(pieces: list) -> float:
    """Bulk ESS of the log-density's draws, where it takes a moment."""
    from crossed_jax.sampling.ess import MIN_DRAWS, rank_diagnostics

    lp = [statistics.lp for _, statistics in pieces]
    if not sum(map(len, lp)) >= MIN_DRAWS or sum(x.size for x in lp) > MOST_FOR_ESS:
        return math.nan
    return float(rank_diagnostics(np.concatenate(lp).T[..., None]).ess_bulk[0])


def _joined(pieces: list) -> Any:
    return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)
