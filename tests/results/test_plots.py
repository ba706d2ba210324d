from functools import partial

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from heavy_noise import with_heavy_noise
from matplotlib import pyplot as plt
from synthetic_tree import synthetic_tree

from crossed_jax.results import plots
from crossed_jax.results.original_coordinates import original_coordinates
from crossed_jax.results.output import write_tree

THREE = {"gene": 3, "line": 10, "batch": 4}


def lines(ax, label):
    return [line for line in ax.get_lines() if line.get_label() == label]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize("levels", [{"gene": 3, "cell_line": 10}, THREE])
def test_raw_data_has_a_panel_for_each_factor_and_a_marker_for_each_gene(levels):
    tree, _ = synthetic_tree(levels, replicates=2)
    figure = plots.raw_data(tree)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [f"by {f}" for f in levels]
    assert figure.axes[0].get_ylabel() == "logfc"
    assert tick_labels(figure.axes[0].xaxis) == ["gene 0", "gene 1", "gene 2"]
    y = tree["observed_data"]["logfc"].values
    for ax in figure.axes:
        drawn = np.concatenate([line.get_ydata() for line in ax.get_lines()])
        np.testing.assert_allclose(np.sort(drawn), np.sort(y))
        assert [line.get_marker() for line in ax.get_lines()] == ["o", "s", "^"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["gene 0", "gene 1", "gene 2"]


def test_raw_data_of_many_levels_are_sorted_means_and_ranges():
    tree, _ = synthetic_tree({"gene": 60, "cell_line": 50}, replicates=1, draws=8)
    figure = plots.raw_data(tree)
    ax = figure.axes[0]
    assert ax.get_xlabel() == "60 levels of gene, sorted by mean"
    (mean,) = lines(ax, "mean")
    raw_mean = tree["constant_data"]["gene_raw_mean"].values
    np.testing.assert_allclose(mean.get_ydata(), np.sort(raw_mean))
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "middle 90% of rows",
        "middle 50% of rows",
        "mean",
    ]


def test_raw_data_of_few_levels_with_many_rows_keep_their_labels():
    tree, _ = synthetic_tree({"gene": 3, "cell_line": 50}, replicates=5, draws=8)
    ax = plots.raw_data(tree).axes[0]
    assert tick_labels(ax.xaxis) == ["gene 0", "gene 1", "gene 2"]
    (mean,) = lines(ax, "mean")
    np.testing.assert_allclose(mean.get_ydata(), tree["constant_data"]["gene_raw_mean"])


def test_raw_data_whose_rows_were_not_kept_are_level_means():
    tree, _ = synthetic_tree(draws=8)
    tree["observed_data"] = xr.DataTree()
    constant = tree["constant_data"].to_dataset()
    tree["constant_data"] = xr.DataTree(constant.drop_vars(["gene_code", "cell_line_code"]))
    ax = plots.raw_data(tree).axes[1]
    (mean,) = lines(ax, "mean")
    np.testing.assert_allclose(mean.get_ydata(), constant["cell_line_raw_mean"])


@pytest.mark.parametrize("levels", [{"gene": 3, "cell_line": 10}, THREE])
def test_effects_show_means_and_truth_by_level(levels):
    tree, truth = synthetic_tree(levels)
    figure = plots.effects(tree, truth)
    assert len(figure.axes) == len(levels)
    for ax, factor in zip(figure.axes, levels, strict=True):
        assert ax.get_title(loc="left") == factor
        assert tick_labels(ax.yaxis) == [f"{factor} {i}" for i in range(levels[factor])]
        (mean,), (cross,) = lines(ax, "posterior mean"), lines(ax, "truth")
        expected = tree["posterior"][f"{factor}_effect"].mean(("chain", "draw"))
        np.testing.assert_allclose(mean.get_xdata(), expected)
        np.testing.assert_array_equal(cross.get_xdata(), truth[f"{factor}_effect"])
        assert ax.get_xlabel() == "deviation from the intercept (logfc)"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["95% interval", "posterior mean", "truth"]
    assert not lines(plots.effects(tree).axes[0], "truth")


