"""BlackJAX NUTS over many chains: one compiled step serves warm-up and sampling alike.

NUTS (Hoffman and Gelman, 2014, *JMLR* 15:1593) as BlackJAX builds it, multinomial and iterative,
with Stan's windowed warm-up (Stan reference manual, "Automatic parameter tuning"): a fast stage for
the step size, slow windows of doubling length that also learn a diagonal metric, and a last fast
stage. The chains share one step size and one metric: dual averaging sees their mean acceptance
rate and the variances pool their draws, so that C chains learn the metric from C times the draws
and, stepping side by side, wait less for one another.

What a step does besides moving is looked up in a schedule, so a single compiled function carries
the run from the first warm-up step to the last draw. It advances all chains by any number of steps
up to its buffer, and returns to the host in between: for progress, and so that a run can be
interrupted. Each chain's keys come from its own key and the number of the step, so the draws do
not depend on where the run was cut.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.step_size import DualAveragingAdaptationState, dual_averaging_adaptation
from blackjax.adaptation.window_adaptation import build_schedule
from blackjax.mcmc.hmc import HMCState
from jax.flatten_util import ravel_pytree

from crossed_jax.models.form import Form

FAST, SLOW, WINDOW_END, WARMUP_END, SAMPLE = range(5)
START = 2**32 - 1  # folded into a chain's key for its start; steps fold in their own number
BUFFER_STEPS = 256
SECONDS_BETWEEN_REPORTS = 0.5


class Statistics(NamedTuple):
    """What is kept of each NUTS transition, shape (chains, draws) each."""

    lp: jax.Array
    energy: jax.Array
    acceptance_rate: jax.Array
    step_size: jax.Array
    n_steps: jax.Array
    tree_depth: jax.Array
    diverging: jax.Array
    reached_max_treedepth: jax.Array


STATISTICS_KINDS = (float, float, float, float, int, int, bool, bool)


class Moments(NamedTuple):
    """Running number, mean and sum of squared deviations of each coordinate (Welford, 1962)."""

    number: jax.Array
    mean: jax.Array
    sum_squares: jax.Array


class Tuning(NamedTuple):
    """The step size and diagonal metric that all chains share, and what they are learned from."""

    step_size: jax.Array
    inverse_mass: jax.Array
    dual_averaging: DualAveragingAdaptationState
    moments: Moments


class State(NamedTuple):
    """Everything a run needs to go on: the chains, the tuning and the number of steps done.

    The chains' positions are flat vectors: BlackJAX compiles in half the time for them.
    """

    step: jax.Array
    chains: HMCState
    tuning: Tuning


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
    report
        Called on the host between chunks.
    """
    clock = time.perf_counter()
    keys = jax.random.split(key, num_chains)
    advance = partial(
        _advance,
        keys=keys,
        schedule=jnp.asarray(warmup_schedule(num_warmup)),
        target_accept=target_accept,
        problem=problem,
        form=form,
        max_tree_depth=max_tree_depth,
    )
    state = _initial_state(keys, problem, form=form)
    state, _ = jax.block_until_ready(advance(state, 0))  # compiles, and moves nothing
    seconds = {"compile": time.perf_counter() - clock, "warmup": 0.0, "sample": 0.0}

    pieces = []
    divergences = 0
    total = num_warmup + num_draws
    done, pace = 0, 16
    while done < total:
        warming_up = done < num_warmup
        num_steps = min(pace, (num_warmup if warming_up else total) - done)
        clock = time.perf_counter()
        state, buffer = jax.block_until_ready(advance(state, num_steps))
        if not warming_up:
            piece = jax.tree.map(lambda x, n=num_steps: np.asarray(x[:n]), buffer)
            divergences += int(piece[1].diverging.sum())
            pieces.append(piece)
        elapsed = time.perf_counter() - clock
        seconds["warmup" if warming_up else "sample"] += elapsed
        done += num_steps
        pace = max(1, min(BUFFER_STEPS, round(num_steps * SECONDS_BETWEEN_REPORTS / elapsed)))
        if report is not None:
            step_size = float(state.tuning.step_size)
            report(Progress(done, total, done < num_warmup, divergences, step_size))

    draws, statistics = jax.tree.map(
        lambda *parts: np.swapaxes(np.concatenate(parts), 0, 1), *pieces
    )
    return Run(draws, statistics, seconds)


def warmup_schedule(num_warmup: int) -> np.ndarray:
    """Say what each step of a run does besides moving; steps beyond the last are ``SAMPLE``."""
    if num_warmup == 0:
        return np.array([SAMPLE], np.int32)
    stages = [
        WINDOW_END if window_ends else (SLOW if stage else FAST)
        for stage, window_ends in np.asarray(build_schedule(num_warmup)).tolist()
    ]
    stages[-1] = WARMUP_END
    return np.array([*stages, SAMPLE], np.int32)


@partial(jax.jit, static_argnames="form")
def _initial_state(keys: jax.Array, problem: Any, *, form: Form) -> State:
    scale, unravel = ravel_pytree(form.scale(problem))
    start_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, START)
    starts = jax.vmap(lambda key: ravel_pytree(form.start(key, problem))[0])(start_keys)
    chains = jax.vmap(
        lambda start: blackjax.nuts.init(start, lambda q: form.log_density(unravel(q), problem))
    )(starts)
    one = jnp.asarray(1.0)
    restart, _, _ = dual_averaging_adaptation(0.8)  # any target: it is not used to start
    tuning = Tuning(one, scale**2, restart(one), _no_moments(scale.shape[0]))
    state = State(jnp.asarray(0), chains, tuning)
    # the first state has the very types of every later one, or the step would compile twice
    return jax.tree.map(lambda x: jnp.array(x, jnp.result_type(x)), state)


