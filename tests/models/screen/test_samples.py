"""Samples of lines: the log-likelihood is that of responses less their effects; and their prior."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_tables import balanced, unbalanced
from guide_tables import GENE_OF_GUIDE, guides, lines_with
from scipy.stats import multivariate_normal

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.models.distributions import Normal
from crossed_jax.models.model import resolved
from crossed_jax.models.screen.density import Lines, log_likelihood
from crossed_jax.models.screen.gram import gram_of, log_likelihood_of_gram
from crossed_jax.models.screen.guides.density import GuideRules
from crossed_jax.models.screen.guides.density import log_likelihood as log_likelihood_with_guides
from crossed_jax.models.screen.guides.shares import NodesInSDs
from crossed_jax.models.screen.guides.table import guide_strata
from crossed_jax.models.screen.line_vectors import Rotation
from crossed_jax.models.screen.quadrature import gauss_hermite
from crossed_jax.models.screen.samples import (
    Contrasts,
    basis_of,
    deviations,
    locations_of_lines,
    log_prior,
    log_prior_of_locations,
    variances,
)
from crossed_jax.models.screen.strata import Strata, strata_of
from crossed_jax.statistics.cells import cells_of, squares_within
from crossed_jax.statistics.samples import without_samples
from crossed_jax.tables.crossed_data import CrossedData, Factor, Nested

PER_LINE = np.array([2, 1, 3, 2])
LINE_OF_SAMPLE = np.repeat(np.arange(4), PER_LINE)
EFFECTS = np.random.default_rng(8).normal(0.0, 0.5, len(LINE_OF_SAMPLE))
TABLES = {
    "ragged": unbalanced((6, 4), 60, sds=(1.0, 0.5), sigma=1.0),
    "complete": balanced((6, 4), 3, sds=(1.0, 0.5), sigma=1.0),
}


def _with_samples(data: CrossedData, *, in_order: bool = False) -> CrossedData:
    """Give each row one of its line's samples: at random, or in turn within each cell."""
    line = data.factors[1].codes
    turn = np.random.default_rng(3).integers(0, 100, len(line))
    if in_order:
        turn = np.arange(len(line)) % 3
    first = np.cumsum(PER_LINE) - PER_LINE
    codes = (first[line] + turn % PER_LINE[line]).astype(np.int32)
    labels = tuple(f"s{i}" for i in range(len(LINE_OF_SAMPLE)))
    units = Factor("sample", labels, codes)
    nested = Nested(units, 1, LINE_OF_SAMPLE.astype(np.int32), units)
    return dataclasses.replace(data, samples=nested)


def _without(data: CrossedData) -> CrossedData:
    """Take the effects themselves off the responses."""
    assert data.samples is not None
    less = data.response - EFFECTS[data.samples.units.codes]
    return dataclasses.replace(data, response=less, samples=None)


def _strata(data: CrossedData, location: np.ndarray) -> Strata:
    samples = None
    cells = cells_of(data)
    if data.samples is not None:
        data, cells, samples = without_samples(data, 1)
    return strata_of(cells, squares_within(cells, data), 0, location, samples)


def _lines(*, gene_noise: bool = True) -> Lines:
    rng = np.random.default_rng(2)
    location, slope, noise = (jnp.asarray(rng.normal(-0.3, 0.4, 4)) for _ in range(3))
    tau = jnp.asarray(-1.0) if gene_noise else None
    return Lines(location, slope, noise, tau, jnp.asarray(0.3), jnp.asarray(EFFECTS))


@pytest.mark.parametrize("name", TABLES)
def test_log_likelihood_is_that_of_responses_less_their_effects(name: str) -> None:
    data = _with_samples(TABLES[name])
    location, rule, lines = np.full(4, 0.2), gauss_hermite(21), _lines()
    with_samples = jax.jit(log_likelihood)(lines, _strata(data, location), rule)
    layout = _strata(_without(data), location)
    wanted = jax.jit(log_likelihood)(lines._replace(sample=None), layout, rule)
    assert float(with_samples) == pytest.approx(float(wanted), rel=1e-11)


def test_gram_form_has_samples_too() -> None:
    data = _with_samples(TABLES["complete"], in_order=True)
    layout, lines = _strata(data, np.zeros(4)), _lines(gene_noise=False)
    sums = gram_of(layout, 6)
    assert sums is not None
    rule = gauss_hermite(1)
    found, wanted = (
        jax.jit(jax.value_and_grad(each))(lines, *arguments)
        for each, arguments in (
            (log_likelihood_of_gram, (sums,)),
            (log_likelihood, (layout, rule)),
        )
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), found, wanted)


@pytest.mark.parametrize("replicates", [None, 3])
def test_guides_seen_with_other_samples_are_told_apart(replicates: int | None) -> None:
    data = _with_samples(guides(replicates), in_order=replicates is not None)
    at = lines_with()
    nodes = gauss_hermite(15)
    of_genes = (x[:, None] * np.ones(GENE_OF_GUIDE.max() + 1) for x in nodes)
    rules = GuideRules(nodes, NodesInSDs(*of_genes))
    found = []
    for table, effects in ((data, jnp.asarray(EFFECTS)), (_without(data), None)):
        samples, cells = None, cells_of(table)
        if effects is not None:
            table, cells, samples = without_samples(table, 1)  # noqa: PLW2901
        layout = guide_strata(
            cells, squares_within(cells, table), GENE_OF_GUIDE, np.zeros(4), samples
        )
        one = at._replace(lines=at.lines._replace(sample=effects))
        found.append(float(jax.jit(log_likelihood_with_guides)(one, layout, rules)))
    assert found[0] == pytest.approx(found[1], rel=1e-10)


