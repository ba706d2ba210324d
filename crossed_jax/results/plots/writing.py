"""Figures as PNG files, in matplotlib's own style, whatever the user's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style
from matplotlib.figure import Figure

from crossed_jax.models.model import parts_of
from crossed_jax.results.plots.gene_lines import waterfall
from crossed_jax.results.plots.heatmap import interactions
from crossed_jax.results.plots.level_effects import effects
from crossed_jax.results.plots.parameters import hyperparameters
from crossed_jax.results.plots.predictions import posterior_predictive
from crossed_jax.results.plots.response import raw_data
from crossed_jax.results.plots.ridge_line import ridge_line
from crossed_jax.results.plots.slopes_and_noise import slopes_and_noise
from crossed_jax.results.plots.volcano import volcano
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr


DPI = 110
FAST = {"compress_level": 1}  # zlib's best takes as long as the drawing, for a tenth of the size


def save_figures(
    tree: xr.DataTree,
    directory: str | Path,
    truth: Mapping[str, Any] | None = None,
    predicted: xr.DataTree | None = None,
) -> dict[str, Exception]:
    """Write the figures of one fit as PNG files.

    Parameters
    ----------
    tree
        A fit. The predictions are drawn if it has posterior predictive draws, and kept its rows.
    directory
        Made if it is not there.
    truth
        Passed to `effects` and `hyperparameters`.
    predicted
        The fit with posterior predictive draws of some of its rows, if it has none itself.

    Returns
    -------
    dict of Exception
        For each figure that could not be drawn, why.
    """
    return save(figures_of(tree, truth, predicted), directory)


def figures_of(
    tree: xr.DataTree,
    truth: Mapping[str, Any] | None = None,
    predicted: xr.DataTree | None = None,
) -> dict[str, Callable[[], Figure]]:
    """Give the figures that a fit has, by name, as functions that draw them; see `save_figures`."""
    figures: dict[str, Callable[[], Figure]] = {
        "raw_data": partial(raw_data, tree),
        "effects": partial(effects, tree, truth),
        "hyperparameters": partial(hyperparameters, tree, truth),
    }
    names = factor_names(tree)
    parts = parts_of(tree.attrs, names)
    if parts is not None and (parts.slopes or parts.line_noise or parts.gene_noise):
        figures["slopes_and_noise"] = partial(slopes_and_noise, tree)
    if "interactions" in tree.children:
        figures |= {
            "volcano": partial(volcano, tree),
            "interactions": partial(interactions, tree),
            "waterfall": partial(waterfall, tree),
        }
    predicted = tree if predicted is None else predicted
    rows_kept = predicted.attrs["response"] in predicted["observed_data"].to_dataset()
    if rows_kept and "posterior_predictive" in predicted.children:
        drawn_from = None if predicted is tree else int(tree.attrs["num_rows"])
        figures["posterior_predictive"] = partial(posterior_predictive, predicted, drawn_from)
    keeps_effects = of_factor(names[0], "effect") in tree["posterior"].data_vars
    if keeps_effects and tree.attrs["parameterization"] != "design_matrix":
        figures["ridge"] = partial(ridge_line, tree)
    return figures


def save(
    figures: Mapping[str, Callable[[], Figure]], directory: str | Path
) -> dict[str, Exception]:
    """Draw figures and write each as a PNG file of its name.

    Returns
    -------
    dict of Exception
        For each figure that could not be drawn, why.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    failures: dict[str, Exception] = {}
    with matplotlib.style.context(["default", {"figure.dpi": DPI}]), warnings.catch_warnings():
        # A label in a script that the font lacks is drawn as boxes: no reason to alarm anyone.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        for name, draw in figures.items():
            path = directory / f"{name}.png"
            try:
                figure = draw()
                _lay_out(figure)
                figure.savefig(path, dpi=DPI, pil_kwargs=FAST)
            except Exception as error:  # whatever it is, a figure is not worth the fit
                path.unlink(missing_ok=True)
                failures[name] = error
    return failures


def _lay_out(figure: Figure) -> None:
    """Lay a figure out now, once: writing one that has a layout engine draws it twice."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
