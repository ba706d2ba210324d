"""Whole fits of small tables, and what `fit` and its kin refuse."""

import json

import numpy as np
import numpyro.distributions as dist
import polars as pl
import pytest
from example_tables import balanced, table

import crossed_jax as cj
from crossed_jax.models.distributions import Exponential, Normal
from crossed_jax.models.priors import Priors

HALF = dist.HalfNormal(1.0)


def test_chains_start_and_stay_within_a_support():
    """The data ask for an SD of two, and starts are scattered widely about what is nearest."""
    data = balanced((6, 10), 2, sds=(1.0, 0.5), sigma=0.3, seed=1)
    priors = Priors((Normal(0.0, 5.0),) * 2, (dist.Uniform(0.0, 0.6), Exponential(1.0)), HALF)
    tree = cj.fit(data, priors=priors, num_warmup=600, num_draws=50)
    assert np.isfinite(tree["sample_stats"]["lp"]).all()
    assert float(tree["posterior"]["a_sd"].max()) <= 0.6


@pytest.fixture(scope="module")
def post():
    return cj.simulate_screen(seed=0).data


def test_three_factors_fit():
    data = balanced((4, 5, 6), 1, sds=(1.0, 0.5, 0.2), sigma=0.1, seed=1)
    tree = cj.fit(data, parameterization="sum_to_zero", num_draws=500)
    assert cj.diagnose(tree).converged
    assert set(tree["posterior"].data_vars) >= {"a_effect", "b_effect", "c_effect", "c_sd"}


