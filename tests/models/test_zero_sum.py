import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions.transforms import ZeroSumTransform

from crossed_jax.models.zero_sum import contrasts, zero_sum

SIZES = [2, 3, 10, 1001]


@pytest.mark.parametrize("size", SIZES)
def test_agrees_with_numpyro(size):
    free = np.random.default_rng(size).normal(size=(5, size - 1))
    np.testing.assert_allclose(zero_sum(free), ZeroSumTransform(1)(free), atol=1e-13)


@pytest.mark.parametrize("size", SIZES)
def test_is_an_isometry_onto_zero_sum_vectors(size):
    basis = np.asarray(zero_sum(jnp.eye(size - 1)))
    np.testing.assert_allclose(basis @ basis.T, np.eye(size - 1), atol=1e-13)
    np.testing.assert_allclose(basis.sum(1), 0.0, atol=1e-13)


@pytest.mark.parametrize("size", SIZES)
def test_contrasts_invert_it_and_ignore_the_mean(size):
    free = np.random.default_rng(size).normal(size=(5, size - 1))
    np.testing.assert_allclose(contrasts(zero_sum(free) + 3.0), free, atol=1e-12)