def test_effects_of_many_levels_are_sorted_and_their_extremes_named():
    tree, truth = synthetic_tree({"gene": 60, "cell_line": 5}, replicates=1, draws=20)
    ax = plots.effects(tree, truth).axes[0]
    assert ax.get_ylabel() == "60 levels, sorted by posterior mean"
    means = tree["posterior"]["gene_effect"].mean(("chain", "draw"))
    order = means["gene"].values[np.argsort(means.values)]
    ends = [*order[:7], *order[-7:]]
    assert tick_labels(ax.yaxis) == [*ends, "46 others"]
    (mean,), (cross,) = lines(ax, "posterior mean"), lines(ax, "truth")
    np.testing.assert_allclose(mean.get_xdata(), means.sel(gene=ends))
    np.testing.assert_allclose(cross.get_xdata(), mean.get_xdata(), atol=0.05)
    drawn = np.concatenate([line.get_xydata() for line in ax.get_lines()[:-1]])
    places, counts = np.unique(drawn[:, 1], return_counts=True)
    assert len(places) == 60
    assert set(counts) == {2}  # a mean and a truth each


@pytest.mark.parametrize(("ratio", "shared"), [(5, True), (50, False)])
def test_effects_of_other_scales_have_axes_of_their_own(ratio, shared):
    tree, _ = synthetic_tree(draws=20)
    posterior = tree["posterior"].to_dataset()
    posterior["gene_effect"] = posterior["gene_effect"] * ratio
    tree["posterior"] = xr.DataTree(posterior)
    first, second = plots.effects(tree).axes
    assert (first.get_xlim() == second.get_xlim()) is shared


def test_a_fit_that_kept_no_draws_of_effects_is_drawn_from_their_moments(tmp_path):
    levels = {"gene": 60, "cell_line": 5}
    kinds = {"replicates": 1, "draws": 20, "parameterization": "collapsed"}
    tree, truth = synthetic_tree(levels, keep_effects="summary", **kinds)
    ax = plots.effects(tree, truth).axes[1]
    (mean,) = lines(ax, "posterior mean")
    np.testing.assert_array_equal(mean.get_xdata(), truth["cell_line_effect"])
    assert tick_labels(ax.yaxis) == [f"cell_line {i}" for i in range(5)]
    assert plots.save_figures(tree, tmp_path, truth) == {}
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("keep_effects", ["draws", "summary"])
def test_a_fit_of_a_million_rows_is_drawn_after_it_was_read_back(tmp_path, keep_effects):
    kinds = {"draws": 20, "parameterization": "collapsed", "keep_effects": keep_effects}
    tree, _ = synthetic_tree({"gene": 60, "cell_line": 5}, replicates=1, **kinds)
    constant = tree["constant_data"].to_dataset()
    rowless = constant.drop_vars(["gene_code", "cell_line_code", "row"])
    tree["constant_data"] = xr.DataTree(rowless)
    tree["observed_data"] = xr.DataTree()
    write_tree(tree, tmp_path / "posterior.nc")
    with xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as read:
        assert plots.save_figures(read, tmp_path / "figures") == {}
        names = {path.stem for path in (tmp_path / "figures").iterdir()}
        kept = {"ridge"} if keep_effects == "draws" else set()
        assert names == {"raw_data", "effects", "hyperparameters"} | kept
        (mean,) = lines(plots.raw_data(read).axes[0], "mean")
        np.testing.assert_allclose(mean.get_ydata(), np.sort(constant["gene_raw_mean"]))


