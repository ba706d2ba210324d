"""The collapsed densities against dense Gaussian algebra."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from designs import (
    BALANCED,
    TABLES,
    WITHOUT_DENSE_BLOCK,
    any_design,
    priors_for,
)
from example_tables import estimate_of
from truth import log_marginal

from crossed_jax.models.collapsed import balanced as closed_form
from crossed_jax.models.collapsed import density
from crossed_jax.models.collapsed.collapse import (
    collapse_any_design,
)
from crossed_jax.models.collapsed.elimination import Fixed, condense, eliminate
from crossed_jax.models.collapsed.parameterization import LogSDs
from crossed_jax.statistics.cells import cells_of


def random_positions(data, number, seed=0, spread=1.0):
    """Log SDs about their truth-like values, near-zero SDs among them."""
    rng = np.random.default_rng(seed)
    point = estimate_of(cells_of(data))
    return [
        LogSDs(
            np.log(point.factor_sds) + spread * rng.normal(size=len(data.factors)),
            np.log(point.sigma) + 0.1 * spread * rng.normal(),
        )
        for _ in range(number)
    ]


def dense_log_density(data, priors, position):
    sds, sigma = np.exp(position.log_factor_sds), np.exp(position.log_sigma)
    log_likelihood, _, _ = log_marginal(data, priors, jnp.asarray(sds), jnp.asarray(sigma))
    return float(log_likelihood + priors.log_scales(*map(jnp.asarray, position)))


def constant(data, exact):
    """What the log-density leaves out: -N/2 log 2 pi."""
    return exact + 0.5 * len(data.response) * np.log(2 * np.pi)


@pytest.mark.parametrize("name", TABLES)
def test_exact_condensation_is_the_dense_density(name):
    data, form = any_design(name)
    priors = priors_for(data)
    positions = random_positions(data, 4)
    positions.append(LogSDs(np.full(len(data.factors), -12.0), positions[0].log_sigma))
    for position in positions:
        ratios = np.exp(2 * (position.log_factor_sds - position.log_sigma))
        eliminated = eliminate(form.products, ratios[form.products.eliminated])
        exact = condense(form.products, eliminated, ratios[list(form.products.dense)])
        model_data = form.model_data._replace(condensed=Fixed(exact))
        found = float(density.log_density(position, model_data))
        expected = constant(data, dense_log_density(data, priors, position))
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9 * len(data.response))


@pytest.mark.parametrize("name", WITHOUT_DENSE_BLOCK)
def test_without_a_dense_block_the_compiled_density_is_exact_everywhere(name):
    data, form = any_design(name)
    for position in random_positions(data, 4, spread=3.0):
        found = float(density.log_density(position, form.model_data))
        expected = constant(data, dense_log_density(data, priors_for(data), position))
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9 * len(data.response))


@pytest.mark.parametrize("name", ["unbalanced", "a dense block"])
def test_an_offset_of_the_response_costs_no_digits(name):
    """A response far from zero, under a prior as wide: the same density but for a constant."""
    wide = priors_for(TABLES[name])._replace(factor_means=(dist.Normal(0.0, 1e7),) * 2)
    densities = []
    for offset in (0.0, 1e6):
        data = dataclasses.replace(TABLES[name], response=TABLES[name].response + offset)
        cells = cells_of(data)
        form = collapse_any_design(cells, wide, estimate_of(cells))
        positions = random_positions(TABLES[name], 4)
        found = np.array([density.log_density(p, form.model_data) for p in positions])
        densities.append(found - found[0])
    np.testing.assert_allclose(densities[1], densities[0], atol=1e-5)


@pytest.mark.parametrize("name", BALANCED)
def test_the_closed_form_of_balanced_tables_is_exact(name):
    data = TABLES[name]
    cells = cells_of(data)
    form = closed_form.collapse(cells, priors_for(data), estimate_of(cells))
    for position in random_positions(data, 4, spread=3.0):
        found = float(closed_form.log_density(position, form.model_data))
        expected = constant(data, dense_log_density(data, priors_for(data), position))
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", [name for name in TABLES if name not in WITHOUT_DENSE_BLOCK])
def test_interpolation_errs_far_below_monte_carlo(name):
    """Points within six posterior SDs, by the width that the first box is made of."""
    data, form = any_design(name)
    priors = priors_for(data)
    series = form.model_data.condensed
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(6):
        x = rng.uniform(series.box[:, 0], series.box[:, 1])
        sigma = float(estimate_of(cells_of(data)).sigma)
        sds = estimate_of(cells_of(data)).factor_sds.copy()
        sds[form.products.gridded] = sigma * np.sqrt(np.expm1(x) / form.products.kappa)
        position = LogSDs(np.log(sds), np.log(sigma))
        found = float(density.log_density(position, form.model_data))
        errors.append(found - constant(data, dense_log_density(data, priors, position)))
    assert np.max(np.abs(errors)) < 1e-3
