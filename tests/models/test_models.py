"""The forms against each other and against the model as it is written, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from example_tables import balanced, model_data_for, unbalanced
from truth import dense_design

from crossed_jax.models import original, sd_coordinate
from crossed_jax.models.noise import NOISES
from crossed_jax.models.parts import Position, parameterization_of
from crossed_jax.models.priors import Priors, post_priors
from crossed_jax.models.terms import TERMS
from crossed_jax.models.zero_sum import contrasts, zero_sum

TABLES = {
    "balanced": balanced((3, 5), 2, sds=(0.5, 0.5), sigma=0.2),
    "unbalanced": unbalanced((4, 6), 30, sds=(0.5, 0.5), sigma=0.2),
    "three factors": unbalanced((3, 4, 5), 40, sds=(0.5, 1.0, 0.2), sigma=0.2),
}
FORMS = [
    (noise.name, form)
    for noise in NOISES.values()
    for form in noise.parameterizations
    if form in TERMS
]


def a_priors(num_factors):
    means = tuple(dist.Normal(0.3 * k, 2.0 + k) for k in range(num_factors))
    sds = (dist.HalfNormal(1.0), dist.Exponential(2.0), dist.Gamma(2.0, 3.0))[:num_factors]
    return Priors(means, sds, dist.Exponential(1.5))


def a_problem(name, noise, centering=True):
    data = TABLES[name]
    num_factors = len(data.factors)
    centering = (centering,) * num_factors
    return data, model_data_for(data, a_priors(num_factors), centering, noise)


def form_of(noise, form):
    return parameterization_of(TERMS[form], NOISES[noise])


def log_prior_of_noise(noise, position, priors):
    """Written with NumPyro's distributions, as is the likelihood."""
    expected = priors.sigma.log_prob(jnp.exp(position.log_sigma)) + position.log_sigma
    if noise == "student_t":
        expected += dist.Gamma(2.0, 0.1).log_prob(jnp.exp(position.log_nu)) + position.log_nu
    return expected


def log_likelihood(noise, position, mean, response):
    sigma = jnp.exp(position.log_sigma)
    if noise == "student_t":
        return dist.StudentT(jnp.exp(position.log_nu), mean, sigma).log_prob(response).sum()
    return dist.Normal(mean, sigma).log_prob(response).sum()


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", TABLES)
def test_original_is_the_model_as_posted(name, noise):
    data, model_data = a_problem(name, noise)
    form = form_of(noise, "original")
    position = form.start(jax.random.key(1), model_data)
    terms = position.terms
    design, slices = dense_design(data)
    priors = model_data.priors
    sds = jnp.exp(terms.log_factor_sds)
    expected = log_prior_of_noise(noise, position.noise, priors)
    for k in range(len(slices)):
        expected += priors.factor_means[k].log_prob(terms.factor_means[k])
        expected += priors.factor_sds[k].log_prob(sds[k]) + terms.log_factor_sds[k]
        levels = dist.Normal(terms.factor_means[k], sds[k])
        expected += levels.log_prob(terms.deviations[k]).sum()
    mean = design @ jnp.concatenate(terms.deviations)
    expected += log_likelihood(noise, position.noise, mean, data.response)
    assert float(jax.jit(form.log_density)(position, model_data)) == pytest.approx(float(expected))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", TABLES)
def test_sum_to_zero_is_the_original_with_its_means_integrated_out(name, noise):
    """Given m, contrasts and SDs the likelihood is fixed: Laplace is exact in the means."""
    _, model_data = a_problem(name, noise)
    sum_to_zero, posted = form_of(noise, "sum_to_zero"), form_of(noise, "original")

    @jax.jit
    def integrated(position):
        terms = position.terms
        num_factors = len(terms.contrasts)
        log_sds, log_jacobian = sd_coordinate.log_sds(terms.factor_sds, model_data.anchors)

        def joint(latent):
            mu, free = latent[:num_factors], latent[num_factors:]
            means = jnp.concatenate([free, terms.intercept[None] - free.sum()[None]])
            levels = tuple(m + zero_sum(u) for m, u in zip(means, terms.contrasts, strict=True))
            as_posted = original.Position(mu, levels, log_sds)
            return posted.log_density(Position(as_posted, position.noise), model_data)

        zero = jnp.zeros(2 * num_factors - 1)
        # what is differentiated once only, as its gradient comes with it, is differenced
        gradient = jax.grad(joint)
        steps = 1e-3 * jnp.eye(len(zero))
        hessian = jax.lax.map(lambda h: (gradient(zero + h) - gradient(zero - h)) / 2e-3, steps)
        best = -jnp.linalg.solve(hessian, gradient(zero))
        return joint(best) - 0.5 * jnp.linalg.slogdet(-hessian)[1] + log_jacobian

    positions = [sum_to_zero.start(jax.random.key(i), model_data) for i in range(4)]
    log_density = jax.jit(sum_to_zero.log_density)
    found = np.array([log_density(p, model_data) for p in positions])
    expected = np.array([integrated(p) for p in positions])
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-7)


