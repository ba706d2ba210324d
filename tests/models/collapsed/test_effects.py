"""Draws, moments and quantiles of effects given the SDs, against dense Gaussian algebra."""

import jax
import numpy as np
import pytest
from designs import TABLES, WITHOUT_DENSE_BLOCK, any_design, given_at, linear_maps, priors_for
from example_tables import estimate_of
from truth import log_marginal

from crossed_jax.models.collapsed.collapse import (
    collapse,
    effects_at,
)
from crossed_jax.models.collapsed.effect_draws import draw_effects, split
from crossed_jax.models.collapsed.parameterization import SDs
from crossed_jax.models.collapsed.quantiles import (
    PROBABILITIES,
    effect_quantiles,
    mixture_quantiles,
)
from crossed_jax.statistics.cells import cells_of


@pytest.fixture(scope="module", params=TABLES)
def conditioned(request):
    """Effects given SDs that hardly vary, and their dense conditional posterior."""
    with jax.enable_x64(True):
        name = request.param
        data = TABLES[name]
        cells, priors = cells_of(data), priors_for(data)
        point = estimate_of(cells)
        form = collapse(cells, priors, point)
        number = 20_000
        # a hair of spread, as the interpolants live on the draws' box
        wiggle = 1.0 + 1e-7 * np.random.default_rng(0).normal(size=(number, 1))
        sds = SDs(
            factor_sds=(wiggle * point.factor_sds).reshape(2, number // 2, -1),
            sigma=np.full((2, number // 2), float(point.sigma)),
        )
        _, mean, covariance = log_marginal(data, priors, point.factor_sds, point.sigma)
        return data, form.given(sds), np.asarray(mean), np.asarray(covariance)


def draws_of(parts, data):
    """Intercept and effects given draws of the SDs in parts."""
    chains = parts[0].sds.sigma.shape[0]
    number = sum(part.sds.sigma.shape[1] for part in parts)
    effects = [np.empty((chains, number, len(factor.levels))) for factor in data.factors]
    return draw_effects(parts, 1, effects), effects


def test_moments_are_the_dense_conditional_ones(conditioned):
    data, given, mean, covariance = conditioned
    _, maps = linear_maps(data)
    for matrix, (found_mean, found_sd) in zip(maps, given.moments(), strict=True):
        expected_sd = np.sqrt(np.diag(matrix @ covariance @ matrix.T))
        np.testing.assert_allclose(found_mean, matrix @ mean, atol=1e-4 * expected_sd.min())
        np.testing.assert_allclose(found_sd, expected_sd, rtol=1e-4)


def test_draws_have_the_dense_conditional_mean_and_covariance(conditioned):
    data, given, mean, covariance = conditioned
    drawn_intercept, drawn_effects = draws_of([given], data)
    intercept, maps = linear_maps(data)
    matrix = np.concatenate([intercept, *maps])
    number = drawn_intercept.size
    flat = np.column_stack(
        [drawn_intercept.ravel(), *(e.reshape(number, -1) for e in drawn_effects)]
    )
    expected = matrix @ covariance @ matrix.T
    sd = np.sqrt(np.diag(expected))
    assert np.max(np.abs(flat.mean(0) - matrix @ mean) / sd) < 5 / np.sqrt(number)
    correlation = expected / np.outer(sd, sd)
    found = np.cov(flat.T) / np.outer(sd, sd)
    # the variance of an entry of a sample covariance is (1 + correlation^2)/n; thousands of entries
    error = (found - correlation) / np.sqrt((1 + correlation**2) / number)
    assert np.max(np.abs(error)) < 5.5
    for effects in drawn_effects:
        np.testing.assert_allclose(effects.sum(-1), 0.0, atol=1e-10)


def test_the_intercept_does_not_depend_on_whether_effects_are_kept(conditioned):
    data, given, _, _ = conditioned
    intercept, _ = draws_of([given], data)
    np.testing.assert_array_equal(draw_effects([given], 1, None), intercept)


@pytest.mark.parametrize(
    "name", ["balanced", "unbalanced", "a dense block", "a dense block and a border"]
)
def test_a_part_that_was_given_out_is_drawn_as_if_it_were_all(name):
    data, form = any_design(name)
    point = estimate_of(cells_of(data))
    spread = np.exp(0.1 * np.random.default_rng(0).normal(size=(2, 70, len(data.factors))))
    spread[:, 50:] = spread[:, :20]
    sds = SDs(factor_sds=spread * point.factor_sds, sigma=np.full((2, 70), float(point.sigma)))
    parts = [form.given(part) for part in split(sds, [50, 70])]
    whole_intercept, whole = draws_of(parts, data)
    intercept, alone = draws_of(parts[:1], data)
    np.testing.assert_array_equal(whole_intercept[:, :50], intercept)
    for found, expected in zip(whole, alone, strict=True):
        np.testing.assert_array_equal(found[:, :50], expected)
        assert not np.allclose(found[0, 50:], found[0, :20], rtol=0.01)  # the same noise again


@pytest.mark.parametrize("name", TABLES)
def test_effects_at_an_estimate_are_the_dense_conditional_ones(name):
    data = TABLES[name]
    cells, priors = cells_of(data), priors_for(data)
    point = estimate_of(cells)
    refined, sds = effects_at(cells, priors, point)
    _, mean, covariance = log_marginal(data, priors, point.factor_sds, point.sigma)
    for matrix, found, sd in zip(linear_maps(data)[1], refined.effects, sds, strict=True):
        expected = np.sqrt(np.diag(matrix @ covariance @ matrix.T))
        np.testing.assert_allclose(found, matrix @ mean, atol=1e-7)
        np.testing.assert_allclose(sd, expected, rtol=1e-6)


@pytest.mark.parametrize("name", TABLES)
def test_quantiles_are_those_of_the_mixture_of_dense_conditionals(name):
    data = TABLES[name]
    rng = np.random.default_rng(0)
    sds = 0.4 * np.exp(rng.normal(0.0, 0.7, (8, len(data.factors))))
    sds[0] = 1e-3
    given = given_at(name, sds)
    maps = linear_maps(data)[1]
    conditionals = [log_marginal(data, priors_for(data), each, 0.4)[1:] for each in sds]
    found = effect_quantiles(given, given.moments())
    for k, (matrix, quantiles) in enumerate(zip(maps, found, strict=True)):
        means = np.array([matrix @ np.asarray(mean) for mean, _ in conditionals])
        variances = [((matrix @ np.asarray(v)) * matrix).sum(1) for _, v in conditionals]
        expected = mixture_quantiles(means, np.sqrt(variances), PROBABILITIES)
        sd = np.sqrt(np.mean(variances, 0) + means.var(0))[:, None]
        central = np.abs(PROBABILITIES - 0.5) < 0.499
        # of the eliminated factor's variances the dense block's part is not known draw by draw
        rough = name not in WITHOUT_DENSE_BLOCK and k == given.products.eliminated
        errors = (quantiles - expected)[:, central] / sd
        np.testing.assert_allclose(errors, 0.0, atol=0.05 if rough else 1e-3)
