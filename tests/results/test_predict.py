"""Predictions of rows: as the fit has them where it does, else dense normals; and refusals."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import xarray as xr
from screen_tables import SCREEN, few_draws, starts_as_draws
from synthetic_tree import synthetic_tree
from truth import assert_normal
from unit_screen import TABLE

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.results import predict
from crossed_jax.results.posterior_predictive import additive_responses
from crossed_jax.tables.crossed_data import CrossedData

NUMBER = 20_000


def rows_of(data: CrossedData) -> pl.DataFrame:
    """Its levels, and what is nested by its own labels."""
    return pl.DataFrame(
        {factor.name: factor.labels[factor.codes].tolist() for factor in data.factors_and_units}
    )


@pytest.fixture(scope="module")
def trees(screen_fit: xr.DataTree, unit_fit: xr.DataTree) -> dict[str, xr.DataTree]:
    """Fits of the screen model, without units and with."""
    return {"screen": few_draws(screen_fit), "units": unit_fit}


def repeated(tree: xr.DataTree, **changes: float) -> xr.DataTree:
    """The first draw so many times over, with other values of some scalars."""
    copy = tree.copy()
    one = tree["posterior"].to_dataset().isel(chain=[0], draw=np.zeros(NUMBER, int))
    one = one.assign({name: xr.full_like(one[name], value) for name, value in changes.items()})
    copy["posterior"] = xr.DataTree(one.assign_coords(draw=np.arange(NUMBER)))
    return copy


def conditioned(
    covariance: np.ndarray, known: np.ndarray, values: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Moments of linear functions of a normal of mean zero, given others."""
    across = wanted @ covariance @ known.T
    gain = across @ np.linalg.pinv(known @ covariance @ known.T, rcond=1e-12)
    return gain @ values, wanted @ covariance @ wanted.T - gain @ across.T


@pytest.mark.parametrize(("name", "data"), [("screen", SCREEN), ("units", TABLE)])
def test_fitted_rows_are_predicted_as_the_table(
    name: str, data: CrossedData, trees: dict[str, xr.DataTree]
) -> None:
    found = cj.predict(trees[name], rows_of(data), seed=5)
    wanted = cj.posterior_predictive(trees[name], data, seed=5)["posterior_predictive"]
    np.testing.assert_array_equal(found, wanted[data.response_name])
    assert found.dims == ("chain", "draw", "row")
    for factor in data.factors_and_units:
        assert found[factor.name].values.tolist() == list(factor.labels[factor.codes])


def test_additive_rows_are_predicted_as_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    data = cj.simulate_screen(num_genes=3, num_cell_lines=4).data
    monkeypatch.setattr("crossed_jax.fitting.sample", starts_as_draws)
    tree = cj.fit(data, num_chains=2, num_draws=10, parameterization="original")
    found = cj.predict(tree, rows_of(data), seed=5)
    wanted = cj.posterior_predictive(tree, data, seed=5)["posterior_predictive"]
    np.testing.assert_array_equal(found, wanted[data.response_name])
    expected = cj.predict(tree, {"gene": ["gene_2"], "cell_line": ["line_3"]}, noise=False)
    posterior = tree["posterior"]
    by_hand = posterior["gene_intercept"].sel(gene="gene_2")
    by_hand = by_hand + posterior["cell_line_intercept"].sel(cell_line="line_3")
    np.testing.assert_allclose(expected[..., 0], by_hand, rtol=1e-12)


def test_new_levels_of_the_additive_model_are_those_of_a_dense_normal() -> None:
    """Means, levels and the new ones, given the effects of those that were fitted and the SDs."""
    tree, _ = synthetic_tree({"gene": 3, "cell_line": 4}, chains=1, draws=1)
    tree = repeated(tree, gene_sd=2.0, cell_line_sd=0.7)
    draw = tree["posterior"].to_dataset().isel(chain=0, draw=0)
    blocks = []  # the mean, the levels and a new one of each factor
    for sd, n in ((2.0, 3), (0.7, 4)):
        weights = np.hstack([np.ones((n + 2, 1)), np.eye(n + 2)[:, 1:]])
        weights[0, 0] = 1.0
        variances = np.array([25.0, *[sd**2] * (n + 1)])
        blocks.append(weights * variances @ weights.T)
    covariance = np.zeros((11, 11))
    covariance[:5, :5], covariance[5:, 5:] = blocks
    of_gene, of_line = np.eye(11)[1:4], np.eye(11)[6:10]
    intercept = of_gene.mean(0) + of_line.mean(0)
    effects = np.vstack([of_gene - of_gene.mean(0), of_line - of_line.mean(0)])
    known = np.vstack([intercept, effects])
    values = [draw["intercept"], *draw["gene_effect"].values, *draw["cell_line_effect"].values]
    new_gene, new_line = np.eye(11)[4], np.eye(11)[10]
    wanted = np.array([new_gene + of_line[1], of_gene[2] + new_line, new_gene + new_line])
    mean, spread = conditioned(covariance, known, np.array(values, float), wanted)
    lines = ["cell_line 1", "another", "another"]
    rows = {"gene": ["one more", "gene 2", "one more"], "cell_line": lines}
    found = cj.predict(tree, rows, noise=False, seed=3)
    assert_normal(found.values[0], mean, spread)
    noisy = cj.predict(tree, rows, seed=3)
    sigma = float(draw["sigma"])
    assert_normal(noisy.values[0], mean, spread + sigma**2 * np.eye(3))


