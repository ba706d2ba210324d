"""`cj.sample`: a log-density of one's own, against its closed form."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import crossed_jax as cj

DATA = {"precision": np.array([[2.0, 0.9], [0.9, 1.0]]), "loc": np.array([3.0, -1.0])}
SHORT = {"num_warmup": 600, "num_draws": 20}


class Position(NamedTuple):
    theta: jax.Array


def log_density(position, data):
    away = position.theta - data["loc"]
    return -0.5 * away @ data["precision"] @ away


def start(key, data):
    return Position(data["loc"] + jax.random.normal(key, (2,)))


def scale(data):
    return Position(jnp.ones_like(data["loc"]))


def quantities(position, data):
    return {"theta": position.theta, "first": position.theta[0], "away": position.theta[0] - 3.0}


GAUSSIAN = cj.Parameterization("gaussian", log_density, start, scale, quantities)


@pytest.fixture(scope="module")
def tree():
    with jax.enable_x64(False):  # JAX's own default
        drawn = cj.sample(GAUSSIAN, DATA, num_draws=2000, seed=4)
        assert not jax.config.jax_enable_x64
    return drawn


def test_draws_have_the_moments_of_the_density(tree):
    draws = tree["posterior"]["theta"].values.reshape(-1, 2)
    covariance = np.linalg.inv(DATA["precision"])
    ess = cj.diagnose(tree).min_ess_bulk
    assert ess > 1000
    standard_error = np.sqrt(np.diag(covariance) / ess)
    assert (np.abs(draws.mean(0) - DATA["loc"]) < 4 * standard_error).all()
    np.testing.assert_allclose(draws.var(0), np.diag(covariance), rtol=4 * np.sqrt(2 / ess))


def test_what_comes_out_is_named_and_judged(tree):
    assert tree["posterior"]["theta"].dims == ("chain", "draw", "theta_dim_0")
    assert tree["posterior"]["theta"].dtype == np.float64
    verdict = cj.diagnose(tree)
    assert verdict.converged
    assert verdict.max_r_hat_at in ("first", "away", "theta[0]", "theta[1]")
    table = cj.parameters(tree)
    assert table["parameter"].to_list() == ["away", "first"]
    assert table["mean"].to_list() == pytest.approx([0.0, 3.0], abs=0.2)
    assert tree.attrs["parameterization"] == "gaussian"


def test_single_precision_data_are_sampled_in_double_precision():
    single = {name: jnp.asarray(values, jnp.float32) for name, values in DATA.items()}
    found = cj.sample(GAUSSIAN, single, **SHORT)
    whole = {name: np.float64(np.float32(values)) for name, values in DATA.items()}
    expected = cj.sample(GAUSSIAN, whole, **SHORT)
    np.testing.assert_array_equal(found["posterior"]["theta"], expected["posterior"]["theta"])


def test_a_checkpoint_is_extended_and_bound_to_the_log_density(tmp_path):
    place = tmp_path / "run"
    cj.sample(GAUSSIAN, DATA, **SHORT, checkpoint=place)
    longer = cj.sample(GAUSSIAN, DATA, **SHORT | {"num_draws": 40}, checkpoint=place)
    at_once = cj.sample(GAUSSIAN, DATA, **SHORT | {"num_draws": 40})
    np.testing.assert_array_equal(longer["posterior"]["theta"], at_once["posterior"]["theta"])
    wider = GAUSSIAN._replace(log_density=lambda position, data: 0.5 * log_density(position, data))
    with pytest.raises(cj.InputError, match="of another run: its log_density"):
        cj.sample(wider, DATA, **SHORT, checkpoint=place)
    moved = DATA | {"loc": np.array([3.0, -1.5])}
    with pytest.raises(cj.InputError, match="of another run: its data"):
        cj.sample(GAUSSIAN, moved, **SHORT, checkpoint=place)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("a string", "give a Parameterization"),
        (GAUSSIAN._replace(scale=lambda data: jnp.ones(2)), "different structure or shapes"),
        (GAUSSIAN._replace(scale=lambda data: Position(jnp.ones(3))), "different structure or sha"),
        (GAUSSIAN._replace(log_density=lambda position, data: position.theta), "sum it to a sing"),
        (GAUSSIAN._replace(quantities=lambda position, data: position), "arrays by name"),
        (
            GAUSSIAN._replace(
                log_density=lambda position, data: jnp.log(-(position.theta[0] ** 2))
            ),
            "gaussian form is not a number where the chains start",
        ),
    ],
)
def test_what_cannot_be_sampled_is_told(wrong, told):
    with pytest.raises(cj.InputError, match=told):
        cj.sample(wrong, DATA, **SHORT)


@pytest.mark.parametrize(
    "of_factors", [cj.effects, cj.variance_components, cj.original_coordinates]
)
def test_what_needs_factors_says_so(tree, of_factors):
    with pytest.raises(cj.InputError, match="takes a fit of crossed factors"):
        of_factors(tree)
