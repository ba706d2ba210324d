"""The compiled step: BlackJAX NUTS on every chain, then warm-up's adaptation.

NUTS (Hoffman and Gelman, 2014, *JMLR* 15:1593) as BlackJAX builds it, multinomial and iterative.
One compiled function carries a run from its first warm-up step to its last draw: it advances all
chains by any number of steps up to its buffer, and returns to the host in between. Each chain's
keys come from its own key and the number of the step, so the draws do not depend on where the run
was cut.

How the chains share the machine:

`sequential`
    one after the other at each step. On a CPU the fastest at any size: a chain copies nothing and
    computes nothing for the others' sake.
`vectorized`
    side by side in one program (``vmap``): right for a GPU. A vectorized loop takes as many
    leapfrog steps as its longest trajectory, and copies all that its chains carry at each.
`parallel`
    spread over the devices (``shard_map``), on each one after the other. Warm-up gathers the
    chains' positions at every step, so that they go on sharing step size and metric. Where there
    are more devices than chains, those of a chain share its data if the log-density is a sum over
    parts of them.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from crossed_jax.models.parameterization import SHARDS, Parameterization
from crossed_jax.sampling.warmup import SAMPLE, Tuning, first_tuning, tune
from crossed_jax.types import Array

START = 2**32 - 1  # folded into a chain's key for its start; steps fold in their own number
MOST_STARTS = 1000
AXIS = "chains"
KEY_KIND = "threefry2x32"  # whatever the caller's default is, a seed gives the same draws


def key_of(seed: int) -> jax.Array:
    """Make a run's key of a seed of 63 bits."""
    words = np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32)
    return jax.random.wrap_key_data(jax.device_put(words), impl=KEY_KIND)


class Chains(NamedTuple):
    """Where the chains are, leading dimension (chains,); positions are flat vectors."""

    position: Array
    log_density: Array
    gradient: Array


class State(NamedTuple):
    """Everything a run needs to go on: the number of steps done, the chains and the tuning."""

    step: Array
    chains: Chains
    tuning: Tuning


class Statistics(NamedTuple):
    """What is kept of each NUTS transition, shape (chains, draws) each."""

    lp: Array
    energy: Array
    acceptance_rate: Array
    step_size: Array
    n_steps: Array
    tree_depth: Array
    diverging: Array
    reached_max_treedepth: Array


STATISTICS_KINDS = (float, float, float, float, int, int, bool, bool)


class Plan(NamedTuple):
    """What a run is given once and for all.

    Attributes
    ----------
    key
        Key data of the run, shape (2,).
    chain_numbers
        0, 1, 2, ...; each chain's key is the run's with its number folded in.
    stages
        The schedule of warm-up; steps beyond it are sampling.
    target_accept
        Mean acceptance rate that warm-up aims the step size at.
    shifts
        From where the parameterization would start a chain to where it starts, shape (chains,
        coordinates); None for none.
    leaves
        Of the model_data.
    """

    key: Array
    chain_numbers: Array
    stages: Array
    target_accept: Array
    shifts: Any
    leaves: tuple[Array, ...]


class Settings(NamedTuple):
    """What the program is compiled for, besides the shapes of its arguments.

    Attributes
    ----------
    parameterization
        What to sample.
    model_data
        Structure of the model_data, whose leaves are arguments.
    max_tree_depth
        NUTS doubles a trajectory at most this often.
    buffer_steps
        Most steps of one call.
    mesh
        Devices over which the chains are spread, and along a second axis the data; None for one
        device.
    sharded
        For each leaf of the model_data whether it is spread.
    vectorized
        Whether the chains of a device move side by side.
    """

    parameterization: Parameterization
    model_data: Any
    max_tree_depth: int
    buffer_steps: int
    mesh: Mesh | None
    sharded: tuple[bool, ...]
    vectorized: bool


def blank_state(num_chains: int, size: int, mesh: Mesh | None = None) -> State:
    """Make the state before the first step, all zeros, on its devices: `advance` fills it in."""

    def shaped() -> State:
        positions = jnp.zeros((num_chains, size))
        chains = Chains(positions, positions[:, 0], positions)
        return State(jnp.asarray(0), chains, first_tuning(jnp.zeros(size)))

    shapes: Any = jax.eval_shape(shaped)
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    if mesh is None:
        return state
    return jax.device_put(
        state, jax.tree.map(lambda spec: NamedSharding(mesh, spec), _state_spec(state))
    )


def _state_spec(state: State) -> Any:
    """How a state is spread over the devices: its chains are, its tuning is everywhere."""
    spec: Any = jax.tree.map(lambda _: PartitionSpec(), state)
    return spec._replace(chains=Chains._make([PartitionSpec(AXIS)] * len(Chains._fields)))


@partial(jax.jit, static_argnames="settings")
def advance(
    state: State, num_steps: Array, plan: Plan, *, settings: Settings
) -> tuple[State, tuple[Any, Statistics]]:
    """Take `num_steps` steps; their draws lead the returned buffer, shape (steps, chains, ...).

    Parameters
    ----------
    state
        Where to go on from, or a blank one.
    num_steps
        At most ``settings.buffer_steps``.
    plan
        What stays as it is from call to call.
    settings
        What to compile for.
    """
    if settings.mesh is None:
        return _advance(state, num_steps, plan, settings=settings)
    each, every = PartitionSpec(AXIS), PartitionSpec()
    plan_spec: Any = jax.tree.map(lambda _: every, plan)
    plan_spec = plan_spec._replace(
        chain_numbers=each,
        shifts=jax.tree.map(lambda _: each, plan.shifts),
        leaves=tuple(PartitionSpec(SHARDS) if part else every for part in settings.sharded),
    )
    state_spec = _state_spec(state)
    return jax.shard_map(
        partial(_advance, settings=settings),
        mesh=settings.mesh,
        in_specs=(state_spec, every, plan_spec),
        out_specs=(state_spec, PartitionSpec(None, AXIS)),
        check_vma=False,
    )(state, num_steps, plan)


