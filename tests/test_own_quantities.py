"""`cj.sample` refuses quantities that its results could not hold, before it samples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import crossed_jax as cj

SHORT = {"num_chains": 2, "num_warmup": 10, "num_draws": 10}


class Position(NamedTuple):
    theta: jax.Array


def normal(quantities):
    """Parameterize two standard Normal numbers, of which these quantities are kept."""
    return cj.Parameterization(
        "normal",
        lambda position, data: -0.5 * (position.theta**2).sum(),
        lambda key, data: Position(jax.random.normal(key, (2,))),
        lambda data: Position(jnp.ones(2)),
        lambda position, data: quantities(position.theta),
    )


def told(quantities):
    def not_sampled(progress):
        raise AssertionError("sampled")

    with pytest.raises(cj.InputError) as error:
        cj.sample(normal(quantities), {}, **SHORT, report=not_sampled)
    return str(error.value)


@pytest.mark.parametrize("of", [tuple, list, Position, lambda theta: {"b": theta}, lambda _: None])
def test_what_is_no_array_is_told(of):
    assert told(lambda theta: {"sum": theta.sum(), "a": of(theta)}).startswith(
        "the quantity 'a' is"
    )


@pytest.mark.parametrize("name", ["", " ", "a/b", ".", "a\0b", "\ud800"])
def test_a_name_that_no_file_holds_is_told(name):
    assert "cannot be stored" in told(lambda theta: {"sum": theta.sum(), name: theta})


@pytest.mark.parametrize(
    ("taken", "owner"),
    [("chain", "the results"), ("draw", "the results"), ("a_dim_0", "a dimension of 'a'")],
)
def test_a_name_that_is_taken_is_told(taken, owner):
    message = told(lambda theta: {taken: theta.sum(), "a": theta})
    assert message.startswith(f"the name of the quantity '{taken}' belongs to {owner}")


def test_a_vector_may_be_called_intercept(tmp_path):
    tree = cj.sample(normal(lambda theta: {"intercept": theta, "a": theta[0]}), {}, **SHORT)
    assert list(tree["posterior"].data_vars) == ["intercept", "a"]
    tree.to_netcdf(tmp_path / "own.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "own.nc", engine="h5netcdf") as kept:
        np.testing.assert_array_equal(
            kept["posterior"]["intercept"], tree["posterior"]["intercept"]
        )