def test_hyperparameters_have_a_density_each_and_the_truth():
    tree, truth = synthetic_tree()
    figure = plots.hyperparameters(tree, truth)
    titles = ["intercept", "SD of gene effects", "SD of cell_line effects", "residual SD"]
    assert [ax.get_title() for ax in figure.axes] == titles
    for ax, name in zip(
        figure.axes, ["intercept", "gene_sd", "cell_line_sd", "sigma"], strict=True
    ):
        (line,) = lines(ax, "truth")
        assert list(line.get_xdata()) == [truth[name]] * 2
        draws = tree["posterior"][name].values
        density, mean, _ = ax.get_lines()
        assert np.trapezoid(density.get_ydata(), density.get_xdata()) == pytest.approx(1, abs=0.02)
        assert mean.get_xdata() == pytest.approx(draws.mean())
        (interval,) = ax.collections
        ends = interval.get_segments()[0][:, 0]
        np.testing.assert_allclose(ends, np.quantile(draws, [0.025, 0.975]))
    assert plt.get_fignums() == []


def test_hyperparameters_of_a_design_matrix_are_the_intercept_and_the_residual():
    tree, _ = synthetic_tree(parameterization="design_matrix")
    figure = plots.hyperparameters(tree)
    assert [ax.get_title() for ax in figure.axes] == ["intercept", "residual SD"]


def test_hyperparameters_have_a_panel_for_each_quantity_of_the_noise(monkeypatch):
    tree, _ = synthetic_tree()
    nu = np.random.default_rng(0).gamma(2, 10, size=(4, 250))
    figure = plots.hyperparameters(with_heavy_noise(tree, nu))
    panels = {ax.get_title(): ax.get_xlabel() for ax in figure.axes[-2:]}
    assert panels == {"residual scale": "logfc", "degrees of freedom": ""}


def test_predictions_are_drawn_against_each_observation():
    tree, _ = synthetic_tree(predictive=True)
    figure = plots.posterior_predictive(tree)
    (ax,) = figure.axes
    drawn = np.concatenate([line.get_xdata() for line in ax.get_lines()[:-1]])
    observed = tree["observed_data"]["logfc"].values
    np.testing.assert_allclose(np.sort(drawn), np.sort(observed))
    assert ax.get_title().startswith("90 rows\n")
    (identity,) = lines(ax, "prediction = observation")
    np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())


def test_many_predictions_are_drawn_in_bins():
    tree, _ = synthetic_tree({"gene": 30, "line": 20}, replicates=5, draws=5, predictive=True)
    (ax,) = plots.posterior_predictive(tree, drawn_from=9_000).axes
    assert ax.get_title().startswith("3,000 rows drawn at random from 9,000\n")
    (observed,) = lines(ax, "observed: mean")
    assert len(observed.get_xdata()) == 40
    assert observed.get_ydata().mean() == pytest.approx(
        tree["observed_data"]["logfc"].mean().item()
    )
    np.testing.assert_allclose(observed.get_ydata(), observed.get_xdata(), atol=0.05)
    assert plots.posterior_predictive(tree).axes[0].get_title().startswith("3,000 rows\n")


def test_whole_numbers_are_spread():
    tree, _ = synthetic_tree(predictive=True)
    rounded = (2 * tree["observed_data"].to_dataset()).round()
    tree["observed_data"] = xr.DataTree(rounded)
    counts = rounded["logfc"].values
    ax = plots.raw_data(tree).axes[0]
    assert ax.get_ylabel() == "logfc (whole numbers, spread)"
    drawn = np.concatenate([line.get_ydata() for line in ax.get_lines()])
    assert len(np.unique(drawn)) == len(counts)
    np.testing.assert_array_equal(np.sort(drawn.round()), np.sort(counts))
    (ax,) = plots.posterior_predictive(tree).axes
    assert ax.get_xlabel() == "observed logfc (whole numbers, spread)"


def test_predictions_of_other_rows_or_none_are_refused():
    tree, _ = synthetic_tree()
    with pytest.raises(ValueError, match="no posterior predictive draws"):
        plots.posterior_predictive(tree)
    tree, _ = synthetic_tree(predictive=True)
    predicted = tree["posterior_predictive"].to_dataset()
    tree["posterior_predictive"] = xr.DataTree(predicted.isel(row=slice(10)))
    with pytest.raises(ValueError, match="10 rows, not of the 90"):
        plots.posterior_predictive(tree)


