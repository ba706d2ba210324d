"""Samples of lines: the lines' own locations are drawn given those with their samples' means."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.forms.given_draws import OF_SAMPLES, each_with_a_key, given_all
from crossed_jax.models.distributions import Normal
from crossed_jax.models.screen import samples
from crossed_jax.models.screen.density import Lines
from crossed_jax.models.screen.genes import Effects, Given
from crossed_jax.models.screen.parameterization import Draw, ScreenData
from crossed_jax.models.screen.samples import Locations
from crossed_jax.sampling.kept_programs import compilation_cache
from crossed_jax.sampling.settings import RunSettings
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.types import Array

type OfLines = tuple[Array, Array, Array]  # locations, and SDs of lines and of samples


@jax.jit
def _given_draws(
    key: jax.Array,
    chain: jax.Array,
    number: jax.Array,
    draws: OfLines,
    prior: Normal,
    share: Array,
) -> Locations:
    def one(key: jax.Array, draw: OfLines) -> Locations:
        return samples.locations_of_lines(key, *draw, prior, share)

    return each_with_a_key(one, key, chain, number, draws)


def locations_without_samples(
    settings: RunSettings, draws: Draw, model_data: ScreenData
) -> Locations | None:
    """Draw the lines' locations without their samples, leading dimension (draws,).

    None where samples have no effects, and the lines' locations are those that were drawn.
    """
    if model_data.contrasts is None:
        return None
    of_lines = draws.lines.location, draws.sds.line, draws.sds.sample
    prior = Normal(*map(jnp.asarray, model_data.priors.mean))
    rest = prior, jnp.asarray(model_data.contrasts.share_of_each)
    like = Locations._make((0, 0, 0, 0))
    with compilation_cache():
        found = list(given_all(settings, of_lines, _given_draws, {}, rest, like, OF_SAMPLES))
    return jax.tree.map(lambda *x: np.concatenate(x), *found)


def of_lines_alone(given: Given, lines: Lines, locations: Locations | None, start: int) -> Given:
    """Report line effects and intercept without what is the samples'.

    Parameters
    ----------
    given
        Of some draws, with the means of the lines' samples.
    lines, locations
        All draws, and the lines' locations without their samples; None where samples have no
        effects, and nothing is to change.
    start
        Place of the first of those.
    """
    if locations is None:
        return given
    number = lines.location.shape[-1]
    draws = slice(start, start + len(given.draw.intercept))
    with_samples = np.asarray(lines.location).reshape(-1, number)[draws]

    def without(effects: Effects, location: Array) -> Effects:
        change = np.asarray(location) - with_samples
        mean = change.mean(-1)
        line = effects.line + change - mean[:, None]
        return effects._replace(intercept=effects.intercept + mean, line=line)

    variance = given.variance
    return Given(
        without(given.draw, locations.draw[draws]),
        without(given.mean, locations.mean[draws]),
        variance._replace(
            intercept=variance.intercept + locations.of_mean[draws],
            line=variance.line + locations.variance[draws],
        ),
    )


def add_samples(
    by_name: dict[str, Any], draws: Draw, locations: Locations | None, data: CrossedData
) -> None:
    """Add effects of samples and their SD to what was drawn, where a table's units go."""
    if locations is None:
        return
    assert data.samples is not None
    line = data.samples.parent_of_unit
    location = np.asarray(draws.lines.location)
    of_means = location - locations.draw.reshape(location.shape)
    effect = np.asarray(draws.lines.sample) + of_means[..., line]
    place = len(data.factors_and_units) - 1
    for name, values in (("effect", effect), ("sd", np.asarray(draws.sds.sample))):
        each = by_name[f"{{factor}}_{name}"]
        by_name[f"{{factor}}_{name}"] = (*each, *[None] * (place - len(each)), values)
