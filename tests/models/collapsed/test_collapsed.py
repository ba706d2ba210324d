"""The collapsed forms against dense Gaussian algebra: densities, draws and moments."""

import dataclasses
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from example_tables import balanced, estimate_of, unbalanced
from truth import dense_design, log_marginal

from crossed_jax.errors import InputError
from crossed_jax.models.collapsed import balanced as closed_form
from crossed_jax.models.collapsed import conditional, density
from crossed_jax.models.collapsed.back_substitution import EffectsGivenSDs
from crossed_jax.models.collapsed.block_products import block_products
from crossed_jax.models.collapsed.collapse import (
    OutsideBoxError,
    collapse,
    collapse_any_design,
    effects_at,
)
from crossed_jax.models.collapsed.effect_draws import draw_effects, split
from crossed_jax.models.collapsed.elimination import Fixed, condense, eliminate
from crossed_jax.models.collapsed.parameterization import LogSDs, SDs
from crossed_jax.models.collapsed.quantiles import (
    PROBABILITIES,
    effect_quantiles,
    mixture_quantiles,
)
from crossed_jax.models.priors import Priors
from crossed_jax.statistics.cells import cells_of

TABLES = {
    "balanced": balanced((3, 5), 2, sds=(0.5, 0.5), sigma=0.2),
    "unbalanced": unbalanced((7, 4), 40, sds=(0.5, 0.5), sigma=0.2),
    "three factors": unbalanced((3, 9, 5), 60, sds=(0.5, 1.0, 0.2), sigma=0.3),
    "balanced, three factors": balanced((3, 4, 5), 1, sds=(0.5, 1.0, 0.2), sigma=0.3),
    "a dense block": unbalanced((40, 30), 400, sds=(0.5, 0.3), sigma=0.4),
    "a sparse dense block": unbalanced((60, 50), 240, sds=(0.5, 0.3), sigma=0.4),
    "a dense block and a border": unbalanced((40, 30, 3), 500, sds=(0.5, 0.3, 0.4), sigma=0.4),
    "a dense block of two": unbalanced((40, 30, 28), 500, sds=(0.5, 0.3, 0.4), sigma=0.4),
    "a dense block with an SD of zero": unbalanced((50, 40), 300, sds=(0.5, 0.0), sigma=0.4),
}
WITHOUT_DENSE_BLOCK = ["balanced", "unbalanced", "three factors", "balanced, three factors"]
BALANCED = ["balanced", "balanced, three factors"]


def priors_for(data):
    number = len(data.factors)
    means = tuple(dist.Normal(0.3 - k, 2.0 + k) for k in range(number))
    return Priors(means, (dist.HalfNormal(1.0),) * number, dist.Exponential(1.5))


def any_design(name):
    data = TABLES[name]
    cells = cells_of(data)
    return data, collapse_any_design(cells, priors_for(data), estimate_of(cells))


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


def linear_maps(data):
    """Intercept and effects as matrices on (factor means, all levels' intercepts)."""
    _, slices = dense_design(data)
    skip = len(slices)
    size = skip + slices[-1].stop
    intercept = np.zeros((1, size))
    effects = []
    for levels in slices:
        columns = slice(skip + levels.start, skip + levels.stop)
        number = levels.stop - levels.start
        intercept[0, columns] = 1 / number
        matrix = np.zeros((number, size))
        matrix[:, columns] = np.eye(number) - 1 / number
        effects.append(matrix)
    return intercept, effects


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


def given_at(name, factor_sds):
    """Condition on chosen SDs of shape (draws, factors), in a box that just holds them."""
    data = TABLES[name]
    cells, priors = cells_of(data), priors_for(data)
    sds = SDs(factor_sds[None], np.full((1, len(factor_sds)), 0.4))
    box = EffectsGivenSDs(block_products(cells), None, sds).box
    return collapse(cells, priors, estimate_of(cells), box).given(sds)


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


def test_an_interpolant_that_is_wrong_is_reported_in_posterior_sds(monkeypatch):
    monkeypatch.setattr(conditional, "DENSE_TOLERANCE", 0.5)
    sds = np.geomspace(0.05, 2.0, 9)[:, None] * np.array([1.0, 1.0])
    given = given_at("a dense block", sds)
    errors = given.approximation(given.moments())
    assert errors["effect_means"] > 0.01
    assert errors["effect_sds"] > 0.01
