r"""What two further parts would add to the model with guides: heavier tails, and noise by guide.

Neither is fitted. Both are looked at given draws of a fit without them. Given a draw of all else, a
cell's rows measure its interaction as :math:`r \pm L^{-1/2}`, and its prior is Normal(0, sqrt(P)).

- *Student-t interactions*: P is divided by :math:`\lambda \sim \mathrm{Gamma}(\nu/2, \nu/2)`,
  which Gauss-Laguerre quadrature integrates out, and multiplied by a factor, which the rows of all
  cells choose for each :math:`\nu`.
- *Noise by guide*: what the other guides of a gene leave of a guide's squares, in variances that
  the model gives them, shrunk to one by moments of their logarithms, multiplies the variance of its
  rows.

Both are held to values of samples that the fit has not seen (`guide_prediction`), and the first
also to another library (`guide_calls`).
"""

import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl
import xarray as xr
from scipy.special import logsumexp, ndtr, roots_genlaguerre

import crossed_jax as cj
from benchmarks.screen.cross_library import CELL, additive_residuals, compare, guide_z, guides
from benchmarks.screen.guide_calls import SETTINGS as LONG
from benchmarks.screen.guide_calls import scores, signs
from benchmarks.screen.guide_prediction import ALL, DRAWS, FACTORS, SETTINGS
from benchmarks.screen.held_out import split_samples
from benchmarks.screen.screens import RESPONSE, guide_library, library, with_guides
from crossed_jax.models.model import parts_of
from crossed_jax.models.screen.responses import (
    CellRows,
    Drawn,
    Given,
    interactions_given,
    shared_by_rows,
)
from crossed_jax.results.screen_predictions import RowCodes, cells_of_rows, draws_by_name, seen_in
from crossed_jax.results.tree import thinned

FREEDOMS = (3.0, 4.0, 6.0, 10.0)
FACTORS_OF_VARIANCE = np.arange(0.2, 1.25, 0.1)
NODES = 24
FEW = 10  # draws that choose the factor
LEAST = 1e-12


class Fit(NamedTuple):
    """Draws of a fit, and the cells of some rows."""

    draws: list[Drawn]
    cells: CellRows


class Measured(NamedTuple):
    """Interactions of cells given a draw: what rows say, with which precision; and the prior's
    variance.
    """

    given: Given
    value: np.ndarray
    precision: np.ndarray
    prior: np.ndarray


class Tails(NamedTuple):
    """Nodes of the prior's factor, and logarithms of their weights."""

    precision: np.ndarray
    log_weight: np.ndarray


NORMAL = Tails(np.ones(1), np.zeros(1))


def guide_extensions() -> dict[str, Any]:
    """Measure both on Avana."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    train, held = split_samples(guide_library("Avana").rename({"sequence_ID": "sample"}))
    model = cj.Model(**ALL, interaction=True, nested="sgrna")
    data = with_guides(train)
    tree = cj.fit(data, model=model, chain_method="parallel", **SETTINGS)
    seen, asked = (_fit(tree, data, rows, DRAWS) for rows in (train, held))
    tails = {freedom: _best(seen, freedom) for freedom in FREEDOMS}
    y, lines = held[RESPONSE].to_numpy(), held["cell_line"]
    without = _log_density(asked, y, NORMAL)

    def gain(log_density: np.ndarray) -> dict[str, float]:
        each = pl.DataFrame({"line": lines, "gain": log_density - without})
        by_line = each.group_by("line").agg(pl.col("gain").mean())["gain"]
        return {"gain": each["gain"].mean(), "standard_error": by_line.std() / len(by_line) ** 0.5}

    found: dict[str, Any] = {
        "values": len(held),
        "cells": len(seen.cells.gene),
        "log_density": float(without.mean()),
        "student_t": {
            str(freedom): best | gain(_log_density(asked, y, best_tails))
            for freedom, (best_tails, best) in tails.items()
        },
    }
    print(found, file=sys.stderr, flush=True)
    scale, sd = _noise_of_guides(seen)
    log_density = _log_density(asked, y, NORMAL, scale)
    found["noise_by_guide"] = {"sd_of_logarithm": sd} | gain(log_density)
    print(found["noise_by_guide"], file=sys.stderr, flush=True)
    return found | {"calls": _calls({freedom: each[0] for freedom, each in tails.items()})}


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
    posterior = thinned(tree["posterior"].to_dataset(), num_draws // LONG["num_chains"])
    drawn = {str(name): values.to_numpy() for name, values in posterior.items()}
    return Fit(list(draws_by_name(drawn, parts, FACTORS)), cells)


def _tails(freedom: float, factor: float) -> Tails:
    nodes, weights = roots_genlaguerre(NODES, freedom / 2.0 - 1.0)
    return Tails(2.0 * nodes / freedom / factor, np.log(weights / weights.sum()))


def _measured(drawn: Drawn, cells: CellRows) -> Measured:
    given = interactions_given(drawn, cells)
    prior = given.share * given.variance
    precision = np.maximum(given.sd**-2 - 1.0 / prior, LEAST)
    return Measured(given, given.mean / (given.sd**2 * precision), precision, prior)


def _log_normal(x: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return -0.5 * (x**2 / variance + np.log(2.0 * np.pi * variance))


def _log_weights(measured: Measured, tails: Tails) -> np.ndarray:
    """Of the nodes given a cell's rows, shape (nodes, cells); they sum to its likelihood."""
    prior = measured.prior / tails.precision[:, None]
    return tails.log_weight[:, None] + _log_normal(measured.value, prior + 1 / measured.precision)