@pytest.mark.parametrize("levels", [{"gene": 3, "cell_line": 10}, THREE])
def test_the_ridge_is_a_line_before_and_a_cloud_after(levels):
    original, _ = synthetic_tree(levels, parameterization="original")
    figure = plots.ridge(original, original_coordinates(synthetic_tree(levels)[0]))
    clouds = figure.axes[:3]

    def correlation(ax):
        (cloud,) = ax.get_lines()
        return np.corrcoef(cloud.get_xdata(), cloud.get_ydata())[0, 1]

    assert correlation(clouds[0]) < -0.999
    assert abs(correlation(clouds[1])) < 0.1
    assert correlation(clouds[2]) < -0.999
    assert clouds[0].get_xlim() == clouds[2].get_xlim()
    assert clouds[0].get_xlabel() == "mean gene intercept (logfc)"
    assert "mean gene" not in clouds[1].get_xlabel()
    notes = [ax.texts[0].get_text() for ax in clouds]
    assert all("of 1,000 draws" in note for note in notes)
    assert "7 leapfrog steps a draw" in notes[0]
    assert len(figure.axes[3].get_lines()[0].get_xdata()) == 250


def test_the_ridge_without_recovered_coordinates_has_two_panels():
    original, _ = synthetic_tree(parameterization="original")
    assert len(plots.ridge(original, synthetic_tree()[0]).axes) == 4


def test_figures_are_written_and_pyplot_is_left_alone(tmp_path):
    backend = mpl.get_backend()
    tree, truth = synthetic_tree(predictive=True)
    folder = tmp_path / "deep" / "figures"
    assert plots.save_figures(tree, folder, truth) == {}
    names = ["raw_data", "effects", "hyperparameters", "posterior_predictive", "ridge"]
    assert {path.name for path in folder.iterdir()} == {f"{name}.png" for name in names}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())
    assert plt.get_fignums() == []
    assert mpl.get_backend() == backend


def test_figures_do_not_depend_on_the_users_style(tmp_path):
    tree, truth = synthetic_tree(predictive=True)
    plots.save_figures(tree, tmp_path / "plain", truth)
    theirs = {
        "text.usetex": True,
        "text.latex.preamble": r"\nonsense",
        "font.family": "No Such Font",
        "axes.facecolor": "black",
        "savefig.format": "svg",
        "savefig.bbox": "tight",
        "path.sketch": (5, 50, 9),
    }
    with mpl.rc_context(theirs):
        assert plots.save_figures(tree, tmp_path / "styled", truth) == {}
        assert mpl.rcParams["text.usetex"]
    for path in (tmp_path / "plain").iterdir():
        assert (tmp_path / "styled" / path.name).read_bytes() == path.read_bytes()


def test_a_figure_that_fails_leaves_the_others_and_no_half_of_itself(tmp_path, monkeypatch):
    def fail(self, path, **_):
        path.write_text("half")
        raise ZeroDivisionError

    broken = mpl.figure.Figure()
    broken.savefig = partial(fail, broken)
    figures = {"first": mpl.figure.Figure, "second": lambda: broken, "third": mpl.figure.Figure}
    failures = plots.save(figures, tmp_path)
    assert list(failures) == ["second"]
    assert isinstance(failures["second"], ZeroDivisionError)
    assert {path.name for path in tmp_path.iterdir()} == {"first.png", "third.png"}


def test_hostile_labels_are_printed_as_they_are(tmp_path):
    labels = {"gene": ["$x^{$", "_a\nb", "日本語" + "very long " * 9]}
    tree, truth = synthetic_tree(labels=labels, response="$\\frac$", predictive=True)
    assert plots.save_figures(tree, tmp_path, truth) == {}
    ax = plots.effects(tree).axes[0]
    assert tick_labels(ax.yaxis) == [r"\$x^{\$", "_a b", "日本語very long very l…"]
    legend = plots.raw_data(tree).legends[0]
    assert [text.get_text() for text in legend.get_texts()][1] == "_a b"
