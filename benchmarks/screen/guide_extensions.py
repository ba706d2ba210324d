"""What heavier tails of the interactions would add to the model with guides.

They are not fitted, but looked at given draws of a fit with Normal interactions, as
:mod:`crossed_jax.results.student_t_interactions` has them, and held to values of samples that the
fit has not seen (`guide_prediction`). `guide_calls` holds them to another library.
"""

import os
from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl
import xarray as xr
from scipy.special import logsumexp
from scipy.stats import norm

import crossed_jax as cj
from benchmarks.screen.guide_prediction import ALL, DRAWS, FACTORS, SETTINGS
from benchmarks.screen.held_out import split_samples
from benchmarks.screen.screens import RESPONSE, guide_library, with_guides
from crossed_jax.models.model import parts_of
from crossed_jax.models.screen.responses import (
    CellRows,
    Drawn,
    shared_by_rows,
)
from crossed_jax.results.screen_predictions import RowCodes, cells_of_rows, draws_by_name, seen_in
from crossed_jax.results.student_t_interactions import (
    NORMAL,
    Tails,
    best_tails,
    log_weights,
    measured,
    normals,
    tails,
)
from crossed_jax.results.tree import thinned

FREEDOMS = (3.0, 4.0, 6.0, 10.0)
FEW = 10  # draws that choose the factor


class Fit(NamedTuple):
    """Draws of a fit, and the cells of some rows."""

    draws: list[Drawn]
    cells: CellRows


def guide_extensions() -> dict[str, Any]:
    """Measure it on Avana."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    train, held = split_samples(guide_library("Avana").rename({"sequence_ID": "sample"}))
    model = cj.Model(**ALL, interaction=True, nested="sgrna")
    data = with_guides(train)
    tree = cj.fit(data, model=model, chain_method="parallel", **SETTINGS)
    seen, asked = (_fit(tree, data, rows, DRAWS) for rows in (train, held))
    best = {nu: _best(seen, nu) for nu in FREEDOMS}
    y, lines = held[RESPONSE].to_numpy(), held["cell_line"]
    without = _log_density(asked, y, NORMAL)

    def gain(log_density: np.ndarray) -> dict[str, float]:
        each = pl.DataFrame({"line": lines, "gain": log_density - without})
        by_line = each.group_by("line").agg(pl.col("gain").mean())["gain"]
        return {"gain": each["gain"].mean(), "standard_error": by_line.std() / len(by_line) ** 0.5}

    return {
        "values": len(held),
        "cells": len(seen.cells.gene),
        "log_density": float(without.mean()),
        "student_t": {
            str(nu): chosen | gain(_log_density(asked, y, of_prior))
            for nu, (of_prior, chosen) in best.items()
        },
    }


def _fit(tree: xr.DataTree, data: cj.CrossedData, rows: pl.DataFrame, num_draws: int) -> Fit:
    """Take draws, and find the cells of rows."""
    parts = parts_of(tree.attrs, FACTORS)
    assert parts is not None
    assert data.nested is not None
    codes = [
        rows[name]
        .replace_strict(
            {level: code for code, level in enumerate(factor.levels)}, return_dtype=pl.Int64
        )
        .to_numpy()
        for name, factor in zip(
            (*FACTORS, "sgrna"), (*data.factors, data.nested.units), strict=True
        )
    ]
    cells = cells_of_rows(RowCodes(*codes, None), parts, seen_in(tree, parts), FACTORS)
    posterior = thinned(tree["posterior"].to_dataset(), num_draws // SETTINGS["num_chains"])
    drawn = {str(name): values.to_numpy() for name, values in posterior.items()}
    return Fit(list(draws_by_name(drawn, parts, FACTORS)), cells)


def _best(fit: Fit, nu: float) -> tuple[Tails, dict[str, float]]:
    """Choose the factor of the variance by the rows that were fitted."""
    some = [measured(drawn, fit.cells) for drawn in fit.draws[:: len(fit.draws) // FEW]]

    def log_likelihood(of_prior: Tails) -> float:
        return float(np.mean([logsumexp(log_weights(each, of_prior), 0).sum() for each in some]))

    best = best_tails(nu, some)
    factor = float(tails(nu, 1.0).precision[0] / best.precision[0])
    gain = log_likelihood(best) - log_likelihood(NORMAL)
    return best, {"factor": factor, "log_likelihood_gain": gain}


def _log_density(fit: Fit, y: np.ndarray, of_prior: Tails) -> np.ndarray:
    """Log predictive density of each row."""
    cells, of_draws = fit.cells, []
    for drawn in fit.draws:
        of_cells = measured(drawn, cells)
        given, nested = of_cells.given, drawn.nested_share
        rest = given.rest
        of_nodes = []
        for probability, mean, variance in normals(of_cells, of_prior):
            gamma = mean[cells.cell]
            own, own_sd = shared_by_rows(nested, rest, given.number, given.residual - gamma)
            taken = given.number * nested / (given.number * nested + 1.0 - nested)
            spread = (1.0 - taken) ** 2 * variance[cells.cell] + own_sd**2 + (1.0 - nested) * rest
            location = given.expected + gamma + own
            of_rows = cells.of_rows
            log_density = norm.logpdf(y, location[of_rows], np.sqrt(spread[of_rows]))
            of_nodes.append(np.log(probability)[cells.cell][of_rows] + log_density)
        of_draws.append(logsumexp(of_nodes, 0))
    return logsumexp(of_draws, 0) - np.log(len(of_draws))