def _best(fit: Fit, freedom: float) -> tuple[Tails, dict[str, float]]:
    """Choose the factor of the variance by the rows that were fitted."""
    some = [_measured(drawn, fit.cells) for drawn in fit.draws[:: len(fit.draws) // FEW]]

    def log_likelihood(tails: Tails) -> float:
        return float(np.mean([logsumexp(_log_weights(m, tails), 0).sum() for m in some]))

    normal = log_likelihood(NORMAL)
    gains = [log_likelihood(_tails(freedom, c)) - normal for c in FACTORS_OF_VARIANCE]
    factor = float(FACTORS_OF_VARIANCE[np.argmax(gains)])
    return _tails(freedom, factor), {"factor": factor, "log_likelihood_gain": max(gains)}


def _given_nodes(
    measured: Measured, tails: Tails
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Logarithm of the probability of each node, and the interactions' mean and variance there."""
    log_weights = _log_weights(measured, tails)
    log_weights -= logsumexp(log_weights, 0)
    for log_weight, inflated in zip(log_weights, tails.precision, strict=True):
        variance = 1.0 / (measured.precision + inflated / measured.prior)
        yield log_weight, variance * measured.precision * measured.value, variance


def _log_density(
    fit: Fit, y: np.ndarray, tails: Tails, scale: np.ndarray | None = None
) -> np.ndarray:
    """Log predictive density of each row; `scale` multiplies the noise SD of each guide's."""
    cells, of_draws = fit.cells, []
    for drawn in fit.draws:
        measured = _measured(drawn, cells)
        given, nested = measured.given, drawn.nested_share
        rest = ((1.0 - given.share) * given.variance)[cells.cell]
        if scale is not None:
            rest = rest * scale[cells.unit] ** 2
        of_nodes = []
        for log_weight, mean, variance in _given_nodes(measured, tails):
            gamma = mean[cells.cell]
            own, own_sd = shared_by_rows(nested, rest, given.number, given.residual - gamma)
            taken = given.number * nested / (given.number * nested + 1.0 - nested)
            spread = (1.0 - taken) ** 2 * variance[cells.cell] + own_sd**2 + (1.0 - nested) * rest
            location = given.expected + gamma + own
            of_rows = cells.of_rows
            log_density = _log_normal(y - location[of_rows], spread[of_rows])
            of_nodes.append(log_weight[cells.cell][of_rows] + log_density)
        of_draws.append(logsumexp(of_nodes, 0))
    return logsumexp(of_draws, 0) - np.log(len(of_draws))


def _noise_of_guides(fit: Fit) -> tuple[np.ndarray, float]:
    """Factors of the guides' noise SDs about their genes', and the SD of their logarithms."""
    cells = fit.cells
    gene = np.zeros(cells.unit.max() + 1, int)
    gene[cells.unit] = cells.gene[cells.cell]
    squares, number = np.zeros((2, len(gene)))
    some = fit.draws[:: len(fit.draws) // FEW]
    for drawn in some:
        given = interactions_given(drawn, cells)
        seen = given.number > 0
        rest = ((1.0 - given.share) * given.variance)[cells.cell]
        nested = drawn.nested_share
        variance = rest * (nested + (1.0 - nested) / np.maximum(given.number, 1.0))
        z = (given.residual - given.mean[cells.cell]) / np.sqrt(variance)
        squares += np.bincount(cells.unit[seen], z[seen] ** 2, len(gene))
        number += np.bincount(cells.unit[seen], minlength=len(gene))
    of_gene = np.bincount(gene)
    log_variance = np.log(squares / number)
    deviation = log_variance - (np.bincount(gene, log_variance) / of_gene)[gene]
    several = of_gene[gene] > 1
    total = (deviation**2 * of_gene[gene] / np.maximum(of_gene[gene] - 1, 1))[several].mean()
    chance = 2.0 * len(some) / number.mean()
    excess = max(total - chance, 0.0)
    return np.exp(0.5 * deviation * excess / total), 0.5 * float(np.sqrt(excess))


def _calls(tails: dict[float, Tails]) -> dict[str, Any]:
    """Hold calls with Normal and with Student-t interactions to KY."""
    table = guide_library("Avana")
    data = with_guides(table)
    tree, ky = (
        cj.fit(each, model="screen", chain_method="parallel", **LONG)
        for each in (data, with_guides(guide_library("KY")))
    )
    fit = _fit(tree, data, table, 4 * DRAWS)
    of_guides, own = guide_z(guides("KY")), scores(ky)
    residual = additive_residuals(library("KY")).rename({"score": "z"})
    found = {}
    for name, chosen in {"Normal": NORMAL, **{str(f): t for f, t in tails.items()}}.items():
        cells = _interactions(fit, data, chosen)
        found[name] = compare(cells, of_guides) | signs(cells, own, residual)
        print(name, found[name], file=sys.stderr, flush=True)
    return found


def _interactions(fit: Fit, data: cj.CrossedData, tails: Tails) -> pl.DataFrame:
    """Means over SDs and local false sign rates; columns gene, cell_line, score, lfsr."""
    mean, square, negative = np.zeros((3, len(fit.cells.gene)))
    for drawn in fit.draws:
        for log_weight, m, variance in _given_nodes(_measured(drawn, fit.cells), tails):
            weight = np.exp(log_weight) / len(fit.draws)
            mean += weight * m
            square += weight * (m**2 + variance)
            negative += weight * ndtr(-m / np.sqrt(variance))
    levels = (np.asarray(factor.levels) for factor in data.factors)
    codes = (fit.cells.gene, fit.cells.line)
    return pl.DataFrame(
        {name: each[code] for name, each, code in zip(CELL, levels, codes, strict=True)}
        | {
            "score": mean / np.sqrt(square - mean**2),
            "lfsr": np.minimum(negative, 1.0 - negative),
        }
    )
