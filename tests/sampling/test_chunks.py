import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base import array_stats

from crossed_jax.errors import InputError
from crossed_jax.models.parameterization import Parameterization
from crossed_jax.sampling import chunks as sampler
from crossed_jax.sampling.chunks import sample
from crossed_jax.sampling.devices import spread
from crossed_jax.sampling.ess import rank_diagnostics

COVARIANCE = np.array([[4.0, 1.2, 0.0], [1.2, 1.0, -0.05], [0.0, -0.05, 0.01]])


def gaussian(position, model_data):
    deviation = position - model_data["mean"]
    return -0.5 * deviation @ model_data["precision"] @ deviation


def start(key, model_data):
    return model_data["mean"] + jax.random.normal(key, (3,))


def form_of(log_density):
    return Parameterization(
        "test", log_density, start, lambda model_data: jnp.ones(3), lambda q, _: q
    )


GAUSSIAN = form_of(gaussian)


def run(seed=0, form=GAUSSIAN, mean=0.0, **settings):
    model_data = {"mean": jnp.full(3, mean), "precision": jnp.asarray(np.linalg.inv(COVARIANCE))}
    settings = {"num_chains": 4, "num_warmup": 500, "num_draws": 1000} | settings
    return sample(jax.random.key(seed), form, model_data, **settings)


def test_moments_of_a_gaussian_within_monte_carlo_error():
    draws = run(mean=7.0).draws
    for moment, expected in (("mean", np.full(3, 7.0)), ("sd", np.sqrt(np.diag(COVARIANCE)))):
        found = draws.mean((0, 1)) if moment == "mean" else draws.std((0, 1))
        error = array_stats.mcse(draws, chain_axis=0, draw_axis=1, method=moment)
        assert np.all(np.abs(found - expected) < 4 * error)


def test_the_same_seed_gives_the_same_draws_and_another_seed_others():
    first, again, other = run(seed=1), run(seed=1), run(seed=2)
    np.testing.assert_array_equal(first.draws, again.draws)
    assert not np.any(first.draws == other.draws)


def test_draws_do_not_depend_on_where_the_run_is_cut(monkeypatch):
    whole = run(seed=3)
    monkeypatch.setattr(sampler, "SECONDS_BETWEEN_REPORTS", 0.0)  # one step between reports
    np.testing.assert_array_equal(run(seed=3).draws, whole.draws)


def test_a_second_table_of_the_same_shape_traces_nothing():
    traces = []

    def counted(position, data):
        traces.append(1)
        return gaussian(position, data)

    form = form_of(counted)
    run(seed=0, form=form, mean=0.0)
    traced = len(traces)
    assert traced > 0
    run(seed=5, form=form, mean=100.0, num_draws=300, target_accept=0.9)
    assert len(traces) == traced


def test_reports_every_step_once_and_ends_at_the_total():
    told = []
    run(num_draws=200, report=told.append)
    done = [progress.done for progress in told]
    assert done == sorted(set(done))
    assert done[-1] == told[-1].total == 700
    assert not told[-1].warming_up


def test_reports_tell_the_ess_of_the_log_density_so_far(monkeypatch):
    monkeypatch.setattr(sampler, "SECONDS_BETWEEN_REPORTS", 0.0)  # one step between reports
    told = []
    statistics = run(num_draws=200, report=told.append).statistics
    assert all(math.isnan(progress.ess) for progress in told if progress.done <= 500)
    assert told[-1].ess == pytest.approx(rank_diagnostics(statistics.lp[..., None]).ess_bulk[0])


def test_the_ess_is_not_counted_anew_at_every_report(monkeypatch):
    counted = []
    monkeypatch.setattr(sampler, "_ess_so_far", counted.append)
    monkeypatch.setattr(sampler, "MOST_BUFFER_STEPS", 8)
    monkeypatch.setattr(sampler, "SECONDS_BETWEEN_REPORTS", 1e6)
    told = []
    run(report=told.append)
    assert len(told) > 100
    assert not counted


def test_what_is_held_of_a_chunk_is_no_view_of_its_buffer(monkeypatch):
    monkeypatch.setattr(sampler, "SECONDS_BETWEEN_REPORTS", 0.0)  # one step between reports
    held = []

    def join(pieces):
        held.extend(jax.tree.leaves(pieces))
        return join_pieces(pieces)

    join_pieces = sampler._joined
    monkeypatch.setattr(sampler, "_joined", join)
    run(num_draws=30)
    assert len(held) > 100
    assert all(leaf.base is None for leaf in held)


def test_statistics_tell_the_step_size_and_the_depth_of_trees():
    statistics = run(max_tree_depth=2).statistics
    assert np.ptp(statistics.step_size) == 0.0
    assert statistics.tree_depth.max() == 2
    np.testing.assert_array_equal(statistics.reached_max_treedepth, statistics.tree_depth == 2)
    assert statistics.reached_max_treedepth.any()
    assert statistics.n_steps.max() == 3


def test_warm_up_reaches_the_target_acceptance_rate_and_learns_the_scale():
    statistics = run(target_accept=0.9, num_warmup=1000).statistics
    assert statistics.acceptance_rate.mean() == pytest.approx(0.9, abs=0.05)


def test_a_density_that_jumps_to_nothing_is_told_as_divergences():
    def cliff(position, data):
        return jnp.where(position[0] > 0.0, -jnp.inf, gaussian(position, data))

    result = run(form=form_of(cliff), mean=0.0)
    assert result.statistics.diverging.any()


@pytest.mark.parametrize(
    ("chains", "devices", "wanted"),
    [(4, 1, None), (4, 2, 2), (3, 2, None), (6, 4, 3), (1, 4, None)],
)
def test_auto_spreads_chains_evenly_over_processors(chains, devices, wanted, monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda kind: [jax.local_devices()[0]] * devices)
    mesh, vectorized = spread("auto", chains)
    assert (mesh and mesh.size) == wanted
    assert not vectorized


def test_a_density_that_is_not_a_number_is_refused_by_name():
    def broken(position, data):
        return jnp.sqrt(-jnp.abs(position["slope"])) - position["mean"] ** 2

    form = Parameterization(
        "broken",
        broken,
        lambda key, data: {"mean": jax.random.normal(key), "slope": jnp.asarray(1.0)},
        lambda data: {"mean": jnp.asarray(1.0), "slope": jnp.asarray(1.0)},
        lambda position, data: position,
    )
    with pytest.raises(InputError, match=r"broken form is not a number.*by \['slope'\]:"):
        run(form=form)
