r"""Warm-up: Stan's windows, with one step size and one diagonal metric for all chains.

A fast stage for the step size, slow windows of doubling length that also learn the metric, and a
last fast stage (Stan reference manual, "Automatic parameter tuning"). What each step does is looked
up in a schedule, so that one compiled step serves warm-up and sampling. The step size follows
Nesterov's dual averaging (Hoffman and Gelman, 2014, *JMLR* 15:1593, section 3.2): with the
acceptance rates :math:`\alpha_t` and their target :math:`\delta`,

.. math::
    \bar H_t &= \Big(1 - \frac{1}{t + t_0}\Big) \bar H_{t-1} + \frac{\delta - \alpha_t}{t + t_0},
        \qquad \log\epsilon_{t+1} = \log\epsilon_1 - \frac{\sqrt t}{\gamma} \bar H_t \\
    \overline{\log\epsilon}_{t} &= t^{-\kappa} \log\epsilon_t
        + (1 - t^{-\kappa})\, \overline{\log\epsilon}_{t-1} .

Stan steers towards :math:`10\epsilon_1` with :math:`\gamma = 0.05`, for starts that may be off by
orders of magnitude. Where rough posterior SDs are given they are not: acceptance falls off within a
factor of two in many dimensions, and with Stan's numbers every rejection is followed by steps so
short that a trajectory takes ten times as many. The first step size is that of independent
coordinates, :math:`2 d^{-1/4}` of their SDs in :math:`d` dimensions (Beskos et al., 2013,
*Bernoulli* 19:1501, have the power), and :math:`\gamma = 0.2`.

Where coordinates are nearly independent all of them turn together, after :math:`n = \pi/\phi` steps
with :math:`\cos\phi = 1 - \epsilon^2/2`. A trajectory of :math:`2^k - 1` steps that falls short of
that by less than half a step is next doubled to a whole turn, where NUTS sees no U-turn, and again
and again (stan-dev/stan#2799, which Stan has further checks against). Such step sizes are not used:
one slightly larger ends the trajectory at n.

Dual averaging sees the chains' mean acceptance rate and the variances pool their draws, so that C
chains learn the metric from C times the draws and, stepping side by side, wait less for one
another.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.types import Array

FAST, SLOW, WINDOW_END, WARMUP_END, SAMPLE = range(5)
LEAST_STAGES = 1024
T0, GAMMA, KAPPA = 10, 0.2, 0.75
SHORT_OF_TURN = 0.98


class DualAveraging(NamedTuple):
    """The step size's logarithm, now and at first, its average, and what drives it: scalars."""

    log_step_size: Array
    average: Array
    step: Array
    error: Array
    first: Array


class Moments(NamedTuple):
    """Running number, mean and sum of squared deviations of each coordinate (Welford, 1962)."""

    number: Array
    mean: Array
    sum_squares: Array


class Tuning(NamedTuple):
    """The step size and diagonal metric that all chains share, and what they are learned from."""

    step_size: Array
    inverse_mass: Array
    dual_averaging: DualAveraging
    moments: Moments


def schedule(num_warmup: int) -> np.ndarray:
    """Say what each step does besides moving; steps beyond the last are ``SAMPLE``.

    Returns
    -------
    numpy.ndarray
        Padded with ``SAMPLE`` to a power of two and at least to `LEAST_STAGES`, so that runs of
        about the same length, and all shorter ones, share a compiled program.
    """
    stages = np.full(max(LEAST_STAGES, 1 << num_warmup.bit_length()), SAMPLE, np.int32)
    if num_warmup == 0:
        return stages
    stages[:num_warmup] = FAST
    if num_warmup >= 20:
        first, window, last = 75, 25, 50
        if first + window + last > num_warmup:
            first, last = int(0.15 * num_warmup), int(0.1 * num_warmup)
            window = num_warmup - first - last
        start, end = first, num_warmup - last
        while start < end:
            # a window takes all that is left when twice its length would not fit behind it
            stop = end if start + 3 * window > end else start + window
            stages[start:stop] = SLOW
            stages[stop - 1] = WINDOW_END
            start, window = stop, 2 * window
    stages[num_warmup - 1] = WARMUP_END
    return stages


