import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.adaptation.window_adaptation import build_schedule
from blackjax.mcmc.hmc import HMCState
from blackjax.optimizers.dual_averaging import dual_averaging

from crossed_jax.sampling.warmup import (
    FAST,
    GAMMA,
    SAMPLE,
    SLOW,
    WARMUP_END,
    WINDOW_END,
    first_tuning,
    schedule,
    that_turns,
    tune,
)

tuned = jax.jit(tune)


def test_schedule_is_that_of_stan():
    stages = schedule(1000)
    assert stages[999:].tolist() == [WARMUP_END, *[SAMPLE] * 24]
    # Stan: 75 fast steps, windows of 25, 50, 100, 200 and 500 slow ones, 50 fast ones
    assert np.flatnonzero(stages == WINDOW_END).tolist() == [99, 149, 249, 449, 949]
    assert set(stages[:75]) == set(stages[950:999]) == {FAST}


def test_runs_of_other_lengths_share_a_program():
    assert len({len(schedule(number)) for number in (0, 1, 300, 1000)}) == 1


@pytest.mark.parametrize("number", [1, 2, 19, 20, 21, 99, 149, 150, 151, 300, 1000, 1999])
def test_schedule_is_that_of_blackjax(number):
    stages = np.asarray(build_schedule(number))
    slow, ends = stages[:, 0] == 1, stages[:, 1] == 1
    expected = np.where(ends, WINDOW_END, np.where(slow, SLOW, FAST))
    expected[-1] = WARMUP_END
    assert schedule(number)[:number].tolist() == expected.tolist()


def test_step_size_is_that_of_blackjax():
    rates = np.random.default_rng(0).uniform(0.3, 1.0, 40)
    start, update, final = dual_averaging(gamma=GAMMA)
    tuning = first_tuning(jnp.ones(100))
    first = float(tuning.step_size)
    assert first == pytest.approx(2.0 * 100**-0.25)
    expected = start(first)._replace(mu=np.log(first))
    for rate in rates:
        expected = update(expected, 0.8 - rate)
        tuning = tuned(jnp.asarray(FAST), tuning, jnp.zeros((3, 100)), jnp.asarray(rate), 0.8)
        wanted = float(that_turns(jnp.exp(expected.log_x)))
        assert float(tuning.step_size) == pytest.approx(wanted, rel=1e-5)
    tuning = tuned(jnp.asarray(WARMUP_END), tuning, jnp.zeros((3, 100)), jnp.asarray(0.8), 0.8)
    expected = update(expected, 0.0)
    assert float(tuning.step_size) == pytest.approx(float(that_turns(final(expected))), rel=1e-5)


def test_trajectories_of_independent_coordinates_end_at_half_a_turn():
    """Without that, steps of .19 to .21 take 420 on average, and some the most there are."""
    size, kernel = 2000, blackjax.nuts.build_kernel()

    def log_density(x):
        return -0.5 * x @ x

    @jax.jit
    def steps(step_size, key):
        at = jax.random.normal(key, (size,))
        state = HMCState(at, log_density(at), -at)
        _, info = kernel(key, state, log_density, step_size, jnp.ones(size), 10)
        return info.num_integration_steps

    step_sizes = that_turns(jnp.linspace(0.16, 0.5, 200))
    keys = jax.random.split(jax.random.key(0), 200)
    assert jax.lax.map(lambda one: steps(*one), (step_sizes, keys)).max() <= 31


def test_metric_is_the_pooled_variance_shrunk_as_stan_does():
    positions = np.random.default_rng(1).normal(size=(50, 4, 3)) * [1.0, 10.0, 0.1]
    tuning = first_tuning(jnp.ones(3))
    for i, chains in enumerate(positions):
        stage = WINDOW_END if i == len(positions) - 1 else SLOW
        tuning = tuned(jnp.asarray(stage), tuning, jnp.asarray(chains), jnp.asarray(0.8), 0.8)
    variance = positions.reshape(-1, 3).var(0, ddof=1)
    weight = 200 / 205
    typical = np.exp(np.log(variance).mean())
    expected = weight * variance + (1 - weight) * 1e-3 * typical
    np.testing.assert_allclose(tuning.inverse_mass, expected, rtol=1e-4)
    assert float(tuning.moments.number) == 0.0


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_effects_is_nothing_to_the_metric_of_log_sds(unit):
    positions = np.random.default_rng(3).normal(size=(100, 20, 9)) * [*[unit] * 8, 0.1]
    tuning = first_tuning(jnp.ones(9))
    with jax.enable_x64(True):
        for i, chains in enumerate(positions):
            stage = WINDOW_END if i == len(positions) - 1 else SLOW
            tuning = tuned(jnp.asarray(stage), tuning, jnp.asarray(chains), jnp.asarray(0.8), 0.8)
    variance = positions.reshape(-1, 9).var(0, ddof=1)
    np.testing.assert_allclose(tuning.inverse_mass, variance, rtol=0.05)


@pytest.mark.parametrize("x64", [False, True])
def test_a_coordinate_that_did_not_move_keeps_its_metric(x64):
    with jax.enable_x64(x64):
        rng = np.random.default_rng(2)
        still = np.full((20, 1), 1.7)
        before = first_tuning(jnp.asarray([1.0, 2.0]))
        for moves in ([still, still], [still, rng.normal(size=(20, 1))]):
            tuning = before
            for i, position in enumerate(np.concatenate(moves, axis=1)):
                stage = jnp.asarray(WINDOW_END if i == 19 else SLOW)
                tuning = tuned(stage, tuning, jnp.asarray(position)[None], 0.8, 0.8)
            assert float(tuning.inverse_mass[0]) == 1.0
            moved = moves[1] is not still
            assert float(tuning.inverse_mass[1]) == pytest.approx(
                20 / 25 * moves[1].var(ddof=1) if moved else 4.0, rel=0.01
            )
