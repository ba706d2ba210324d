"""Simulation-based calibration (Talts et al., 2018, arXiv:1804.06788).

Parameters are drawn from the priors, a table from the parameters, and the posterior given the
table: the rank of each true value among its posterior draws is then uniform. All tables go through
one compiled function, one after the other: side by side each would wait for the longest trajectory.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from example_tables import estimate_of, model_data_for, table
from scipy import stats

from crossed_jax.models import normal, sum_to_zero
from crossed_jax.models.collapsed.collapse import collapse
from crossed_jax.models.collapsed.effect_draws import draw_effects
from crossed_jax.models.parts import parameterization_of
from crossed_jax.models.priors import Priors
from crossed_jax.sampling import nuts
from crossed_jax.sampling.warmup import schedule
from crossed_jax.statistics.cells import cells_of

pytestmark = pytest.mark.usefixtures("optimized")

NUM_TABLES = 300
NUM_WARMUP, NUM_DRAWS, THIN = 500, 990, 10
LEVELS = (4, 6)
BALANCED = np.full(24, 2)
UNBALANCED = np.resize([2, 1, 0, 1, 1], 24)
# proper, positive, and away from zero, where a single setting of NUTS would not do for all tables
PRIORS = Priors(
    (dist.Normal(0.0, 5.0),) * 2,
    (dist.LogNormal(-0.5, 0.5), dist.LogNormal(-1.0, 0.5)),
    dist.LogNormal(-1.0, 0.4),
)


def simulate(rng, counts):
    """Draw parameters, and a table with the given rows per cell."""
    codes = np.repeat(np.indices(LEVELS).reshape(2, -1), counts, axis=1)
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


def draws_of_each(form, problems):
    """One chain for each of many tables, through one compiled step."""
    leaves, structure = jax.tree.flatten(problems)
    size, _ = nuts.shape_of_draws(form, jax.tree.map(lambda leaf: leaf[0], problems))
    settings = nuts.Settings(form, structure, 8, 250, None, (), vectorized=False)
    keys = jax.random.key_data(jax.random.split(jax.random.key(0), NUM_TABLES))
    blank = nuts.blank_state(1, size)
    state = jax.tree.map(lambda leaf: np.stack([leaf] * NUM_TABLES), blank)

    @jax.jit
    def advance(state, num_steps):
        def of_one(arguments):
            state, key, leaves = arguments
            chain = jnp.arange(1, dtype=jnp.uint32)
            plan = nuts.Plan(key, chain, schedule(NUM_WARMUP), 0.9, None, leaves)
            return nuts.advance(state, num_steps, plan, settings=settings)

        return jax.lax.map(of_one, (state, keys, tuple(leaves)))

    for _ in range(0, NUM_WARMUP, 250):
        state, _ = advance(state, 250)
    kept = []
    for _ in range(0, NUM_DRAWS, 110):
        state, (quantities, _) = advance(state, 110)
        kept.append(jax.tree.map(lambda x: np.asarray(x[:, :110:THIN, 0]), quantities))
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *kept)


def stacked(problems):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *problems)


def draws_of_sum_to_zero(tables):
    form = parameterization_of(sum_to_zero.TERMS, normal.NOISE)
    return draws_of_each(form, stacked([model_data_for(t, PRIORS) for t in tables]))


def draws_of_collapsed(tables):
    cells = [cells_of(table) for table in tables]
    forms = [collapse(c, PRIORS, estimate_of(c)) for c in cells]
    sds = draws_of_each(forms[0].parameterization, stacked([form.model_data for form in forms]))
    drawn = []
    for index, form in enumerate(forms):
        given = form.given(jax.tree.map(lambda x, i=index: x[i][None], sds))
        effects = tuple(np.empty((1, NUM_DRAWS // THIN, size)) for size in LEVELS)
        intercept = draw_effects([given], index, effects)
        drawn.append({"intercept": intercept, "{factor}_effect": effects})
    return jax.tree.map(lambda *parts: np.concatenate(parts), *drawn) | {
        "{factor}_sd": tuple(np.moveaxis(sds.factor_sds, -1, 0)),
        "sigma": sds.sigma,
    }


DRAWS = {
    "sum_to_zero": (UNBALANCED, draws_of_sum_to_zero),
    "collapsed": (UNBALANCED, draws_of_collapsed),
    "collapsed, balanced": (BALANCED, draws_of_collapsed),
}


@pytest.fixture(scope="module", params=DRAWS)
def ranks(request):
    counts, draw = DRAWS[request.param]
    rng = np.random.default_rng(20)
    simulated = [simulate(rng, counts) for _ in range(NUM_TABLES)]
    with jax.enable_x64(True):
        draws = draw([data for data, _ in simulated])
    named = {
        "intercept": draws["intercept"],
        "first effect of a": draws["{factor}_effect"][0][..., 0],
        "last effect of b": draws["{factor}_effect"][1][..., -1],
        "a_sd": draws["{factor}_sd"][0],
        "b_sd": draws["{factor}_sd"][1],
        "sigma": draws["sigma"],
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
