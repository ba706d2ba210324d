import numpy as np
import polars as pl
import pytest
import xarray as xr
from heavy_noise import with_heavy_noise
from scipy.stats import norm
from synthetic_tree import synthetic_tree

from crossed_jax.errors import InputError
from crossed_jax.results.contrasts import contrast
from crossed_jax.results.convergence import convergence
from crossed_jax.results.summaries import effect_moments, effects
from crossed_jax.results.variance_components import variance_components

EFFECT_COLUMNS = [
    *("factor", "level", "n", "raw_mean", "mean", "sd", "lower", "upper"),
    *("p_negative", "level_mean", "ess_bulk", "r_hat"),
]
COMPONENT_COLUMNS = [
    *("component", "sd_mean", "sd_sd", "lower", "upper"),
    *("share_of_variance", "share_lower", "share_upper"),
]


def test_effects_have_a_row_for_each_level_in_order():
    tree, truth = synthetic_tree()
    table = effects(tree)
    assert table.columns == EFFECT_COLUMNS
    assert table["factor"].to_list() == ["gene"] * 3 + ["cell_line"] * 10
    assert table["level"].to_list()[:4] == ["gene 0", "gene 1", "gene 2", "cell_line 0"]
    assert table["n"].to_list() == [30] * 3 + [9] * 10
    true = np.concatenate([truth["gene_effect"], truth["cell_line_effect"]])
    np.testing.assert_allclose(table["mean"], true, atol=0.005)
    assert (table["r_hat"] < 1.02).all()
    assert (table["ess_bulk"] > 500).all()


def test_effects_are_moments_and_equal_tailed_quantiles_of_all_draws():
    tree, _ = synthetic_tree(draws=60)
    draws = tree["posterior"]["gene_effect"].values.reshape(-1, 3)
    table = effects(tree).filter(pl.col("factor") == "gene")
    np.testing.assert_allclose(table["mean"], draws.mean(0))
    np.testing.assert_allclose(table["sd"], draws.std(0, ddof=1))
    np.testing.assert_allclose(table["lower"], np.quantile(draws, 0.025, axis=0))
    np.testing.assert_allclose(table["upper"], np.quantile(draws, 0.975, axis=0))
    np.testing.assert_allclose(table["p_negative"], (draws < 0.0).mean(0))
    level_mean = draws.mean(0) + tree["posterior"]["intercept"].values.mean()
    np.testing.assert_allclose(table["level_mean"], level_mean)
    half = effects(tree, interval=0.5).filter(pl.col("factor") == "gene")
    np.testing.assert_allclose(half["upper"], np.quantile(draws, 0.75, axis=0))


def test_exact_moments_are_tabulated_and_intervals_are_of_the_draws():
    tree, truth = synthetic_tree(draws=60, parameterization="collapsed")
    draws = tree["posterior"]["gene_effect"].values.reshape(-1, 3)
    table = effects(tree).filter(pl.col("factor") == "gene")
    np.testing.assert_array_equal(table["mean"], truth["gene_effect"])
    np.testing.assert_array_equal(table["sd"], tree["effect_moments"]["gene_effect_sd"])
    np.testing.assert_allclose(table["upper"], np.quantile(draws, 0.975, axis=0))
    assert table["ess_bulk"].null_count() == 0


@pytest.mark.parametrize("interval", [0.5, 0.77, 0.95])
def test_without_draws_of_effects_intervals_are_between_the_quantiles_kept(interval):
    kinds = {"draws": 2_000, "parameterization": "collapsed"}
    drawn = effects(synthetic_tree(**kinds)[0], interval)
    table = effects(synthetic_tree(keep_effects="summary", **kinds)[0], interval)
    assert table.columns == EFFECT_COLUMNS
    assert table.schema == drawn.schema
    same = ["factor", "level", "n", "raw_mean", "mean", "sd"]
    assert table.select(same).equals(drawn.select(same))
    reach = norm.ppf((1 + interval) / 2) * table["sd"]
    np.testing.assert_allclose(table["upper"], table["mean"] + reach)
    np.testing.assert_allclose(table["lower"], table["mean"] - reach)
    # the synthetic effects are Normal indeed
    for end in ("lower", "upper"):
        off = (table[end] - drawn[end]) / table["sd"]
        assert off.abs().max() < 0.1
    assert table["ess_bulk"].null_count() == table["r_hat"].null_count() == 13
    below = norm.cdf(-(table["mean"] / table["sd"]).to_numpy())
    np.testing.assert_allclose(table["p_negative"], below, rtol=1e-6, atol=1e-12)