@pytest.mark.parametrize("name", TABLES)
def test_design_matrix_is_a_flat_regression(name):
    data, model_data = a_problem(name, "normal")
    form = form_of("normal", "design_matrix")
    position = form.start(jax.random.key(1), model_data)
    design, slices = dense_design(data)
    columns = np.concatenate([design[:, s][:, 1:] for s in slices], axis=1)
    means = model_data.priors.factor_means
    expected = log_prior_of_noise("normal", position.noise, model_data.priors)
    scale = np.sqrt(sum(float(p.scale) ** 2 for p in means))
    expected += dist.Normal(sum(p.loc for p in means), scale).log_prob(position.terms.intercept)
    for prior, b in zip(means, position.terms.coefficients, strict=True):
        expected += dist.Normal(0.0, prior.scale).log_prob(b).sum()
    mean = position.terms.intercept + columns @ jnp.concatenate(position.terms.coefficients)
    expected += log_likelihood("normal", position.noise, mean, data.response)
    assert float(jax.jit(form.log_density)(position, model_data)) == pytest.approx(float(expected))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", TABLES)
def test_centering_changes_coordinates_and_not_the_model(name, noise):
    _, centered = a_problem(name, noise, centering=True)
    _, uncentered = a_problem(name, noise, centering=False)
    form = form_of(noise, "sum_to_zero")
    position = form.start(jax.random.key(2), centered)
    sds = form.quantities(position, centered)["{factor}_sd"]
    free = position.terms.contrasts
    rescaled = tuple(z / sd for z, sd in zip(free, sds, strict=True))
    volume = sum(z.size * jnp.log(sd) for z, sd in zip(free, sds, strict=True))
    moved = position._replace(terms=position.terms._replace(contrasts=rescaled))
    found = jax.jit(form.log_density)(moved, uncentered)
    expected = jax.jit(form.log_density)(position, centered) + volume
    assert float(found) == pytest.approx(float(expected), rel=1e-12)

    form = form_of(noise, "original")
    position = form.start(jax.random.key(2), centered)
    terms = position.terms
    deviations = tuple(
        (z - mean) / jnp.exp(log_sd)
        for z, mean, log_sd in zip(
            terms.deviations, terms.factor_means, terms.log_factor_sds, strict=True
        )
    )
    volume = sum(
        z.size * log_sd for z, log_sd in zip(terms.deviations, terms.log_factor_sds, strict=True)
    )
    moved = position._replace(terms=terms._replace(deviations=deviations))
    found = jax.jit(form.log_density)(moved, uncentered)
    expected = jax.jit(form.log_density)(position, centered) + volume
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(("noise", "form"), FORMS)
@pytest.mark.parametrize("name", TABLES)
def test_quantities_are_consistent(name, noise, form):
    data, model_data = a_problem(name, noise, centering=None)
    found = form_of(noise, form)
    quantities = found.quantities(found.start(jax.random.key(3), model_data), model_data)
    assert set(NOISES[noise].names) <= set(quantities)
    for effects, factor in zip(quantities["{factor}_effect"], data.factors, strict=True):
        assert effects.shape == (len(factor.levels),)
        assert abs(float(effects.sum())) < 1e-12
    if "{factor}_intercept" in quantities:
        total = sum(a.mean() for a in quantities["{factor}_intercept"])
        assert float(quantities["intercept"]) == pytest.approx(float(total))


@pytest.mark.parametrize(("noise", "form"), FORMS)
def test_start_scatters_about_the_estimate_as_widely_as_scale_says(noise, form):
    _, model_data = a_problem("unbalanced", noise, centering=None)
    found = form_of(noise, form)
    starts = jax.vmap(found.start, (0, None))(
        jax.random.split(jax.random.key(0), 20_000), model_data
    )
    scale = found.scale(model_data)
    for drawn, expected in zip(jax.tree.leaves(starts), jax.tree.leaves(scale), strict=True):
        np.testing.assert_allclose(drawn.std(0), expected, rtol=0.03)


def test_the_same_parts_are_compiled_once():
    assert form_of("normal", "sum_to_zero") is form_of("normal", "sum_to_zero")


def test_the_data_choose_the_centering():
    informative = balanced((4, 5), 50, sds=(1.0, 1.0), sigma=0.1)
    assert model_data_for(informative, post_priors(2)).centering.tolist() == [1.0, 1.0]
    one_flat = balanced((10, 20), 1, sds=(1.0, 0.0), sigma=0.5, seed=1)
    assert model_data_for(one_flat, post_priors(2)).centering.tolist() == [1.0, 0.0]
    forced = model_data_for(one_flat, post_priors(2), (False, True))
    assert forced.centering.tolist() == [0.0, 1.0]


def test_contrasts_at_the_center_are_those_of_the_estimated_effects():
    _, model_data = a_problem("balanced", "normal", centering=True)
    position = TERMS["sum_to_zero"].center(model_data)
    for z, effects in zip(position.contrasts, model_data.estimate.effects, strict=True):
        np.testing.assert_allclose(z, contrasts(jnp.asarray(effects)), atol=1e-9)