@partial(jax.jit, static_argnames=("form", "max_tree_depth"))
def _advance(
    state: State,
    num_steps: jax.Array,
    *,
    keys: jax.Array,
    schedule: jax.Array,
    target_accept: jax.Array,
    problem: Any,
    form: Form,
    max_tree_depth: int,
) -> tuple[State, tuple[Any, Statistics]]:
    """Take `num_steps` steps, at most ``BUFFER_STEPS``; their draws lead the returned buffer."""
    kernel = blackjax.nuts.build_kernel()
    _, unravel = ravel_pytree(form.scale(problem))

    def one_chain(key: jax.Array, chain: HMCState, tuning: Tuning) -> tuple[HMCState, Statistics]:
        chain, info = kernel(
            key,
            chain,
            lambda position: form.log_density(unravel(position), problem),
            tuning.step_size,
            tuning.inverse_mass,
            max_tree_depth,
        )
        return chain, Statistics(
            lp=chain.logdensity,
            energy=info.energy,
            acceptance_rate=info.acceptance_rate,
            step_size=tuning.step_size,
            n_steps=info.num_integration_steps,
            tree_depth=info.num_trajectory_expansions,
            diverging=info.is_divergent,
            reached_max_treedepth=info.num_trajectory_expansions >= max_tree_depth,
        )

    def step(state: State) -> tuple[State, tuple[jax.Array, Statistics]]:
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, state.step)
        chains, statistics = jax.vmap(one_chain, (0, 0, None))(
            step_keys, state.chains, state.tuning
        )
        stage = schedule[jnp.minimum(state.step, schedule.shape[0] - 1)]
        acceptance_rate = statistics.acceptance_rate.mean()
        tuning = _tune(stage, state.tuning, chains.position, acceptance_rate, target_accept)
        return State(state.step + 1, chains, tuning), (chains.position, statistics)

    def body(i: jax.Array, carry: tuple) -> tuple:
        state, buffer = carry
        state, kept = step(state)
        return state, jax.tree.map(lambda whole, one: whole.at[i].set(one), buffer, kept)

    positions = jnp.zeros((BUFFER_STEPS, *state.chains.position.shape))
    statistics = Statistics(
        *(jnp.zeros((BUFFER_STEPS, len(keys)), kind) for kind in STATISTICS_KINDS)
    )
    state, (positions, statistics) = jax.lax.fori_loop(
        0, num_steps, body, (state, (positions, statistics))
    )
    quantities = jax.vmap(jax.vmap(lambda q: form.quantities(unravel(q), problem)))(positions)
    return state, (quantities, statistics)


def _tune(
    stage: jax.Array,
    tuning: Tuning,
    positions: jax.Array,
    acceptance_rate: jax.Array,
    target_accept: jax.Array,
) -> Tuning:
    """Adapt the step size, and in slow windows the metric, as the stage of warm-up says."""
    restart, update, settle = dual_averaging_adaptation(target_accept)

    def fast(tuning: Tuning) -> Tuning:
        averaging = update(tuning.dual_averaging, acceptance_rate)
        return tuning._replace(step_size=jnp.exp(averaging.log_step_size), dual_averaging=averaging)

    def slow(tuning: Tuning) -> Tuning:
        return fast(tuning)._replace(moments=_add(tuning.moments, positions))

    def window_end(tuning: Tuning) -> Tuning:
        tuning = slow(tuning)
        averaging = restart(settle(tuning.dual_averaging))
        return Tuning(
            jnp.exp(averaging.log_step_size),
            _regularized_variance(tuning.moments),
            averaging,
            _no_moments(positions.shape[1]),
        )

    def warmup_end(tuning: Tuning) -> Tuning:
        tuning = fast(tuning)
        return tuning._replace(step_size=settle(tuning.dual_averaging))

    return jax.lax.switch(stage, (fast, slow, window_end, warmup_end, lambda t: t), tuning)


def _no_moments(size: int) -> Moments:
    return Moments(jnp.asarray(0.0), jnp.zeros(size), jnp.zeros(size))


def _add(moments: Moments, positions: jax.Array) -> Moments:
    """Pool one position of each chain into the moments (Chan, Golub and LeVeque, 1983)."""
    added = positions.shape[0]
    number = moments.number + added
    mean = positions.mean(0)
    shift = mean - moments.mean
    return Moments(
        number,
        moments.mean + shift * added / number,
        moments.sum_squares
        + ((positions - mean) ** 2).sum(0)
        + shift**2 * moments.number * added / number,
    )


def _regularized_variance(moments: Moments) -> jax.Array:
    """Shrink the variances as Stan does, towards their own geometric mean rather than a unit.

    Stan adds 5/(n + 5) of 1e-3; in place of that fixed number stands one in the coordinates' own
    unit, so that the response's unit does not matter.
    """
    variance = moments.sum_squares / (moments.number - 1.0)
    typical = jnp.exp(jnp.mean(jnp.log(jnp.maximum(variance, math.ulp(0.0)))))
    weight = moments.number / (moments.number + 5.0)
    return weight * variance + (1.0 - weight) * 1e-3 * typical