def test_thousands_of_levels_are_summarized_in_blocks():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2, 50, 3_001))
    draws[0, 3, 7] = np.nan
    tree, _ = synthetic_tree({"gene": 3_001, "line": 2}, chains=2, draws=50, replicates=1)
    posterior = tree["posterior"].to_dataset()
    posterior["gene_effect"] = (("chain", "draw", "gene"), draws)
    tree["posterior"] = xr.DataTree(posterior)
    table = effect_moments(tree, "gene", 0.8)
    flat = draws.reshape(100, -1)
    np.testing.assert_allclose(table["lower"], np.quantile(flat, 0.1, axis=0), rtol=1e-12)
    np.testing.assert_allclose(table["upper"], np.quantile(flat, 0.9, axis=0), rtol=1e-12)
    np.testing.assert_allclose(table["mean"], flat.mean(0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(table["sd"], flat.std(0, ddof=1), rtol=1e-10)


def test_effects_sum_to_zero_within_a_factor():
    table = effects(synthetic_tree({"a": 4, "b": 5, "c": 2})[0])
    sums = table.group_by("factor").agg(pl.col("mean").sum())
    np.testing.assert_allclose(sums["mean"], 0, atol=1e-12)


def test_effects_take_statistics_computed_before(monkeypatch):
    tree, _ = synthetic_tree()
    expected, statistics = effects(tree), convergence(tree)
    monkeypatch.setattr("crossed_jax.results.summaries.convergence", None)
    assert effects(tree, statistics=statistics).equals(expected)


@pytest.mark.parametrize(
    ("levels", "draws"), [({"gene": 1, "cell_line": 5}, 100), ({"gene": 2, "cell_line": 5}, 2)]
)
def test_what_cannot_be_computed_is_null(levels, draws):
    table = effects(synthetic_tree(levels, draws=draws)[0])
    assert table["r_hat"][0] is None
    assert table["ess_bulk"][0] is None
    assert not table["r_hat"].is_nan().any()


def test_variance_components_are_those_drawn():
    tree, _ = synthetic_tree(draws=1000)
    table = variance_components(tree)
    assert table.columns == COMPONENT_COLUMNS
    assert table["component"].to_list() == ["gene", "cell_line", "sigma"]
    np.testing.assert_allclose(table["sd_mean"], [0.51, 0.51, 0.05], rtol=0.02)
    assert table["share_of_variance"].sum() == pytest.approx(1)
    posterior = tree["posterior"].to_dataset()
    total = posterior["gene_sd"] ** 2 + posterior["cell_line_sd"] ** 2 + posterior["sigma"] ** 2
    share = posterior["gene_sd"] ** 2 / total
    assert table["share_of_variance"][0] == pytest.approx(float(share.mean()))
    ends = [float(share.quantile(probability)) for probability in (0.025, 0.975)]
    assert [table["share_lower"][0], table["share_upper"][0]] == pytest.approx(ends)
    assert table["lower"][2] == pytest.approx(float(posterior["sigma"].quantile(0.025)))


def test_design_matrix_has_a_residual_and_no_shares():
    table = variance_components(synthetic_tree(parameterization="design_matrix")[0])
    assert table["component"].to_list() == ["sigma"]
    for name in COMPONENT_COLUMNS[-3:]:
        assert table[name].to_list() == [None]
        assert table.schema[name] == pl.Float64


def test_shares_are_of_the_variance_of_the_noise_which_may_be_infinite(monkeypatch):
    tree = with_heavy_noise(synthetic_tree()[0], 2.5)
    table = variance_components(tree)
    assert table["component"].to_list() == ["gene", "cell_line", "sigma"]
    posterior = tree["posterior"].to_dataset()
    noise = posterior["sigma"] ** 2 * 5
    total = posterior["gene_sd"] ** 2 + posterior["cell_line_sd"] ** 2 + noise
    assert table["share_of_variance"][2] == pytest.approx(float((noise / total).mean()))
    assert table["sd_mean"][2] == pytest.approx(float(posterior["sigma"].mean()))
    once = np.where(np.arange(250) == 7, 2.0, 2.5)
    table = variance_components(with_heavy_noise(tree, once))
    share = (noise / total).where(posterior["draw"] != 7, 1.0)
    assert table["share_of_variance"][2] == pytest.approx(float(share.mean()))
    assert table["share_of_variance"].sum() == pytest.approx(1.0)


@pytest.mark.parametrize("summarize", [effects, variance_components])
@pytest.mark.parametrize("keep_effects", ["draws", "summary"])
@pytest.mark.parametrize("interval", [0.0, 1.0, 95])
def test_an_interval_that_is_no_probability_is_refused(summarize, keep_effects, interval):
    kinds = {"parameterization": "collapsed", "keep_effects": keep_effects}
    with pytest.raises(ValueError, match="between 0 and 1"):
        summarize(synthetic_tree(draws=8, **kinds)[0], interval=interval)


def test_contrasts_are_of_the_differences_of_draws():
    tree, _ = synthetic_tree(draws=60)
    draws = tree["posterior"]["gene_effect"].values
    difference = (draws[..., 0] - draws[..., 2]).ravel()
    (row,) = contrast(tree, "gene", "gene 0", "gene 2", interval=0.9).to_dicts()
    assert [row[name] for name in ("factor", "first", "second")] == ["gene", "gene 0", "gene 2"]
    assert row["mean"] == pytest.approx(difference.mean())
    assert row["sd"] == pytest.approx(difference.std(ddof=1))
    assert row["upper"] == pytest.approx(np.quantile(difference, 0.95))
    assert row["p_negative"] == (difference < 0.0).mean()
    assert row["ess_bulk"] > 50
    for arguments, message in (
        (("plate", "a", "b"), "no effects of 'plate': name gene or cell_line"),
        (("gene", "gene 0", "gene 9"), "no level 'gene 9' of gene"),
        (("gene", "gene 0", "gene 0"), "'gene 0' is given twice"),
    ):
        with pytest.raises(InputError, match=message):
            contrast(tree, *arguments)
