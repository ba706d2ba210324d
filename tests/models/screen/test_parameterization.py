"""The screen model's log posterior density in the sampler's coordinates."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_tables import estimate_of, unbalanced
from jax.flatten_util import ravel_pytree
from screen_tables import simulated
from screens import NO_PARTS, less_one_and_alone, priors_of, screen_of

import crossed_jax as cj
from crossed_jax.models import sd_coordinate
from crossed_jax.models.collapsed.collapse import collapse
from crossed_jax.models.collapsed.parameterization import SDPosition
from crossed_jax.models.distributions import Exponential, Normal
from crossed_jax.models.priors import Priors
from crossed_jax.models.screen.density import log_likelihood
from crossed_jax.models.screen.parameterization import (
    PARAMETERIZATION,
    Position,
    ScreenData,
    log_density,
    start,
)
from crossed_jax.models.screen.parts import Parts
from crossed_jax.models.zero_sum import contrasts
from crossed_jax.statistics.cells import cells_of

FEW_DRAWS = {"num_chains": 2, "num_warmup": 300, "num_draws": 300}
DATA = simulated(0, 25, 5, 2)
START, LOG_DENSITY = jax.jit(start), jax.jit(log_density)


@jax.jit
def _integrated_over_locations(position: Position, data: ScreenData) -> jax.Array:
    """Log of the density's integral; without parts it is Normal in the locations."""

    def at(location: jax.Array) -> jax.Array:
        return log_density(position._replace(location=location), data)

    gradient, hessian = jax.grad(at)(position.location), jax.hessian(at)(position.location)
    newton = jnp.linalg.solve(hessian, gradient)
    return at(position.location - newton) - 0.5 * jnp.linalg.slogdet(-hessian)[1]


def test_without_parts_it_is_the_additive_density() -> None:
    data = unbalanced((9, 4), 40, sds=(0.6, 0.5), sigma=0.3)
    cells = cells_of(data)
    one, two = Exponential(0.8), Exponential(1.0)
    priors = Priors((Normal(0.3, 3.0), Normal(0.0, 4.0)), (one, two), Exponential(1.5))
    additive = collapse(cells, priors, estimate_of(cells))
    additive_density = jax.jit(additive.parameterization.log_density)
    screen = screen_of(data, NO_PARTS)
    found, wanted = [], []
    for seed in range(6):
        position = START(jax.random.key(seed), screen)
        drawn = PARAMETERIZATION.quantities(position, screen)
        found.append(_integrated_over_locations(position, screen))
        log_sds = jnp.concatenate([drawn.lines.log_slope, jnp.log(drawn.sds.line)[None]])
        anchors = jnp.asarray(additive.model_data.anchors)
        at = sd_coordinate.coordinates(log_sds, anchors)
        density = additive_density(SDPosition(at, drawn.lines.log_noise[0]), additive.model_data)
        # as density of the log SDs of genes and noise, and of the lines' in its own coordinate
        wanted.append(
            density
            - sd_coordinate.log_sds(at, anchors)[1]
            + sd_coordinate.log_sds(position.sds.line[None], jnp.asarray(screen.anchors.line))[1]
        )
    np.testing.assert_allclose(np.diff(found), np.diff(wanted), rtol=1e-9)


@pytest.mark.parametrize("parts", less_one_and_alone(4))
def test_it_is_prior_times_likelihood(parts: tuple[bool, ...]) -> None:
    """In natural coordinates, with the Jacobian of all coordinates taken numerically."""
    chosen = Parts(0, *parts)
    data, priors = screen_of(DATA, chosen), priors_of(chosen)

    def natural(flat: jax.Array) -> jax.Array:
        """Means and zero-sum parts in an orthonormal basis, log SDs, logit of the share."""
        lines, sds, *_ = PARAMETERIZATION.quantities(unravel(flat), data)
        vectors = [lines.location, lines.log_slope, lines.log_noise]
        pieces = [v.mean()[None] for v in vectors]
        pieces += [contrasts(v) for v in vectors if len(v) > 1]
        pieces += [jnp.log(sd)[None] for sd in jax.tree.leaves(sds)]
        pieces += [] if lines.logit_share is None else [lines.logit_share[None]]
        return jnp.concatenate(pieces)

    @jax.jit
    def wanted(flat: jax.Array) -> jax.Array:
        lines, sds, *_ = PARAMETERIZATION.quantities(unravel(flat), data)
        spread = jnp.sqrt(25.0 + sds.line**2 / 5)
        total = Normal(0.3, spread).log_prob(lines.location.mean())
        for v, prior in (
            (lines.log_slope, priors.gene_sd),
            (lines.log_noise, priors.sigma),
        ):
            total += prior.log_prob(jnp.exp(v.mean())) + v.mean()
        for v, sd in zip((lines.location, lines.log_slope, lines.log_noise), sds[:3], strict=True):
            if sd is not None:
                total += Normal(0.0, sd).log_prob(contrasts(v)).sum()
        for prior, sd in zip(priors.sds, sds, strict=True):
            total += 0.0 if sd is None else prior.log_prob(sd) + jnp.log(sd)
        if lines.logit_share is not None:
            total += Normal(0.1, 1.5).log_prob(lines.logit_share)
        log_jacobian = jnp.linalg.slogdet(jax.jacobian(natural)(flat))[1]
        return total + log_jacobian + log_likelihood(lines, data.statistics, data.rule)

    positions = [START(jax.random.key(seed), data) for seed in range(4)]
    flat, unravel = ravel_pytree(positions[0])
    assert jax.eval_shape(natural, flat).shape == flat.shape
    densities = [float(LOG_DENSITY(position, data)) for position in positions]
    differences = [
        density - float(wanted(ravel_pytree(position)[0]))
        for density, position in zip(densities, positions, strict=True)
    ]
    assert max(abs(a - b) for a, b in pairwise(differences)) < 1e-10 * abs(densities[0])


@pytest.mark.parametrize("line_sd", [0.05, 0.5])
def test_two_lines_do_not_diverge(line_sd):
    """Their SD is hardly known: near zero, or far beyond their difference."""
    simulation = cj.simulate_screen(
        num_genes=300,
        num_cell_lines=2,
        num_replicates=2,
        noise_sd=0.4,
        cell_line_sd=line_sd,
        interaction_share=0.4,
        seed=4,
    )
    tree = cj.fit(simulation.data, model=cj.Model(interaction=True), **FEW_DRAWS)
    assert not tree["sample_stats"]["diverging"].any()
    assert tree["sample_stats"]["n_steps"].mean() < 15


def test_widths_are_those_of_the_posterior() -> None:
    screen = screen_of(simulated(3, 150, 12, 2), Parts())
    at, unravel = ravel_pytree(screen.center)
    hessian = jax.jit(jax.hessian(lambda x: log_density(unravel(x), screen)))(at)
    sds = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    widths, _ = ravel_pytree(screen.widths)
    assert np.abs(np.log(widths / sds)).max() < np.log(1.5)
