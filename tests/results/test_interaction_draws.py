"""Draws of interactions against what the fit has averaged of them."""

import numpy as np
import pytest
from screen_tables import SCREEN, SETTINGS

import crossed_jax as cj
from crossed_jax.errors import InputError

GENES = ["gene6", "gene17", "gene3"]


@pytest.fixture(scope="module")
def tree():
    return cj.fit(SCREEN, model="screen", **SETTINGS)


@pytest.fixture(scope="module")
def draws(tree):
    return cj.interaction_draws(tree, seed=1)


def at_cells(draws, tree):
    """Shape (draws, cells)."""
    cells = tree["interactions"].to_dataset()
    gene, line = cells["gene_code"].values, cells["line_code"].values
    flat = draws.transpose("chain", "draw", "gene", "line").values.reshape(-1, *draws.shape[2:])
    return flat[:, gene, line]


def test_draws_have_the_moments_that_were_averaged(tree, draws):
    """Means within five standard errors of some 250 cells, SDs and rates likewise."""
    drawn, summary = at_cells(draws, tree), tree["interactions"].to_dataset()
    number = 0.5 * len(drawn)  # effective draws at least
    mean, sd, lfsr = (summary[name].values for name in ("mean", "sd", "lfsr"))
    z = np.sqrt(number) * (drawn.mean(0) - mean) / sd
    assert np.abs(z).max() < 5
    assert np.abs(np.sqrt(2 * number) * np.log(drawn.std(0) / sd)).max() < 5
    below = np.where(mean > 0, lfsr, 1 - lfsr)
    error = np.sqrt(below * (1 - below) / number) + 1 / number
    assert np.abs(((drawn <= 0).mean(0) - below) / error).max() < 5
    assert 0.9 < np.std(z) / np.sqrt(number / len(drawn)) < 1.3  # not too close either


def test_draws_go_with_the_gene_effects_they_were_drawn_given(tree, draws):
    """What is left of the cells' means is noise: variance (1 - share) V / n."""
    posterior = tree["posterior"].to_dataset()
    cells = tree["interactions"].to_dataset()
    gene, line = (cells[f"{name}_code"] for name in ("gene", "line"))
    expected = posterior["intercept"] + posterior["line_effect"].isel(line=line)
    expected = expected + posterior["line_slope"].isel(line=line) * posterior["gene_effect"].isel(
        gene=gene
    )
    log_sd = posterior["line_log_noise_sd"].isel(line=line)
    log_sd = log_sd + posterior["gene_log_noise_sd"].isel(gene=gene)
    variance = (1 - posterior["interaction_share"]) * (posterior["sigma"] * np.exp(log_sd)) ** 2
    left = cells["raw_mean"] - expected - draws.isel(gene=gene, line=line)
    z = left / np.sqrt(variance / cells["n"])
    assert float((z**2).mean()) == pytest.approx(1, abs=0.1)


def test_a_cell_without_rows_has_the_prior(tree, draws):
    cells = tree["interactions"].to_dataset()
    seen = np.zeros((30, 6), bool)
    seen[cells["gene_code"].values, cells["line_code"].values] = True
    gene, line = np.argwhere(~seen)[0]
    one = draws.isel(gene=gene, line=line)
    posterior = tree["posterior"].to_dataset()
    log_sd = posterior["line_log_noise_sd"].isel(line=line)
    log_sd = log_sd + posterior["gene_log_noise_sd"].isel(gene=gene)
    sd = np.sqrt(posterior["interaction_share"]) * posterior["sigma"] * np.exp(log_sd)
    assert float(((one / sd) ** 2).mean()) == pytest.approx(1, abs=5 * np.sqrt(2 / one.size))


def test_a_cell_has_the_same_draws_whatever_else_is_asked_for(tree, draws):
    some = cj.interaction_draws(tree, {"gene": GENES, "line": "line2"}, seed=1)
    assert some.dims == ("chain", "draw", "gene", "line")
    assert some["gene"].values.tolist() == GENES
    np.testing.assert_array_equal(some, draws.sel(gene=GENES, line=["line2"]))
    few = cj.interaction_draws(tree, {"line": ["line2", "line2"]}, num_draws=10)
    assert few.sizes == {"chain": 2, "draw": 10, "gene": 30, "line": 1}
    assert np.abs(np.corrcoef(draws.values.reshape(300, -1)[:, :20].T)[0, 1:]).max() < 0.9


REFUSED = {
    "a factor": ({"plate": ["1"]}, "the fit has no factor 'plate': name gene or line"),
    "a level": ({"gene": ["gene6", "TP53"]}, "the fit has no level 'TP53' of gene"),
    "none": ({"line": []}, "no level of line is asked for"),
}


@pytest.mark.parametrize(("levels", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_was_not_fitted_is_refused(tree, levels, told):
    with pytest.raises(InputError, match=told):
        cj.interaction_draws(tree, levels)


def test_more_than_fits_is_refused(tree, monkeypatch):
    monkeypatch.setattr("crossed_jax.sampling.memory._available_memory", lambda: 16 * 300 * 179)
    with pytest.raises(InputError, match="300 draws of 180 interactions do not fit"):
        cj.interaction_draws(tree)
    assert cj.interaction_draws(tree, {"gene": "gene6"}).shape == (2, 150, 1, 6)
