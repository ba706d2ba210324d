"""Log noise of guides: its estimate, coordinates and prior."""

from functools import cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from guide_screen import guide_rows
from jax.flatten_util import ravel_pytree

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.forms.screen import screen_priors
from crossed_jax.models import sd_coordinate
from crossed_jax.models.distributions import Normal
from crossed_jax.models.model import Model, chosen, priors_of, resolved, units_by_lines
from crossed_jax.models.priors import resolve_priors
from crossed_jax.models.screen.estimate import CellMatrices, LineEstimate
from crossed_jax.models.screen.guides.estimate import GuideEstimate, NoiseEstimate, of_guide_noise
from crossed_jax.models.screen.guides.model_data import GuideTable, guide_data
from crossed_jax.models.screen.guides.noise import (
    guide_noise,
    log_prior_of_guide_noise,
    noise_coordinates,
    position,
)
from crossed_jax.models.screen.parameterization import log_density
from crossed_jax.statistics.cells import cells_of

SD = 0.4
SCREEN = cj.simulate_screen(
    num_genes=60,
    num_cell_lines=12,
    num_replicates=2,
    missing=0.05,
    num_guides=4,
    guide_sd=0.3,
    noise_sd=0.5,
    noise_sd_by_gene_sd=0.3,
    noise_sd_by_line_sd=0.3,
    noise_sd_by_guide_sd=SD,
    interaction_share=0.2,
    logit_share_sd=1.0,
    nested_share=0.2,
    slope_sd=0.3,
    seed=1,
)
MODEL = Model("cell_line", ("gene", "cell_line", "guide"), True, nested="guide")


@cache
def laid_out() -> GuideTable:
    data = SCREEN.data
    parts, _ = resolved(MODEL, data)
    defaults = priors_of(parts, data.factor_names)
    priors = screen_priors(resolve_priors("post", data, defaults), parts, data.factor_names)
    units = units_by_lines(data, parts)
    return guide_data(units, cells_of(units), data.nested.parent_of_unit, parts, priors)


@pytest.mark.parametrize("gene_noise_sd", [0.0, 0.3])
def test_the_prior_of_the_coordinates_is_that_of_independent_normals(gene_noise_sd: float) -> None:
    information = np.array([3.0, 40.0, 0.5, 12.0, 20.0, 5.0])
    at = noise_coordinates(information, np.array([0, 1, 0, 2, 0, 1]), gene_noise_sd)
    positions = np.random.default_rng(0).normal(size=(4, 6))
    differences = []
    for z, log_sd in zip(positions, [-3.0, -1.0, 0.0, 1.0], strict=True):
        f, slope = guide_noise(z, at, log_sd), jax.jacobian(guide_noise)(z, at, log_sd)
        np.testing.assert_allclose(position(np.asarray(f), at, log_sd), z, rtol=1e-10)
        wanted = Normal(0.0, np.exp(log_sd)).log_prob(f).sum() + jnp.linalg.slogdet(slope)[1]
        differences.append(float(log_prior_of_guide_noise(f, at, log_sd) - wanted))
    assert max(abs(a - b) for a, b in pairwise(differences)) < 1e-9


def test_the_estimate_is_near_the_truth() -> None:
    made = laid_out().model_data
    log_sd = sd_coordinate.log_sds(made.center.sds.guide_noise, made.anchors.guide_noise)[0]
    assert float(np.exp(log_sd)) == pytest.approx(SD, rel=0.15)
    found = np.asarray(guide_noise(made.center.guide_noise, made.of_guide_noise, log_sd))
    truth = SCREEN.truth["guide_log_noise_sd"].reshape(-1, 4)
    about_gene = truth - truth.mean(1, keepdims=True)
    assert np.corrcoef(found, about_gene.ravel())[0, 1] > 0.85