def test_new_levels_of_the_screen_model_are_those_of_a_dense_normal(
    trees: dict[str, xr.DataTree],
) -> None:
    """Slopes of new lines are one, and the interaction is as small as the noise."""
    scalars = {"gene_sd": 1.5, "line_sd": 0.8, "line_log_slope_sd": 0.0, "sigma": 1e-6}
    tree = repeated(trees["screen"], **scalars)
    draw = tree["posterior"].to_dataset().isel(chain=0, draw=0)
    slope = draw["line_slope"].values
    num_genes, num_lines = draw.sizes["gene"], len(slope)
    variances = [50.0, *[1.5**2] * (num_genes + 1), *[0.8**2] * (num_lines + 1)]
    place = np.eye(len(variances))
    m, a, new_a = place[0], place[1 : num_genes + 1], place[num_genes + 1]
    b, new_b = place[num_genes + 2 : -1], place[-1]
    known = np.vstack([m + b + slope[:, None] * a.mean(0), a - a.mean(0)])
    location = float(draw["intercept"]) + draw["line_effect"].values
    values = np.concatenate([location, draw["gene_effect"].values])
    wanted = np.array([m + b[2] + slope[2] * new_a, m + new_b + a[4], m + new_b + new_a])
    mean, covariance = conditioned(np.diag(variances), known, values, wanted)
    genes, lines = SCREEN.factors[0].levels, SCREEN.factors[1].levels
    rows = {"gene": ["new", genes[4], "new"], "line": [lines[2], "new", "new"]}
    found = cj.predict(tree, rows, noise=False, seed=4)
    assert_normal(found.values[0], mean, covariance)


def test_new_lines_differ_in_slope_and_noise_by_their_populations(
    trees: dict[str, xr.DataTree],
) -> None:
    scalars = {"line_log_slope_sd": 0.6, "line_log_noise_sd_sd": 0.4, "line_sd": 1e-9}
    tree = repeated(trees["screen"], **scalars, sigma=1e-9)
    genes = SCREEN.factors[0].levels
    rows = {"gene": [genes[0], genes[1]], "line": ["new", "new"]}
    found = cj.predict(tree, rows, noise=False, seed=4).values[0]
    effect = tree["posterior"]["gene_effect"].values[0, 0, :2]
    log_slope = np.log((found[:, 1] - found[:, 0]) / (effect[1] - effect[0]))
    assert_normal(log_slope[:, None], np.zeros(1), np.array([[0.6**2 * (1 + 1 / 6)]]))


def test_noise_of_new_genes_and_lines_is_as_wide_as_their_populations(
    trees: dict[str, xr.DataTree],
) -> None:
    """Excess of the fourth moment of noise, whose SD is log-normal."""
    scalars = {"line_log_noise_sd_sd": 0.2, "gene_log_noise_sd_sd": 0.15, "sigma": 1.0}
    tree = repeated(trees["screen"], **scalars, interaction_share=1e-9)
    rows = {"gene": ["new"], "line": ["new"]}
    noise = cj.predict(tree, rows, seed=4) - cj.predict(tree, rows, noise=False, seed=4)
    squares = noise.values.ravel() ** 2
    variance = 0.2**2 * (1 + 1 / 6) + 0.15**2
    expected = np.exp(2.0 * variance)
    fourth = 3.0 * np.exp(8.0 * variance)
    assert abs(squares.mean() - expected) < 4.5 * np.sqrt((fourth - expected**2) / NUMBER)


def test_rows_without_guides_and_samples_are_of_new_ones(trees: dict[str, xr.DataTree]) -> None:
    """Of one for each gene and line: rows that share both differ by their noise alone."""
    scalars = {"guide_sd": 2.0, "replicate_sd": 3.0, "sigma": 1e-6}
    tree = repeated(trees["units"], **scalars, gene_interaction_share=1e-12)
    draw = tree["posterior"].to_dataset().isel(chain=0, draw=0)
    gene, line = TABLE.factors[0].levels, TABLE.factors[1].levels
    rows = {"gene": [gene[0], gene[0], gene[1]], "cell_line": [line[0], line[1], line[1]]}
    found = cj.predict(tree, rows, noise=False, seed=2).values[0]
    k = draw["cell_line_slope"].values
    a = draw["gene_effect"].values[[0, 0, 1]]
    mean = float(draw["intercept"]) + draw["cell_line_effect"].values[[0, 1, 1]] + k[[0, 1, 1]] * a
    guides = 2.0**2 * np.array([[k[0] ** 2, k[0] * k[1], 0], [k[0] * k[1], k[1] ** 2, 0], [0] * 3])
    guides[2, 2] = (2.0 * k[1]) ** 2
    samples = 3.0**2 * np.array([[1, 0, 0], [0, 1, 1], [0, 1, 1]])
    assert_normal(found, mean, guides + samples)