def test_estimates_of_samples_are_exact_without_noise() -> None:
    data = _with_samples(TABLES["complete"], in_order=True)
    gene, line = (factor.codes for factor in data.factors)
    assert data.samples is not None
    response = gene + 0.1 * line**2 + EFFECTS[data.samples.units.codes]
    rest, cells, samples = without_samples(dataclasses.replace(data, response=response), 1)
    means = np.bincount(LINE_OF_SAMPLE, EFFECTS) / PER_LINE
    np.testing.assert_allclose(samples.estimate, EFFECTS - means[LINE_OF_SAMPLE], atol=1e-12)
    np.testing.assert_allclose(samples.between, 0.0, atol=1e-11)
    assert cells_of(rest).sum_squares_within == pytest.approx(0.0, abs=1e-20)
    assert len(np.unique(samples.pattern[cells.codes[:, 1] == 1])) == 1


LINE_SD, SAMPLE_SD, MEAN = 0.7, 0.4, Normal(0.3, 1.5)


def _covariance_of_locations() -> np.ndarray:
    """Of the lines' locations with the means of their samples."""
    return np.diag(LINE_SD**2 + SAMPLE_SD**2 / PER_LINE) + MEAN.scale**2


def test_prior_is_that_of_independent_samples() -> None:
    rng = np.random.default_rng(1)
    location = rng.normal(size=4)
    variance = variances(np.log(LINE_SD), np.log(SAMPLE_SD), 1.0 / PER_LINE, 4)
    found = log_prior_of_locations(
        location.mean(), jnp.asarray(location - location.mean()), variance, MEAN
    )
    dense = multivariate_normal.logpdf(location, np.full(4, MEAN.loc), _covariance_of_locations())
    # of the mean and of the others in orthonormal coordinates, one of which is twice the mean
    assert float(found) == pytest.approx(dense + np.log(2.0), abs=1e-12)

    entries = basis_of(LINE_OF_SAMPLE)
    basis = np.zeros((8, 4))
    basis[entries.sample, entries.contrast] = entries.value
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-15)
    np.testing.assert_allclose(np.eye(4)[LINE_OF_SAMPLE].T @ basis, 0.0, atol=1e-15)
    for weight in (0.0, 1.0):
        rotation = Rotation(
            np.full(4, 2.0), np.zeros(4), *map(np.asarray, (1.0, -1.2, 3.0, weight))
        )
        contrasts, z = Contrasts(entries, rotation, 1.0 / PER_LINE), jnp.asarray(rng.normal(size=4))
        effects = deviations(z, contrasts, jnp.log(SAMPLE_SD))
        values = basis.T @ effects
        jacobian = jax.jacfwd(lambda z, of=contrasts: basis.T @ deviations(z, of, jnp.log(0.4)))
        log_volume = np.linalg.slogdet(jacobian(z))[1]
        wanted = multivariate_normal.logpdf(values, np.zeros(4), SAMPLE_SD**2) + log_volume
        constant = 4 * np.log(2.0)  # of the fixed scale
        prior = log_prior(effects, contrasts, jnp.log(SAMPLE_SD))
        assert float(prior) == pytest.approx(wanted + constant, abs=1e-12)


def test_locations_of_lines_are_those_given_their_samples() -> None:
    location = np.array([0.4, -1.0, 2.0, 0.1])
    own = LINE_SD**2 * np.eye(4) + MEAN.scale**2  # of m + b, and its covariance with the locations
    gain = own @ np.linalg.inv(_covariance_of_locations())
    mean = MEAN.loc + gain @ (location - MEAN.loc)
    covariance = own - gain @ own
    center = np.eye(4) - 0.25
    number = 40_000
    found = jax.jit(
        jax.vmap(
            lambda key: locations_of_lines(
                key, jnp.asarray(location), LINE_SD, SAMPLE_SD, MEAN, 1.0 / PER_LINE
            )
        )
    )(jax.random.split(jax.random.key(5), number))
    np.testing.assert_allclose(found.mean[0], mean, rtol=1e-12)
    about_mean = np.diag(center @ covariance @ center)
    np.testing.assert_allclose(found.variance[0], about_mean, rtol=1e-12)
    assert float(found.of_mean[0]) == pytest.approx(covariance.mean(), rel=1e-12)
    error = np.sqrt(np.diag(covariance) / number)
    assert (np.abs(np.mean(found.draw, 0) - mean) < 4.5 * error).all()
    drawn = np.cov(np.transpose(found.draw))
    spread = np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2
    assert (np.abs(drawn - covariance) < 4.5 * np.sqrt(spread / number)).all()


def test_samples_are_a_part_of_the_screen_model_where_replicates_tell_them() -> None:
    data = _with_samples(TABLES["complete"], in_order=True)
    parts, notes = resolved("screen", data)
    assert parts is not None
    assert (parts.sample, notes) == ("sample", ())
    without, notes = resolved(cj.Model(slopes="b"), data)
    assert without == parts._replace(
        line_noise=False, gene_noise=False, interaction=False, sample=None
    )
    assert "no effects of sample" in notes[0]
    single = _with_samples(balanced((6, 4), 1, sds=(1.0, 0.5), sigma=1.0))
    parts, notes = resolved("screen", single)
    assert parts is not None
    assert parts.sample is None
    assert "without effects of sample: rows that share all levels" in notes[-1]
    with pytest.raises(InputError, match="cannot inform effects of sample"):
        resolved(cj.Model(sample="sample"), single)
    with pytest.raises(InputError, match="read the table with sample='plate'"):
        resolved(cj.Model(sample="plate"), data)