def test_widths_are_those_of_the_posterior() -> None:
    """Its SDs from differences of the gradient, which is one program where a Hessian is many."""
    made = jax.device_put(laid_out().model_data)
    at, unravel = ravel_pytree(made.center)
    gradient = jax.jit(jax.grad(lambda x, made: log_density(unravel(x), made)))
    steps = 1e-5 * np.eye(len(at))
    hessian = np.stack([(gradient(at + s, made) - gradient(at - s, made)) / 2e-5 for s in steps])
    sds = np.sqrt(np.diag(np.linalg.inv(-0.5 * (hessian + hessian.T))))
    widths, _ = ravel_pytree(made.widths)
    assert np.abs(np.log(widths / sds)).max() < np.log(1.6)


def test_the_model_is_told_by_its_parts() -> None:
    parts, _ = resolved(MODEL, SCREEN.data)
    assert parts.guide_noise
    assert chosen(parts, SCREEN.data.factor_names)._replace(notes=()) == MODEL
    assert not resolved("screen", SCREEN.data)[0].guide_noise


def test_noise_by_what_has_no_effects_is_refused() -> None:
    with pytest.raises(InputError, match="noise by 'guide' and no effects of it: add nested"):
        cj.fit(SCREEN.data, model=Model(noise_by="guide"))


def test_slopes_by_guide_are_refused() -> None:
    with pytest.raises(InputError, match="a part by 'guide': the factors are gene, cell_line"):
        cj.fit(SCREEN.data, model=Model("guide", ("guide",), nested="guide"))


def test_noise_by_a_unit_that_was_not_read_tells_how_to_read_it() -> None:
    table = cj.read_table(guide_rows(), response="y", factors=("gene", "line"))
    with pytest.raises(InputError, match="if it is nested in one, read the table with nested='g"):
        cj.fit(table, model=Model(noise_by="guide"))


def test_noise_by_very_many_guides_of_a_gene_is_refused() -> None:
    rows = guide_rows().with_columns(guide=pl.concat_str("gene", "guide"))
    controls = pl.concat(
        rows.filter(gene="gene0").with_columns(gene=pl.lit("control"), guide=pl.lit(f"c{i}"))
        for i in range(17)
    )
    table = cj.read_table(
        pl.concat([rows, controls]), response="y", factors=("gene", "line"), nested="guide"
    )
    model = Model(noise_by="guide", nested="guide")
    with pytest.raises(InputError, match="gene 'control' has 17 levels of guide, and with noise"):
        cj.fit(table, model=model)
    assert not resolved(model._replace(noise_by=()), table)[0].guide_noise


def _estimate(gene: np.ndarray, f: np.ndarray, rng: np.random.Generator) -> NoiseEstimate:
    """Of one row a cell, in which there is nothing but noise of so many log SDs."""
    mean = np.exp(f)[:, None] * rng.normal(size=(len(gene), 30))
    ones, zeros = np.ones_like(mean), np.zeros(30)
    point = LineEstimate(zeros, zeros, zeros, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    guides = GuideEstimate(1.0, 0.1, 0.0, 0.0)
    return of_guide_noise(CellMatrices(ones, mean, 0.0 * mean), point, guides, gene, 0.0)


def test_without_noise_by_gene_guides_have_what_those_of_a_gene_have_in_common() -> None:
    rng = np.random.default_rng(6)
    gene = np.repeat(np.arange(80), 4)
    f = 0.5 * rng.normal(size=80)[gene] + rng.normal(0.0, SD, len(gene))
    found = _estimate(gene, f, rng)
    assert np.corrcoef(found.value, f)[0, 1] > 0.85
    assert found.sd == pytest.approx(np.hypot(0.5, SD), rel=0.15)


def test_guides_of_which_squares_say_nothing_start_at_no_noise_of_their_own() -> None:
    """One row a cell, and of most genes two guides: the deviations of both are as large."""
    rng = np.random.default_rng(5)
    gene = np.concatenate([np.repeat(np.arange(150), 2), np.repeat(np.arange(150, 200), 4)])
    f = rng.normal(0.0, SD, len(gene))
    found = _estimate(gene, f, rng)
    several = gene >= 150
    assert not found.value[~several].any()
    assert (found.information > 0.0).all()
    assert np.corrcoef(found.value[several], f[several])[0, 1] > 0.7
