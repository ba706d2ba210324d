"""Figures of a fit, for a reader: the table, the effects, the SDs, the predictions, and the ridge.

Every function takes fitted DataTrees and gives a ``matplotlib.figure.Figure``; nothing touches
pyplot or the backend. A factor with many levels is drawn sorted and without a label for each.
"""

from crossed_jax.results.plots.level_effects import effects
from crossed_jax.results.plots.parameters import hyperparameters
from crossed_jax.results.plots.predictions import posterior_predictive
from crossed_jax.results.plots.response import raw_data
from crossed_jax.results.plots.ridge_walk import ridge
from crossed_jax.results.plots.slopes_and_noise import slopes_and_noise
from crossed_jax.results.plots.writing import save, save_figures

__all__ = [
    "effects",
    "hyperparameters",
    "posterior_predictive",
    "raw_data",
    "ridge",
    "save",
    "save_figures",
    "slopes_and_noise",
]
