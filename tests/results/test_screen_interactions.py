"""The table of interactions, and the hits in it."""

import json

import numpy as np
import polars as pl
from screen_tables import SCREEN, posterior_of

import crossed_jax as cj
from crossed_jax.results.interactions import hits
from crossed_jax.statistics.cells import cells_of

CELLS = cells_of(SCREEN)
GENE, LINE = (factor.codes for factor in SCREEN.factors)


def test_interactions_have_a_row_for_each_cell(screen_fit):
    found = cj.interactions(screen_fit)
    assert found.columns == [
        *("gene", "line", "n", "raw_residual", "mean", "sd", "lower", "upper", "lfsr", "s_value"),
    ]
    seen = pl.DataFrame(
        {"gene": SCREEN.factors[0].labels[GENE], "line": SCREEN.factors[1].labels[LINE]}
    )
    counts = seen.group_by("gene", "line").agg(pl.len().cast(pl.Int64).alias("n"))
    order = ("gene", "line")
    assert found.select("gene", "line", "n").sort(order).equals(counts.sort(order))
    assert (found["lower"] < found["mean"]).all()
    assert (found["mean"] < found["upper"]).all()
    assert (found["sd"] > 0).all()
    assert found["lfsr"].is_between(0.0, 0.5).all()
    # an interaction is shrunk from the residual of its cell, towards zero; at each draw, that is
    assert (found["mean"].abs() < found["raw_residual"].abs() + 0.01 * found["sd"]).all()


def test_interactions_are_averages_over_the_draws(screen_fit):
    """Against the conditional moments given the draws of genes as well, to Monte Carlo error."""
    posterior = posterior_of(screen_fit)
    gene, line = (CELLS.codes[:, k] for k in (0, 1))
    share = posterior["interaction_share"].values[..., None]
    k = posterior["line_slope"].values[..., line]
    expected = posterior["intercept"].values[..., None] + posterior["line_effect"].values[..., line]
    expected = expected + k * posterior["gene_effect"].values[..., gene]
    log_noise = posterior["line_log_noise_sd"].values[..., line]
    log_noise = log_noise + posterior["gene_log_noise_sd"].values[..., gene]
    variance = (posterior["sigma"].values[..., None] * np.exp(log_noise)) ** 2
    u = share + (1.0 - share) / CELLS.counts
    residual = CELLS.means - expected
    mean = share / u * residual
    given = share * (1.0 - share) * variance / (CELLS.counts * u)
    found = cj.interactions(screen_fit)
    ours = screen_fit["interactions"].to_dataset()
    np.testing.assert_array_equal(ours["gene_code"], gene)
    sd = found["sd"].to_numpy()
    error = 1.0 / np.sqrt(100.0)  # draws of 300 that are worth as many as 100
    flat = mean.reshape(-1, len(gene))
    assert np.abs((found["mean"].to_numpy() - flat.mean(0)) / flat.std(0)).max() < 4.5 * error
    second = np.sqrt(given.mean((0, 1)) + flat.var(0))
    np.testing.assert_allclose(np.log(sd / second), 0.0, atol=4.5 * error)
    flat = residual.reshape(-1, len(gene))
    z = (found["raw_residual"].to_numpy() - flat.mean(0)) / flat.std(0)
    assert np.abs(z).max() < 4.5 * error


def test_s_values_are_means_of_the_rates_that_are_no_larger(screen_fit):
    found = cj.interactions(screen_fit)
    rates = found["lfsr"].to_numpy()
    expected = [rates[rates <= rate].mean() for rate in rates]
    np.testing.assert_allclose(found["s_value"], expected, rtol=1e-12)


def test_hits_may_be_called_together(screen_fit):
    cells = cj.interactions(screen_fit)
    found = hits(cells)
    assert 0 < len(found) < len(cells)
    assert found.columns == cells.columns
    assert (found["s_value"] < 0.05).all()
    assert found["lfsr"].is_sorted()
    assert found["lfsr"].mean() < 0.05
    assert len(cells.filter(pl.col("s_value") < 0.05)) == len(found)


def test_the_errors_of_interactions_are_kept(screen_fit):
    errors = json.loads(screen_fit.attrs["interaction_error"])
    assert 0 < errors["mean"] < 0.1
    assert 0 < errors["lfsr"] < 0.05
    assert 0 <= json.loads(screen_fit.attrs["quadrature_error"]) < 1e-4