def _advance(
    state: State, num_steps: Array, plan: Plan, *, settings: Settings
) -> tuple[State, tuple[Any, Statistics]]:
    parameterization = settings.parameterization
    model_data = jax.tree.unflatten(settings.model_data, plan.leaves)
    run_key = jax.random.wrap_key_data(jnp.asarray(plan.key), impl=KEY_KIND)
    chain_keys = jax.vmap(jax.random.fold_in, (None, 0))(run_key, plan.chain_numbers)
    scale, unravel = ravel_pytree(parameterization.scale(model_data))
    num_chains = len(plan.chain_numbers)

    @jax.jit  # BlackJAX's nested loops trace it again and again, which then takes a moment each
    def log_density(position: jax.Array) -> Array:
        return parameterization.log_density(unravel(position), model_data)

    def start(state: State) -> State:
        def attempt(key: jax.Array, shift: jax.Array | None, number: Array) -> Chains:
            begin = parameterization.start(jax.random.fold_in(key, START - number), model_data)
            position, _ = ravel_pytree(begin)
            if shift is not None:
                position += shift
            return Chains(position, *jax.value_and_grad(log_density)(position))

        def one(key: jax.Array, shift: jax.Array | None) -> Chains:
            # a support may end beside the estimate; a chain that starts beyond it never moves
            nowhere = Chains(jnp.zeros_like(scale), jnp.asarray(-jnp.inf), jnp.zeros_like(scale))
            _, chains = jax.lax.while_loop(
                lambda tried: jnp.isneginf(tried[1].log_density) & (tried[0] < MOST_STARTS),
                lambda tried: (tried[0] + 1, attempt(key, shift, tried[0])),
                (jnp.asarray(0, jnp.uint32), nowhere),
            )
            return chains

        chains = jax.vmap(one)(chain_keys, plan.shifts)
        return State(state.step, chains, first_tuning(scale))

    def step(state: State) -> tuple[State, tuple[Array, Statistics]]:
        move = partial(_transition, log_density, settings.max_tree_depth, state.tuning)
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(chain_keys, jnp.asarray(state.step))
        if settings.vectorized:
            chains, statistics = jax.vmap(move)(step_keys, state.chains)
        else:
            chains, statistics = jax.lax.map(lambda a: move(*a), (step_keys, state.chains))
        stage = plan.stages[jnp.minimum(state.step, len(plan.stages) - 1)]
        tuning = _tune_together(
            stage, state.tuning, chains, statistics, plan.target_accept, settings.mesh
        )
        return State(state.step + 1, chains, tuning), (chains.position, statistics)

    def body(i: Array, carry: tuple) -> tuple:
        state, buffer = carry
        state, kept = step(state)
        return state, jax.tree.map(lambda whole, one: whole.at[i].set(one), buffer, kept)

    state = jax.lax.cond(state.step == 0, start, lambda s: s, state)
    positions = jnp.zeros((settings.buffer_steps, num_chains, scale.shape[0]))
    statistics = Statistics(
        *(jnp.zeros((settings.buffer_steps, num_chains), kind) for kind in STATISTICS_KINDS)
    )
    state, (positions, statistics) = jax.lax.fori_loop(
        0, num_steps, body, (state, (positions, statistics))
    )
    quantities = jax.vmap(jax.vmap(lambda q: parameterization.quantities(unravel(q), model_data)))(
        positions
    )
    return state, (quantities, statistics)


def _transition(
    log_density: Any, max_tree_depth: int, tuning: Tuning, key: Array, chain: Chains
) -> tuple[Chains, Statistics]:
    """Move one chain by one NUTS transition."""
    import blackjax  # late: a program that was kept from an earlier run is not traced again
    from blackjax.mcmc.hmc import HMCState

    moved, info = blackjax.nuts.build_kernel()(
        key, HMCState(*chain), log_density, tuning.step_size, tuning.inverse_mass, max_tree_depth
    )
    chain = Chains(moved.position, moved.logdensity, moved.logdensity_grad)
    return chain, Statistics(
        lp=moved.logdensity,
        energy=info.energy,
        acceptance_rate=info.acceptance_rate,
        step_size=tuning.step_size,
        n_steps=info.num_integration_steps,
        tree_depth=info.num_trajectory_expansions,
        diverging=info.is_divergent,
        reached_max_treedepth=info.num_trajectory_expansions >= max_tree_depth,
    )


def _tune_together(
    stage: Array,
    tuning: Tuning,
    chains: Chains,
    statistics: Statistics,
    target_accept: Array,
    mesh: Mesh | None,
) -> Tuning:
    """Adapt to all chains, those on other devices included."""
    seen = (chains.position, statistics.acceptance_rate)
    if mesh is None:
        return tune(stage, tuning, seen[0], jnp.mean(seen[1]), target_accept)

    def gathered(tuning: Tuning) -> Tuning:
        positions, rates = jax.lax.all_gather(seen, AXIS, tiled=True)
        return tune(stage, tuning, positions, rates.mean(), target_accept)

    return jax.lax.cond(stage == SAMPLE, lambda t: t, gathered, tuning)


def shape_of_draws(parameterization: Parameterization, model_data: Any) -> tuple[int, Any]:
    """Size of a position, and a blank of its quantities, without compiling anything."""
    position = jax.eval_shape(parameterization.scale, model_data)
    size = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(position))
    return size, jax.eval_shape(parameterization.quantities, position, model_data)
