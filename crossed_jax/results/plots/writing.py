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
from crossed_jax.results.plots.level_effects import effects
from crossed_jax.results.plots.parameters import hyperparameters
from crossed_jax.results.plots.predictions import posterior_predictive
from crossed_jax.results.plots.response import raw_data
from crossed_jax.results.plots.slopes_and_noise import slopes_and_noise
from crossed_jax.results.tree import factor_names

if TYPE_CHECKING:
    import xarray as xr


def save_figures(
    tree: xr.DataTree, directory: str | Path, truth: Mapping[str, Any] | None = None
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

    Returns
    -------
    dict of Exception
        For each figure that could not be drawn, why.
    """
    figures = {
        "raw_data": partial(raw_data, tree),
        "effects": partial(effects, tree, truth),
        "hyperparameters": partial(hyperparameters, tree, truth),
    }
    parts = parts_of(tree.attrs, factor_names(tree))
    if parts is not None and (parts.slopes or parts.line_noise or parts.gene_noise):
        figures["slopes_and_noise"] = partial(slopes_and_noise, tree)
    rows_kept = tree.attrs["response"] in tree["observed_data"].to_dataset()
    if rows_kept and "posterior_predictive" in tree.children:
        figures["posterior_predictive"] = partial(posterior_predictive, tree)
    return save(figures, directory)


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
    with matplotlib.style.context("default"), warnings.catch_warnings():
        # A label in a script that the font lacks is drawn as boxes: no reason to alarm anyone.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        for name, draw in figures.items():
            path = directory / f"{name}.png"
            try:
                draw().savefig(path, dpi=150)
            except Exception as error:  # whatever it is, a figure is not worth the fit
                path.unlink(missing_ok=True)
                failures[name] = error
    return failures
