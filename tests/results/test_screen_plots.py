"""Figures of the interactions of a screen: what they draw is what is tabulated."""

import numpy as np
import pytest

import crossed_jax as cj
from crossed_jax.results import plots


@pytest.fixture(scope="module")
def cells(screen_fit):
    return cj.interactions(screen_fit)


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_the_volcano_has_every_cell_and_names_the_surest(screen_fit, cells):
    figure = plots.volcano(screen_fit)
    (ax,) = figure.axes
    drawn = np.concatenate([line.get_xydata() for line in ax.get_lines()[:3]])
    expected = np.stack([cells["mean"], -np.log10(np.maximum(cells["lfsr"], 1e-12))], -1)
    np.testing.assert_allclose(np.sort(drawn, 0), np.sort(expected, 0))
    surest = cells.row(cells["lfsr"].arg_min(), named=True)
    if surest["s_value"] < 0.05:
        assert f"{surest['gene']} / {surest['line']}" in [text.get_text() for text in ax.texts]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sum(int(label.split("(")[1].rstrip(")")) for label in labels) == cells.height


def test_the_matrix_has_the_genes_of_the_surest_cells_and_marks_hits(screen_fit, cells):
    ax = plots.interactions(screen_fit).axes[0]
    matrix = ax.get_images()[0].get_array()
    genes, lines = tick_labels(ax.yaxis), tick_labels(ax.xaxis)
    assert matrix.shape == (len(genes), len(lines)) == (30, 6)
    for row in cells.iter_rows(named=True):
        assert matrix[genes.index(row["gene"]), lines.index(row["line"])] == row["mean"]
    assert np.ma.masked_invalid(matrix).mask.sum() == 30 * 6 - cells.height
    (dots,) = ax.get_lines()
    assert len(dots.get_xdata()) == (cells["s_value"] < 0.05).sum()


@pytest.mark.parametrize("named", [True, False])
def test_a_waterfall_is_of_one_gene(screen_fit, cells, named):
    gene = cells["gene"][7] if named else cells["gene"][cells["lfsr"].arg_min()]
    own = cells.filter(gene=gene).sort("mean")
    figure = plots.waterfall(screen_fit, gene if named else None)
    (ax,) = figure.axes
    assert [bar.get_height() for bar in ax.patches] == own["mean"].to_list()
    assert tick_labels(ax.xaxis) == own["line"].to_list()
    assert gene in figure.get_suptitle()


def test_a_waterfall_of_no_gene_of_the_fit_is_refused(screen_fit):
    with pytest.raises(cj.InputError, match="no interactions of gene 'TP53'"):
        plots.waterfall(screen_fit, "TP53")


def test_a_screen_has_all_figures(screen_fit, tmp_path):
    assert plots.save_figures(screen_fit, tmp_path) == {}
    own = {"slopes_and_noise", "volcano", "interactions", "waterfall"}
    every = {"raw_data", "effects", "hyperparameters", "ridge"} | own
    assert {path.stem for path in tmp_path.iterdir()} == every
