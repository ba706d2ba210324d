"""Where chains start: the point estimate, and what it says of the SDs."""

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import multivariate_normal
from screen_tables import simulated

from crossed_jax.models.distributions import Exponential
from crossed_jax.models.screen.estimate import cell_matrices, estimate
from crossed_jax.models.screen.parts import Parts
from crossed_jax.models.screen.spread import SMALL, spread_of
from crossed_jax.statistics.cells import cells_of, squares_within


def test_estimate_finds_what_a_table_was_simulated_with() -> None:
    """Each within 4 of the SDs that the truth's own numbers of genes and lines leave."""
    num_genes, num_lines = 400, 60
    data = simulated(7, num_genes, num_lines, 2)
    cells = cells_of(data)
    found, _, _ = estimate(cell_matrices(cells, squares_within(cells, data), 0), Parts())
    for name, true, number in (
        ("gene_sd", 0.6, num_genes),
        ("gene_noise_sd", 0.35, num_genes),
        ("line_sd", 0.5, num_lines),
        ("slope_sd", 0.4, num_lines),
        ("line_noise_sd", 0.4, num_lines),
    ):
        of_lines = 0.4 / np.sqrt(num_lines) if name == "gene_sd" else 0.0  # their mean log slope
        error = np.hypot((2.0 * (number - 1)) ** -0.5, of_lines)
        assert abs(np.log(getattr(found, name) / true)) < 4.0 * error, name
    assert found.share == pytest.approx(0.4, abs=0.02)


def test_few_lines_without_replicates_do_not_fit_a_gene_without_noise() -> None:
    """As they would at the mode: the truth is 0.35, and more sweeps end above 4."""
    cells = cells_of(simulated(8, 30, 6, 1, 0.0))
    found, _, _ = estimate(cell_matrices(cells, None, 0), Parts(interaction=False))
    assert 0.1 < found.gene_noise_sd < 1.0


def test_posterior_of_an_sd_is_that_of_dense_normals() -> None:
    rng = np.random.default_rng(0)
    values, precision = rng.normal(0.0, 0.4, 6), rng.uniform(10.0, 80.0, 6)
    direction, along, prior = rng.normal(size=6), 0.3, Exponential(1.5)

    def density(log_sd: float) -> float:
        """Of the log SD, up to a constant; the mean's prior is as good as flat."""
        covariance = np.diag(1.0 / precision + np.exp(2.0 * log_sd))
        covariance += 1e6 + along**2 * np.outer(direction, direction)
        log_prior = float(prior.log_prob(np.exp(log_sd))) + log_sd
        return np.exp(multivariate_normal.logpdf(values, None, covariance) + log_prior + 12.0)

    found = spread_of(prior, values, precision, direction, along)
    total = integrate.quad(density, -14.0, 4.0, limit=200)[0]
    for probability, end in ((0.5, found.sd), (SMALL, found.small)):
        below = integrate.quad(density, -14.0, np.log(end), limit=200)[0]
        assert below / total == pytest.approx(probability, rel=0.05)


def test_a_vector_is_centred_where_its_lines_clearly_differ() -> None:
    rng = np.random.default_rng(1)
    values, prior = rng.normal(0.0, 0.5, 30), Exponential(1.0)
    assert spread_of(prior, values, np.full(30, 400.0)).weight == 1.0
    assert spread_of(prior, values, np.full(30, 4.0)).weight == 0.0
