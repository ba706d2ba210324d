r"""Interactions estimated from Avana, held to what another library of guides, KY, says of them.

The two libraries share genes and lines but no guides. What KY says of a cell is a moderated t of
its guides: of each guide's mean over samples, the residual about the lines' locations and slopes;
of a gene's guides, their mean over its standard error. From Avana cells are ranked, and called, by

- the residual of the additive model;
- a moderated t of the replicates' mean about locations and slopes, as limma has it (Smyth, 2004,
  *Statistical Applications in Genetics and Molecular Biology* 3:3): where nothing is known
  beforehand its one-sided p is the false sign rate;
- the screen model's mean over SD and local false sign rate.
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy import stats
from scipy.special import digamma, polygamma

import crossed_jax as cj
from benchmarks.problems import DATA
from benchmarks.screen.held_out import SETTINGS, fitted
from benchmarks.screen.screens import crossed, guide_library, library

TOP = (50, 100, 200)
SURE = 0.05
EXTREME = 0.05
SWEEPS = 200
CELL = ["gene", "cell_line"]


class Variances(NamedTuple):
    """Variances after shrinking, and the degrees of freedom that they have then."""

    value: np.ndarray
    freedom: np.ndarray


def cross_library() -> dict[str, Any]:
    """Rank and call cells from Avana, and compare with KY."""
    avana, other = library("Avana"), guide_z(guides("KY"))
    found = {
        "residual of the additive model": compare(additive_residuals(avana), other),
        "moderated t with slopes": compare(moderated_t(avana), other),
    }
    both = ("gene", "cell_line")
    for name, noise_by in {"screen model": both, "without noise by gene": ("cell_line",)}.items():
        model = cj.Model(slopes="cell_line", noise_by=noise_by, interaction=True)
        tree = cj.fit(crossed(avana), model=model, **SETTINGS)
        cells = cj.interactions(tree)
        cells = cells.select(*CELL, score=pl.col("mean") / pl.col("sd"), lfsr="lfsr")
        found[name] = compare(cells, other) | fitted(tree)
    return {
        "cells": len(other.join(avana, on=CELL, how="semi")),
        "methods": found,
    }


def guides(name: str) -> pl.DataFrame:
    """Mean over the samples that pass quality control, a row per guide and line."""
    kept = guide_library(name).drop_nulls("lfc")
    return kept.group_by("gene", "sgrna", "cell_line").agg(pl.col("lfc").mean()).sort(pl.all())


def guide_z(table: pl.DataFrame) -> pl.DataFrame:
    """Moderated t of each gene in each line, from its guides; columns gene, cell_line, z."""
    table = table.with_columns(guide=pl.struct("gene", "sgrna").rank("dense") - 1)
    rest = slope_residuals(table, "guide", "lfc")
    cells = rest.group_by(CELL, maintain_order=True).agg(
        n=pl.len(), mean=pl.col("rest").mean(), variance=pl.col("rest").var()
    )
    return cells.select(*CELL, z=_t(cells)["score"])


def additive_residuals(table: pl.DataFrame) -> pl.DataFrame:
    """Residuals of cell means from gene and line; columns gene, cell_line, score."""
    cells = table.group_by(CELL, maintain_order=True).agg(pl.col("lfc").mean())
    lfc = pl.col("lfc")
    of_gene, of_line = lfc.mean().over("gene"), lfc.mean().over("cell_line")
    return cells.select(*CELL, score=lfc - of_gene - of_line + lfc.mean())


def moderated_t(table: pl.DataFrame) -> pl.DataFrame:
    """Moderated t of each cell about locations and slopes; columns gene, cell_line, score, lfsr."""
    cells = table.group_by(CELL, maintain_order=True).agg(
        n=pl.len(), lfc=pl.col("lfc").mean(), variance=pl.col("lfc").var()
    )
    rest = slope_residuals(cells, "gene", "lfc").with_columns(mean=pl.col("rest"))
    return _t(rest)


def _t(cells: pl.DataFrame) -> pl.DataFrame:
    n = cells["n"].to_numpy()
    variances = moderate(cells["variance"].fill_null(0.0).to_numpy(), n - 1.0)
    t = cells["mean"].to_numpy() / np.sqrt(variances.value / n)
    one_sided = stats.t.sf(np.abs(t), variances.freedom)
    return cells.select(*CELL, score=pl.Series(t), lfsr=pl.Series(one_sided))


def moderate(variance: np.ndarray, freedom: np.ndarray) -> Variances:
    """Shrink variances towards a common one, by moments of their logarithms (Smyth, 2004)."""
    known = freedom > 0
    floor = 1e-5 * np.median(variance[known])
    half = freedom[known] / 2.0
    e = np.log(np.maximum(variance[known], floor)) - digamma(half) + np.log(half)
    excess = e.var(ddof=1) - polygamma(1, half).mean()
    if excess <= 0.0:
        return Variances(np.full_like(variance, np.exp(e.mean())), np.full_like(freedom, np.inf))
    prior = 2.0 * _inverse_trigamma(excess)
    common = np.exp(e.mean() + digamma(prior / 2.0) - np.log(prior / 2.0))
    shrunk = (prior * common + freedom * variance) / (prior + freedom)
    return Variances(shrunk, prior + freedom)


def _inverse_trigamma(x: float) -> float:
    y = 0.5 + 1.0 / x
    for _ in range(50):
        value = polygamma(1, y)
        y += value * (1.0 - value / x) / polygamma(2, y)
    return float(y)


def slope_residuals(table: pl.DataFrame, rows: str, value: str) -> pl.DataFrame:
    """Add residuals about locations and slopes of the lines, by alternating least squares.

    Parameters
    ----------
    table
        At most one value per row level and line.
    rows, value
        Columns: what has an effect that the slopes multiply (guides, or genes), and the values.
    """
    row, line = (table[c].rank("dense").to_numpy().astype(int) - 1 for c in (rows, "cell_line"))
    y = table[value].to_numpy()
    num_rows, num_lines = row.max() + 1, line.max() + 1
    count = np.bincount(line)
    location, slope = np.zeros(num_lines), np.ones(num_lines)
    for _ in range(SWEEPS):
        k = slope[line]
        effect = np.bincount(row, k * (y - location[line]), num_rows) / np.bincount(row, k**2)
        effect -= effect.mean()
        a = effect[row]
        a_mean, y_mean = np.bincount(line, a) / count, np.bincount(line, y) / count
        about = a - a_mean[line]
        slope = np.bincount(line, about * y) / np.bincount(line, about**2)
        slope /= slope.mean()
        location = y_mean - slope * a_mean
    return table.with_columns(rest=pl.Series(y - location[line] - slope[line] * effect[row]))


def compare(cells: pl.DataFrame, other: pl.DataFrame) -> dict[str, Any]:
    """Say how the other library sees the first cells, and those called.

    A cell is found again where the other library has it among the most extreme twentieth at the
    same end.

    Parameters
    ----------
    cells
        Columns gene, cell_line, score, whose size ranks, and perhaps lfsr, which calls.
    other
        Columns gene, cell_line, z.
    """
    both = cells.join(other, on=CELL).sort(*CELL)
    z = pl.col("z")
    same = pl.col("score").sign() == z.sign()
    far = (z <= z.quantile(EXTREME)) | (z >= z.quantile(1.0 - EXTREME))
    both = both.with_columns(same=same, found=same & far)
    ranked = both.sort(pl.col("score").abs(), descending=True, maintain_order=True)
    found: dict[str, Any] = {"of_top": {str(top): ranked["found"][:top].mean() for top in TOP}}
    if "lfsr" in cells.columns:
        called = ranked.filter(pl.col("lfsr") < SURE)
        controls = ranked.filter(pl.col("gene").is_in(_controls()))
        found |= {
            "calls": len(called),
            "same_sign": called["same"].mean(),
            "controls_called": (controls["lfsr"] < SURE).mean(),
        }
    return found


def _controls() -> pl.Series:
    """Genes that no line is known to need."""
    table = pl.read_csv(DATA / "avana_ky_screens" / "AchillesNonessentialControls.csv")
    return table.to_series().str.split(" ").list.first()