def test_unconnected_blocks_are_fitted_and_told():
    a, b = np.repeat([0, 0, 1, 1, 2, 2], 4), np.repeat([0, 1, 0, 1, 2, 3], 4)
    response = np.random.default_rng(0).normal(size=24) + a
    tree = cj.fit(table(response, a, b), num_warmup=600, num_draws=200)
    (note,) = json.loads(tree.attrs["notes"])
    assert "2 unconnected blocks (2 a x 2 b; 1 a x 2 b)" in note
    assert note in cj.diagnose(tree).warnings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameterization": "flat"}, "unknown parameterization 'flat'"),
        ({"priors": "vague"}, "unknown priors 'vague'"),
        ({"parameterization": []}, r"unknown parameterization \[\]"),
        ({"num_chains": 0}, "number of chains is 0: give a whole number, 1 or more"),
        ({"num_warmup": 0}, "number of warm-up steps is 0"),
        ({"num_draws": 3}, "number of draws is 3: give a whole number, 4 or more"),
        ({"num_draws": 1e2}, "number of draws is 100.0: give a whole number"),
        ({"num_draws": True}, "number of draws is True"),
        ({"num_chains": "4"}, "number of chains is '4'"),
        ({"num_warmup": None}, "number of warm-up steps is None"),
        ({"max_tree_depth": 0}, "maximum tree depth is 0"),
        ({"seed": None}, "the seed is None"),
        ({"seed": np.arange(2)}, r"the seed is array\(\[0, 1\]\)"),
        ({"target_accept": "0.8"}, "target acceptance rate is '0.8': give a number"),
        ({"report": 5}, "report is 5"),
        ({"checkpoint": 5}, "checkpoint is 5: give a path"),
        ({"checkpoint": "a\0b"}, "checkpoint is 'a.x00b': give a path"),
        ({"stream_to": b"draws.nc"}, "stream_to is b'draws.nc': give a path"),
        ({"stream_to": "."}, "it is a directory; name a file"),
        ({"priors": []}, r"unknown priors \[\]"),
        ({"target_accept": 1.0}, "between 0 and 1"),
        ({"target_accept": float("nan")}, "between 0 and 1"),
        ({"centered": {"gene": True}}, "choose parameterization='sum_to_zero'"),
        (
            {"centered": {"gene": True}, "parameterization": "design_matrix"},
            "the design_matrix form samples no effects that could be centered",
        ),
        ({"centered": "gene"}, "centered is 'gene': give True or False by factor"),
        (
            {"centered": {"gene": "no"}, "parameterization": "sum_to_zero"},
            "centered is 'no' for 'gene': give True or False",
        ),
        (
            {"centered": {"guide": True}, "parameterization": "sum_to_zero"},
            "cannot center 'guide'",
        ),
        ({"keep_effects": "some"}, "choose draws or summary"),
        ({"keep_effects": "summary", "parameterization": "original"}, "only the collapsed form"),
        ({"num_draws": 10**9}, "draws of each chain need .* or fewer"),
        ({"seed": -1}, "the seed is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(post, settings, message, monkeypatch):
    monkeypatch.setattr("crossed_jax.fitting.sample", None)  # nothing is run
    with pytest.raises(cj.InputError, match=message):
        cj.fit(post, **settings)


def test_numbers_of_numpy_are_settings_like_pythons(post, tmp_path):
    plain = {
        **{"num_chains": 2, "num_warmup": 600, "num_draws": 40, "seed": 3, "max_tree_depth": 10},
        **{"target_accept": 0.75, "centered": {"gene": True}, "parameterization": "sum_to_zero"},
    }
    numpys = {name: np.asarray(value)[()] for name, value in plain.items() if name != "centered"}
    numpys |= {"num_draws": np.asarray(40), "parameterization": np.str_("sum_to_zero")}
    numpys |= {"centered": {np.str_("gene"): np.True_}, "checkpoint": tmp_path / "run"}
    expected, found = cj.fit(post, **plain), cj.fit(post, **numpys)
    assert found["posterior"].identical(expected["posterior"])
    for name in ("num_draws", "seed", "target_accept", "centered"):
        assert found.attrs[name] == expected.attrs[name]


@pytest.mark.parametrize(
    ("taken", "message"),
    [
        (lambda tree, data: cj.fit(pl.DataFrame()), "fit takes a table .* not a DataFrame"),
        (lambda tree, data: cj.fit(cj.simulate_screen()), "a Simulation: give its attribute data"),
        (lambda tree, data: cj.effects(5), "effects takes the tree that fit returns, .* int"),
        (lambda tree, data: cj.effects(data), "this CrossedData is none"),
        (lambda tree, data: cj.effects(tree["posterior"]), "this DataTree is none"),
        (lambda tree, data: cj.variance_components("posterior.nc"), "xarray.open_datatree"),
        (lambda tree, data: cj.original_coordinates(None), "this NoneType is none"),
        (lambda tree, data: cj.original_coordinates(tree, seed=-1), "the seed is -1"),
        (lambda tree, data: cj.posterior_predictive(data, tree), "this CrossedData is none"),
        (lambda tree, data: cj.posterior_predictive(tree, 5), "predictive takes a table"),
        (lambda tree, data: cj.posterior_predictive(tree, data, num_draws=0), "draws is 0"),
        (lambda tree, data: cj.posterior_predictive(tree, data, seed="a"), "the seed is 'a'"),
        (lambda tree, data: cj.prior_predictive(None, data), "takes a tree, not a NoneType"),
        (lambda tree, data: cj.prior_predictive(tree, None), "predictive takes a table"),
        (lambda tree, data: cj.prior_predictive(tree, data, num_draws=1e2), "draws is 100.0"),
        (lambda tree, data: cj.effects(tree, "95%"), "the interval is '95%': give a number"),
    ],
)
def test_what_a_function_does_not_take_is_told(post, few_draws, taken, message):
    with pytest.raises(cj.InputError, match=message):
        taken(few_draws, post)


@pytest.fixture(scope="module")
def few_draws(post):
    return cj.fit(post, num_chains=2, num_warmup=600, num_draws=40)


def test_a_response_without_noise_is_refused():
    a, b = np.indices((3, 4)).reshape(2, -1)
    with pytest.raises(cj.InputError, match="no noise"):
        cj.fit(table(1e3 + 0.1 * a + np.sqrt(b), a, b))


def test_a_path_without_noise_is_refused():
    a, b = np.repeat(np.arange(300), 2)[:-1], np.repeat(np.arange(301), 2)[1:-2]
    response = np.random.default_rng(0).normal(size=(2, 301))
    with pytest.raises(cj.InputError, match="no noise"):
        cj.fit(table(*(np.repeat(x, 2) for x in (response[0][a] + response[1][b], a, b))))


def test_as_many_effects_as_rows_are_fitted_and_told():
    a, b = np.repeat(np.arange(3), 2)[:-1], np.repeat(np.arange(4), 2)[1:-2]
    data = table(np.random.default_rng(0).normal(size=5), a, b)
    tree = cj.fit(data, num_warmup=600, num_draws=200)
    assert "as many effects as rows" in cj.diagnose(tree).warnings[-1]