def first_tuning(scale: Array) -> Tuning:
    """Start from rough posterior SDs of the coordinates."""
    step_size = jnp.asarray(min(1.0, 2.0 * scale.shape[0] ** -0.25))
    return Tuning(that_turns(step_size), scale**2, _restart(step_size), _no_moments(scale.shape[0]))


def tune(
    stage: Array, tuning: Tuning, positions: Array, acceptance_rate: Array, target_accept: Array
) -> Tuning:
    """Adapt the step size, and in slow windows the metric, as the stage of warm-up says.

    Parameters
    ----------
    stage
        Of the schedule.
    tuning
        Before the step.
    positions
        Of all chains after the step, shape (chains, coordinates).
    acceptance_rate
        Its mean over the chains.
    target_accept
        What to steer it to.
    """

    def fast(tuning: Tuning) -> Tuning:
        averaging = _update(tuning.dual_averaging, target_accept - acceptance_rate)
        step_size = that_turns(jnp.exp(averaging.log_step_size))
        return tuning._replace(step_size=step_size, dual_averaging=averaging)

    def slow(tuning: Tuning) -> Tuning:
        return fast(tuning)._replace(moments=_add(tuning.moments, positions))

    def window_end(tuning: Tuning) -> Tuning:
        tuning = slow(tuning)
        averaging = _restart(jnp.exp(tuning.dual_averaging.average))
        return Tuning(
            that_turns(jnp.exp(averaging.log_step_size)),
            _learned(tuning.moments, tuning.inverse_mass),
            averaging,
            _no_moments(positions.shape[1]),
        )

    def warmup_end(tuning: Tuning) -> Tuning:
        tuning = fast(tuning)
        return tuning._replace(step_size=that_turns(jnp.exp(tuning.dual_averaging.average)))

    return jax.lax.switch(stage, (fast, slow, window_end, warmup_end, lambda t: t), tuning)


def that_turns(step_size: Array) -> Array:
    """A step size with which independent coordinates are seen to turn: this, or a larger one."""
    to_turn = jnp.pi / (2.0 * jnp.arcsin(jnp.minimum(0.5 * step_size, 1.0)))
    states = 2.0 ** jnp.round(jnp.log2(to_turn + 1.0))
    enough = SHORT_OF_TURN * (states - 1.0)
    misses = (states > 2.0) & (enough < to_turn) & (to_turn < states - 0.4)
    return jnp.where(misses, 2.0 * jnp.sin(0.5 * jnp.pi / enough), step_size)


def _restart(step_size: Array) -> DualAveraging:
    zero = jnp.asarray(0.0)
    return DualAveraging(jnp.log(step_size), zero, jnp.asarray(1.0), zero, jnp.log(step_size))


def _update(state: DualAveraging, error: Array) -> DualAveraging:
    weight = 1.0 / (state.step + T0)
    forget = state.step**-KAPPA
    error = (1.0 - weight) * state.error + weight * error
    return DualAveraging(
        state.first - jnp.sqrt(state.step) / GAMMA * error,
        forget * state.log_step_size + (1.0 - forget) * state.average,
        state.step + 1.0,
        error,
        state.first,
    )


def _no_moments(size: int) -> Moments:
    return Moments(jnp.asarray(0.0), jnp.zeros(size), jnp.zeros(size))


def _add(moments: Moments, positions: Array) -> Moments:
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


def _learned(moments: Moments, before: Array) -> Array:
    """Shrink the variances as Stan does, towards their own geometric mean rather than a unit.

    Stan adds 5/(n + 5) of 1e-3; in place of that fixed number stands one in the coordinates' own
    unit, so that the response's unit does not matter: not even to log SDs, which have none, as what
    is typical of the others counts up to a hundred of a coordinate's own SDs. A coordinate that did
    not move has taught nothing, and keeps the metric from before.
    """
    variance = moments.sum_squares / (moments.number - 1.0)
    moved = variance >= jnp.finfo(variance.dtype).tiny  # XLA takes smaller numbers for zero
    typical = jnp.exp(jnp.mean(jnp.log(jnp.where(moved, variance, before))))
    weight = moments.number / (moments.number + 5.0)
    typical = jnp.minimum(typical, 100.0**2 * variance)
    return jnp.where(moved, weight * variance + (1.0 - weight) * 1e-3 * typical, before)
