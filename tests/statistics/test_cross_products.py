import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from example_tables import balanced, unbalanced
from truth import dense_design

from crossed_jax.statistics.cells import cells_of
from crossed_jax.statistics.cross_products import (
    DensePairs,
    ProportionalPairs,
    SparsePairs,
    cross_products,
    gaussian_log_likelihood,
)

TABLES = {
    "balanced": (balanced((4, 6), 3, sds=(1, 1), sigma=0.3), ProportionalPairs),
    "dense": (unbalanced((4, 6), 60, sds=(1, 1), sigma=0.3), DensePairs),
    "sparse": (unbalanced((90, 80), 300, sds=(1, 1), sigma=0.3), SparsePairs),
    "three factors": (unbalanced((4, 3, 5), 60, sds=(1, 1, 1), sigma=0.3), DensePairs),
}


LOG_LIKELIHOOD = jax.jit(gaussian_log_likelihood)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("name", TABLES)
def test_equals_the_density_of_every_row(name, offset):
    data, kind = TABLES[name]
    data = data.__class__(**{**vars(data), "response": data.response + offset})
    rng = np.random.default_rng(1)
    design, slices = dense_design(data)
    center = tuple(rng.normal(size=s.stop - s.start) for s in slices)
    effects = tuple(jnp.asarray(c + 0.1 * rng.normal(size=c.shape)) for c in center)
    products = cross_products(cells_of(data), np.asarray(offset), center)
    assert all(isinstance(pairs, kind) for pairs in products.pairs)
    found = LOG_LIKELIHOOD(products, jnp.asarray(offset + 0.2), effects, jnp.asarray(0.4))
    expected = dist.Normal(offset + 0.2 + design @ np.concatenate(effects), 0.4)
    expected = expected.log_prob(data.response).sum()
    assert float(found) == pytest.approx(float(expected), rel=1e-10 if offset == 0 else 1e-8)


@pytest.mark.parametrize("name", TABLES)
def test_the_gradient_is_that_of_every_row(name):
    data, _ = TABLES[name]
    design, slices = dense_design(data)
    rng = np.random.default_rng(2)
    center = tuple(rng.normal(size=s.stop - s.start) for s in slices)
    effects = tuple(jnp.asarray(c + 0.1 * rng.normal(size=c.shape)) for c in center)
    products = cross_products(cells_of(data), np.asarray(0.3), center)

    def log_likelihood(effects):
        return LOG_LIKELIHOOD(products, jnp.asarray(0.2), effects, jnp.asarray(0.4))

    residual = data.response - 0.2 - design @ np.concatenate(effects)
    found = np.concatenate(jax.grad(log_likelihood)(effects))
    np.testing.assert_allclose(found, design.T @ residual / 0.4**2, rtol=1e-9, atol=1e-9)
