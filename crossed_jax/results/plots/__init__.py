"""Figures of a fit, for a reader: the table, the effects, the SDs, the predictions, and the ridge.

Of a fit with interactions also their volcano, the strongest of them, and a waterfall of one gene.

Every function takes fitted DataTrees and gives a ``matplotlib.figure.Figure``; nothing touches
pyplot or the backend. A factor with many levels is drawn sorted, its extremes by name.
"""

from crossed_jax.results.plots.gene_lines import waterfall
from crossed_jax.results.plots.heatmap import interactions
from crossed_jax.results.plots.level_effects import effects
from crossed_jax.results.plots.parameters import hyperparameters
from crossed_jax.results.plots.predictions import posterior_predictive
from crossed_jax.results.plots.response import raw_data
from crossed_jax.results.plots.ridge_line import ridge_line
from crossed_jax.results.plots.ridge_walk import ridge
from crossed_jax.results.plots.slopes_and_noise import slopes_and_noise
from crossed_jax.results.plots.volcano import volcano
from crossed_jax.results.plots.writing import save, save_figures

__all__ = [
    "effects",
    "hyperparameters",
    "interactions",
    "posterior_predictive",
    "raw_data",
    "ridge",
    "ridge_line",
    "save",
    "save_figures",
    "slopes_and_noise",
    "volcano",
    "waterfall",
]