def test_a_summary_is_of_the_draws(trees: dict[str, xr.DataTree]) -> None:
    rows = {"gene": ["new", SCREEN.factors[0].levels[1]], "line": [SCREEN.factors[1].levels[0]] * 2}
    draws = cj.predict(trees["screen"], rows, seed=1).values.reshape(-1, 2)
    found = cj.predict(trees["screen"], rows, seed=1, summary=True, interval=0.8)
    assert found.columns == ["gene", "line", "fitted", "mean", "sd", "lower", "upper"]
    assert found["gene"].to_list() == rows["gene"]
    np.testing.assert_allclose(found["mean"], draws.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found["sd"], draws.std(0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(found["lower"], np.quantile(draws, 0.1, 0), rtol=1e-12)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"gene": ["a"]}, "line"),
        ({"gene": ["a", None], "line": ["x", "y"]}, "'gene' is missing in row 2"),
        ({"gene": [], "line": []}, "the table of rows has none"),
        ({"gene": ["a"], "line": ["x", "y"]}, "cannot be read as columns"),
        ("a", "cannot read a table from an object of type str"),
    ],
)
def test_rows_that_cannot_be_read_are_told(rows, told, trees: dict[str, xr.DataTree]) -> None:
    with pytest.raises(InputError, match=told):
        cj.predict(trees["screen"], rows)


def test_a_guide_of_another_gene_is_told(trees: dict[str, xr.DataTree]) -> None:
    rows = rows_of(TABLE)[:2].with_columns(gene=pl.lit("gene_6"))
    with pytest.raises(InputError, match="guide 'gene_1_guide_1' is of gene 'gene_1' in the fit"):
        cj.predict(trees["units"], rows)


def test_a_table_with_guides_of_other_genes_is_told(trees: dict[str, xr.DataTree]) -> None:
    """Genes change places, and what is nested in them does not."""
    others = dataclasses.replace(TABLE.factors[0], levels=TABLE.factors[0].levels[::-1])
    table = dataclasses.replace(TABLE, factors=(others, TABLE.factors[1]))
    with pytest.raises(InputError, match="is of gene 'gene_1' in the fit, and of 'gene_6' in row"):
        cj.posterior_predictive(trees["units"], table)


def test_it_is_told_which_rows_were_fitted(trees: dict[str, xr.DataTree]) -> None:
    gene, line = (factor.levels[0] for factor in SCREEN.factors)
    rows = {"gene": [gene, f" {gene}", gene], "line": [line, line, "new"]}
    assert cj.predict(trees["screen"], rows)["fitted"].values.tolist() == [True, False, False]
    found = cj.predict(trees["screen"], rows, summary=True)
    assert found["fitted"].to_list() == [True, False, False]


def test_effects_that_no_row_needs_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, _ = synthetic_tree({"gene": 50, "cell_line": 40}, replicates=1, chains=1, draws=10)
    rows = {"gene": ["gene 7", "gene 2"], "cell_line": ["cell_line 5"] * 2}
    whole = cj.predict(tree, rows, noise=False)
    seen = []
    monkeypatch.setattr(
        predict,
        "additive_responses",
        lambda rng, drawn, codes, noise: (
            seen.append(drawn["gene_effect"].shape) or additive_responses(rng, drawn, codes, noise)
        ),
    )
    np.testing.assert_array_equal(cj.predict(tree, rows, noise=False), whole)
    assert seen == [(1, 10, 2)]
    posterior = tree["posterior"].to_dataset().isel(chain=0)
    by_hand = posterior["intercept"] + posterior["gene_effect"].sel(gene="gene 2")
    by_hand = by_hand + posterior["cell_line_effect"].sel(cell_line="cell_line 5")
    np.testing.assert_allclose(whole[0, :, 1], by_hand, rtol=1e-12)


def test_the_design_matrix_has_no_population() -> None:
    tree, _ = synthetic_tree(parameterization="design_matrix")
    rows = {"gene": ["gene 0"], "cell_line": ["another"]}
    with pytest.raises(InputError, match="level 'another' of cell_line was not fitted, and the"):
        cj.predict(tree, rows)


def test_draws_that_do_not_fit_into_memory_are_refused(
    trees: dict[str, xr.DataTree], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "most_draws_in_memory", lambda number: 9)
    with pytest.raises(InputError, match="10 draws of 1 rows do not fit into memory"):
        cj.predict(trees["screen"], {"gene": ["a"], "line": ["b"]})
