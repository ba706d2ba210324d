"""The forms against each other and against the model as it is written, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from example_tables import balanced, model_data_for, unbalanced
from truth import dense_design

from crossed_jax.models import design_matrix, original, sd_coordinate, sum_to_zero
from crossed_jax.models.priors import Priors, post_priors
from crossed_jax.models.zero_sum import contrasts, zero_sum

TABLES = {
    "balanced": balanced((3, 5), 2, sds=(0.5, 0.5), sigma=0.2),
    "unbalanced": unbalanced((4, 6), 30, sds=(0.5, 0.5), sigma=0.2),
    "three factors": unbalanced((3, 4, 5), 40, sds=(0.5, 1.0, 0.2), sigma=0.2),
}
FORMS = {form.name: form for form in (original.FORM, design_matrix.FORM, sum_to_zero.FORM)}


def a_priors(num_factors):
    means = tuple(dist.Normal(0.3 * k, 2.0 + k) for k in range(num_factors))
    sds = (dist.HalfNormal(1.0), dist.Exponential(2.0), dist.Gamma(2.0, 3.0))[:num_factors]
    return Priors(means, sds, dist.Exponential(1.5))


def a_problem(name, centering=True):
    data = TABLES[name]
    num_factors = len(data.factors)
    return data, model_data_for(data, a_priors(num_factors), (centering,) * num_factors)


@pytest.mark.parametrize("name", TABLES)
def test_original_is_the_model_as_posted(name):
    data, model_data = a_problem(name)
    position = original.start(jax.random.key(1), model_data)
    design, slices = dense_design(data)
    priors = model_data.priors
    sds, sigma = jnp.exp(position.log_factor_sds), jnp.exp(position.log_sigma)
    expected = priors.sigma.log_prob(sigma) + position.log_sigma
    for k in range(len(slices)):
        expected += priors.factor_means[k].log_prob(position.factor_means[k])
        expected += priors.factor_sds[k].log_prob(sds[k]) + position.log_factor_sds[k]
        levels = dist.Normal(position.factor_means[k], sds[k])
        expected += levels.log_prob(position.deviations[k]).sum()
    mean = design @ jnp.concatenate(position.deviations)
    expected += dist.Normal(mean, sigma).log_prob(data.response).sum()
    assert float(original.log_density(position, model_data)) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", TABLES)
def test_sum_to_zero_is_the_original_with_its_means_integrated_out(name):
    """Given m, contrasts and SDs the original is Gaussian in its means: Laplace is exact."""
    _, model_data = a_problem(name)

    @jax.jit
    def integrated(position):
        num_factors = len(position.contrasts)
        log_sds, log_jacobian = sd_coordinate.log_sds(position.factor_sds, model_data.anchors)

        def joint(latent):
            mu, free = latent[:num_factors], latent[num_factors:]
            means = jnp.concatenate([free, position.intercept[None] - free.sum()[None]])
            return original.log_density(
                original.Position(
                    mu,
                    tuple(m + zero_sum(u) for m, u in zip(means, position.contrasts, strict=True)),
                    log_sds,
                    position.log_sigma,
                ),
                model_data,
            )

        zero = jnp.zeros(2 * num_factors - 1)
        hessian, gradient = jax.hessian(joint)(zero), jax.grad(joint)(zero)
        best = -jnp.linalg.solve(hessian, gradient)
        return joint(best) - 0.5 * jnp.linalg.slogdet(-hessian)[1] + log_jacobian

    positions = [sum_to_zero.start(jax.random.key(i), model_data) for i in range(4)]
    found = np.array([sum_to_zero.log_density(p, model_data) for p in positions])
    expected = np.array([integrated(p) for p in positions])
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-9)


@pytest.mark.parametrize("name", TABLES)
def test_design_matrix_is_a_flat_regression(name):
    data, model_data = a_problem(name)
    position = design_matrix.start(jax.random.key(1), model_data)
    design, slices = dense_design(data)
    columns = np.concatenate([design[:, s][:, 1:] for s in slices], axis=1)
    sigma = jnp.exp(position.log_sigma)
    means = model_data.priors.factor_means
    expected = model_data.priors.sigma.log_prob(sigma) + position.log_sigma
    scale = np.sqrt(sum(float(p.scale) ** 2 for p in means))
    expected += dist.Normal(sum(p.loc for p in means), scale).log_prob(position.intercept)
    for prior, b in zip(means, position.coefficients, strict=True):
        expected += dist.Normal(0.0, prior.scale).log_prob(b).sum()
    mean = position.intercept + columns @ jnp.concatenate(position.coefficients)
    expected += dist.Normal(mean, sigma).log_prob(data.response).sum()
    assert float(design_matrix.log_density(position, model_data)) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", TABLES)
def test_centering_changes_coordinates_and_not_the_model(name):
    _, centered = a_problem(name, centering=True)
    _, uncentered = a_problem(name, centering=False)
    position = sum_to_zero.start(jax.random.key(2), centered)
    sds = sum_to_zero.quantities(position, centered).factor_sds
    rescaled = tuple(z / sd for z, sd in zip(position.contrasts, sds, strict=True))
    volume = sum(z.size * jnp.log(sd) for z, sd in zip(position.contrasts, sds, strict=True))
    found = sum_to_zero.log_density(position._replace(contrasts=rescaled), uncentered)
    expected = sum_to_zero.log_density(position, centered) + volume
    assert float(found) == pytest.approx(float(expected), rel=1e-12)

    position = original.start(jax.random.key(2), centered)
    deviations = tuple(
        (z - mean) / jnp.exp(log_sd)
        for z, mean, log_sd in zip(
            position.deviations, position.factor_means, position.log_factor_sds, strict=True
        )
    )
    volume = sum(
        z.size * log_sd
        for z, log_sd in zip(position.deviations, position.log_factor_sds, strict=True)
    )
    found = original.log_density(position._replace(deviations=deviations), uncentered)
    expected = original.log_density(position, centered) + volume
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TABLES)
def test_quantities_are_consistent(name, form):
    data, model_data = a_problem(name, centering=None)
    quantities = FORMS[form].quantities(
        FORMS[form].start(jax.random.key(3), model_data), model_data
    )
    for effects, factor in zip(quantities.effects, data.factors, strict=True):
        assert effects.shape == (len(factor.levels),)
        assert abs(float(effects.sum())) < 1e-12
    if quantities.factor_intercepts is not None:
        total = sum(a.mean() for a in quantities.factor_intercepts)
        assert float(quantities.intercept) == pytest.approx(float(total))


@pytest.mark.parametrize("form", FORMS)
def test_start_scatters_about_the_estimate_as_widely_as_scale_says(form):
    _, model_data = a_problem("unbalanced", centering=None)
    starts = jax.vmap(FORMS[form].start, (0, None))(
        jax.random.split(jax.random.key(0), 20_000), model_data
    )
    scale = FORMS[form].scale(model_data)
    for found, expected in zip(jax.tree.leaves(starts), jax.tree.leaves(scale), strict=True):
        np.testing.assert_allclose(found.std(0), expected, rtol=0.03)


def test_the_data_choose_the_centering():
    informative = balanced((4, 5), 50, sds=(1.0, 1.0), sigma=0.1)
    assert model_data_for(informative, post_priors(2)).centering.tolist() == [1.0, 1.0]
    one_flat = balanced((10, 20), 1, sds=(1.0, 0.0), sigma=0.5, seed=1)
    assert model_data_for(one_flat, post_priors(2)).centering.tolist() == [1.0, 0.0]
    forced = model_data_for(one_flat, post_priors(2), (False, True))
    assert forced.centering.tolist() == [0.0, 1.0]


def test_contrasts_of_start_recover_the_estimated_effects():
    _, model_data = a_problem("balanced", centering=True)
    still = model_data._replace(
        effect_sds=tuple(np.zeros_like(sds) for sds in model_data.effect_sds),
    )
    position = sum_to_zero.start(jax.random.key(0), still)
    for z, effects in zip(position.contrasts, model_data.estimate.effects, strict=True):
        np.testing.assert_allclose(z, contrasts(jnp.asarray(effects)), atol=1e-9)
