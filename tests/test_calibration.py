"""Simulation-based calibration (Talts et al., 2018, arXiv:1804.06788).

Parameters are drawn from the priors, a table from the parameters, and the posterior given the
table: the rank of each true value among its posterior draws is then uniform. All tables go through
one compiled function, batched over tables as well as chains.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats
from tables import problem_for, table

from crossed_jax import sampler
from crossed_jax.models import sum_to_zero
from crossed_jax.priors import Priors

NUM_TABLES = 400
NUM_WARMUP, NUM_DRAWS, THIN = 500, 990, 10
LEVELS = (4, 6)
# proper, positive, and away from zero, where a single setting of NUTS would not do for all tables
PRIORS = Priors(
    (dist.Normal(0.0, 5.0),) * 2,
    (dist.LogNormal(-0.5, 0.5), dist.LogNormal(-1.0, 0.5)),
    dist.LogNormal(-1.0, 0.4),
)


def simulate(rng):
    """Draw parameters and an unbalanced table with cells missing, the same cells in each."""
    grid = np.indices(LEVELS).reshape(2, -1)
    codes = np.repeat(grid, np.resize([2, 1, 0, 1, 1], grid.shape[1]), axis=1)
    mu = rng.normal(0.0, 5.0, 2)
    sds = np.exp(rng.normal([-0.5, -1.0], 0.5))
    sigma = np.exp(rng.normal(-1.0, 0.4))
    alpha = [rng.normal(m, s, n) for m, s, n in zip(mu, sds, LEVELS, strict=True)]
    mean = alpha[0][codes[0]] + alpha[1][codes[1]]
    truth = {
        "intercept": alpha[0].mean() + alpha[1].mean(),
        "first effect of a": alpha[0][0] - alpha[0].mean(),
        "last effect of b": alpha[1][-1] - alpha[1].mean(),
        "a_sd": sds[0],
        "b_sd": sds[1],
        "sigma": sigma,
    }
    return table(rng.normal(mean, sigma), *codes), truth


def batched_fit(problems):
    """One chain for each of many tables, through one compiled and batched step."""
    form = sum_to_zero.FORM
    keys = jax.random.split(jax.random.key(0), (NUM_TABLES, 1))
    state = jax.vmap(partial(sampler._initial_state, form=form))(keys, problems)
    schedule = jnp.asarray(sampler.warmup_schedule(NUM_WARMUP))

    @jax.jit
    def advance(state, num_steps):
        return jax.vmap(
            lambda state, keys, problem: sampler._advance(
                state,
                num_steps,
                keys=keys,
                schedule=schedule,
                target_accept=0.9,
                problem=problem,
                form=form,
                max_tree_depth=8,
            )
        )(state, keys, problems)

    for _ in range(0, NUM_WARMUP, 250):
        state, _ = advance(state, 250)
    kept = []
    for _ in range(0, NUM_DRAWS, 110):
        state, (quantities, _) = advance(state, 110)
        kept.append(jax.tree.map(lambda x: np.asarray(x[:, :110:THIN, 0]), quantities))
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *kept)


@pytest.fixture(scope="module")
def ranks():
    rng = np.random.default_rng(20)
    simulated = [simulate(rng) for _ in range(NUM_TABLES)]
    with jax.enable_x64(True):
        problems = [problem_for(data, PRIORS) for data, _ in simulated]
        problems = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
        draws = batched_fit(problems)
    named = {
        "intercept": draws.intercept,
        "first effect of a": draws.effects[0][..., 0],
        "last effect of b": draws.effects[1][..., -1],
        "a_sd": draws.factor_sds[..., 0],
        "b_sd": draws.factor_sds[..., 1],
        "sigma": draws.sigma,
    }
    truth = {name: np.array([t[name] for _, t in simulated]) for name in named}
    return {name: np.sum(values < truth[name][:, None], 1) for name, values in named.items()}


@pytest.mark.parametrize(
    "name", ["intercept", "first effect of a", "last effect of b", "a_sd", "b_sd", "sigma"]
)
def test_ranks_are_uniform(ranks, name):
    num_ranks = NUM_DRAWS // THIN + 1
    counts = np.bincount(ranks[name] * 20 // num_ranks, minlength=20)
    assert stats.chisquare(counts).pvalue > 1e-3, counts
    # chi-square is blind to a slight tilt or bowl: look at the moments of the ranks as well
    uniform = (ranks[name] + 0.5) / num_ranks
    assert abs(uniform.mean() - 0.5) < 4 * np.sqrt(1 / 12 / NUM_TABLES)
    assert abs(uniform.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / NUM_TABLES)
