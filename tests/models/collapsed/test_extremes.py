"""SDs that vanish, noise that leaves no digits, draws outside the box."""

from itertools import product

import numpy as np
import pytest
from designs import TABLES, any_design, given_at, linear_maps, priors_for
from example_tables import estimate_of, unbalanced
from truth import log_marginal

from crossed_jax.errors import InputError
from crossed_jax.models.collapsed import conditional
from crossed_jax.models.collapsed.back_substitution import EffectsGivenSDs
from crossed_jax.models.collapsed.block_products import block_products
from crossed_jax.models.collapsed.collapse import (
    OutsideBoxError,
    collapse_any_design,
    effects_at,
)
from crossed_jax.models.collapsed.elimination import eliminate
from crossed_jax.models.collapsed.parameterization import SDs
from crossed_jax.statistics.cells import cells_of


def test_draws_outside_the_box_are_refused_with_a_wider_one():
    data, form = any_design("a dense block")
    point = estimate_of(cells_of(data))
    factor_sds = np.geomspace(0.01, 100.0, 50)[None, :, None] * point.factor_sds
    sds = SDs(factor_sds, np.full((1, 50), float(point.sigma)))
    with pytest.raises(OutsideBoxError) as refused:
        form.given(sds)
    cells = cells_of(data)
    wider = collapse_any_design(cells, priors_for(data), point, refused.value.box)
    given = wider.given(sds)
    assert given.approximation(given.moments())["log_density"] < 1e-3


@pytest.mark.parametrize("levels", [(40, 30), (40, 30, 3)])
def test_noise_that_leaves_the_likelihood_no_digits_is_refused(levels):
    data = unbalanced(levels, 2_000, sds=(0.5,) * len(levels), sigma=1e-6)
    cells, priors = cells_of(data), priors_for(data)
    point = estimate_of(cells)._replace(sigma=np.asarray(1e-6))
    with pytest.raises(InputError, match=r"of the response's.*parameterization='sum_to_zero'"):
        collapse_any_design(cells, priors, point)
    box = np.array([[27.0, 29.0]] * 2)
    form = collapse_any_design(cells, priors, point._replace(sigma=np.asarray(0.1)), box)
    sds = SDs(factor_sds=np.full((1, 4, len(levels)), 0.5), sigma=np.full((1, 4), 1e-6))
    with pytest.raises(InputError, match="parameterization='sum_to_zero'"):
        form.given(sds)


def test_noise_that_leaves_singular_matrices_is_refused():
    data = unbalanced((40, 30), 400, sds=(0.5, 0.5), sigma=1e-8)
    cells, priors = cells_of(data), priors_for(data)
    point = estimate_of(cells)._replace(sigma=np.asarray(1e-9))
    with pytest.raises(InputError, match="runs out of digits"):
        effects_at(cells, priors, point)
    box = np.array([[38.0, 40.0]] * 2)
    unaware = point._replace(sigma=np.asarray(0.1))
    with pytest.raises(InputError, match="runs out of digits"):
        collapse_any_design(cells, priors, unaware, box)


@pytest.mark.parametrize("largest", [0.02, 1.0])
@pytest.mark.parametrize("name", ["a dense block", "a dense block of two"])
def test_the_dense_block_is_as_exact_relative_to_its_effects_where_their_sds_vanish(name, largest):
    number = len(TABLES[name].factors)
    grid = np.exp(np.linspace(-12.0, np.log(largest), 3))
    sds = np.array(list(product(grid, repeat=number)))
    products = block_products(cells_of(TABLES[name]))
    given = EffectsGivenSDs(products, None, SDs(sds, np.full(len(sds), 0.4)))
    size = len(products.dense_owner)
    omega = np.array([*np.full(products.border_gram.shape[0] - 1, -0.1), 1.0])
    for index, ratios in enumerate(given.ratios):
        eliminated = eliminate(products, ratios[products.eliminated])
        node = conditional.solve_dense_block(products, eliminated, ratios[list(products.dense)])
        root = given.sigma[index] * node.root
        sd = np.linalg.norm(root, axis=0)
        mean = given.dense_mean(np.array([index]), omega[None])[0]
        np.testing.assert_allclose(mean / sd, node.dense_mean @ omega / sd, atol=3e-4)
        noise = given.dense_noise(np.full(size, index), np.eye(size, dtype=np.float32))
        np.testing.assert_allclose(np.linalg.norm(noise, axis=0), sd, rtol=3e-4)


@pytest.mark.parametrize("name", ["a dense block", "a dense block of two"])
def test_moments_are_exact_where_sds_are_far_below_what_the_data_resolve(name):
    """Draws as HalfNormal(0.01) priors give them: the moments are the mixture's of dense ones."""
    data = TABLES[name]
    rng = np.random.default_rng(0)
    sds = np.abs(rng.normal(0.0, 0.01, (8, len(data.factors))))
    given = given_at(name, sds)
    moments = given.moments()
    means, variances = [], []
    maps = np.concatenate(linear_maps(data)[1])
    for factor_sds in sds:
        _, mean, covariance = log_marginal(data, priors_for(data), factor_sds, 0.4)
        means.append(maps @ np.asarray(mean))
        variances.append(((maps @ np.asarray(covariance)) * maps).sum(1))
    sd = np.sqrt(np.mean(variances, 0) + np.var(means, 0))
    found_mean, found_sd = (np.concatenate(parts) for parts in zip(*moments, strict=True))
    np.testing.assert_allclose(found_mean / sd, np.mean(means, 0) / sd, atol=3e-4)
    np.testing.assert_allclose(found_sd, sd, rtol=3e-4)
    errors = given.approximation(moments)
    assert max(errors.values()) < 1e-3


def test_an_interpolant_that_is_wrong_is_reported_in_posterior_sds(monkeypatch):
    monkeypatch.setattr(conditional, "DENSE_TOLERANCE", 0.5)
    sds = np.geomspace(0.05, 2.0, 9)[:, None] * np.array([1.0, 1.0])
    given = given_at("a dense block", sds)
    errors = given.approximation(given.moments())
    assert errors["effect_means"] > 0.01
    assert errors["effect_sds"] > 0.01
