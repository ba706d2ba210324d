"""Interactions from Avana's guides, held to KY, a library of other guides.

KY's word on a cell is that of its own fit with guides; of the moderated t of its guides, which
knows no model (`cross_library`); and of its residuals from genes and lines. And how well, in each
line of Avana, what is said of the genes tells those that all lines need from those that none does:
the area under the receiver operating characteristic, and the difference of means in SDs of the
genes that none needs.
"""

import os
from typing import Any

import jax
import numpy as np
import polars as pl
import xarray as xr
from scipy.stats import rankdata

import crossed_jax as cj
from benchmarks.problems import DATA
from benchmarks.screen.cross_library import (
    CELL,
    SURE,
    additive_residuals,
    compare,
    guide_z,
    guides,
    moderated_t,
)
from benchmarks.screen.held_out import fitted
from benchmarks.screen.screens import (
    RESPONSE,
    SEED,
    crossed,
    guide_library,
    library,
    with_guides,
)

SETTINGS = {"num_chains": 4, "num_warmup": 300, "num_draws": 500, "seed": SEED}
TOP = 400
NU = 3.0


def guide_calls() -> dict[str, Any]:
    """Rank and call cells from Avana's guides, and compare with KY."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    avana, ky = (
        cj.fit(
            with_guides(guide_library(name)), model="screen", chain_method="parallel", **SETTINGS
        )
        for name in ("Avana", "KY")
    )
    of_guides, own = guide_z(guides("KY")), scores(cj.interactions(ky))
    residual = additive_residuals(library("KY")).rename({"score": "z"})
    at_gene_level = cj.fit(crossed(library("Avana")), model="screen", **SETTINGS)
    methods = {
        "residual of the additive model": additive_residuals(library("Avana")),
        "moderated t with slopes": moderated_t(library("Avana")),
        "screen model of gene means": scores(cj.interactions(at_gene_level)),
        "screen model with guides": scores(cj.interactions(avana)),
        "with Student-t interactions": scores(cj.interactions(avana, nu=NU)),
    }
    found = {}
    for name, cells in methods.items():
        found[name] = compare(cells, of_guides) | signs(cells, own, residual)
    how = {"seconds", "quadrature_error", "interaction_error"}
    return {
        "cells": len(own.join(methods["screen model with guides"], on=CELL, how="semi")),
        "methods": found,
        "separation": {
            "raw means": separation(raw_means(library("Avana"))),
            "screen model with guides": separation(of_genes_in_lines(avana)),
        },
        "fits": {
            name: fitted(tree) | {key: tree.attrs[key] for key in sorted(how)}
            for name, tree in (("Avana", avana), ("KY", ky))
        },
    }


def scores(cells: pl.DataFrame) -> pl.DataFrame:
    """Means over SDs and local false sign rates; columns gene, cell_line, score, lfsr."""
    return cells.select(*CELL, score=pl.col("mean") / pl.col("sd"), lfsr="lfsr")


def signs(cells: pl.DataFrame, own: pl.DataFrame, residual: pl.DataFrame) -> dict[str, Any]:
    """Share of the first cells, and of those called, of which KY's fit and residual agree."""
    ky = own.rename({"score": "ky", "lfsr": "ky_lfsr"})
    both = cells.join(ky, on=CELL).join(residual, on=CELL).sort(*CELL)
    sign = pl.col("score").sign()
    both = both.with_columns(fit=sign == pl.col("ky").sign(), plain=sign == pl.col("z").sign())
    top = both.sort(pl.col("score").abs(), descending=True, maintain_order=True)[:TOP]
    found: dict[str, Any] = {"top_same_sign": {"fit": top["fit"].mean()}}
    found["top_same_sign"]["residual"] = top["plain"].mean()
    if "lfsr" in cells.columns:
        called = both.filter(pl.col("lfsr") < SURE)
        sure = called.filter(pl.col("ky_lfsr") < SURE)
        found["called_same_sign"] = {
            "fit": called["fit"].mean(),
            "residual": called["plain"].mean(),
            "where_ky_is_sure": sure["fit"].mean(),
            "of": len(sure),
        }
    return found


def raw_means(table: pl.DataFrame) -> pl.DataFrame:
    """Mean response of each cell; columns gene, cell_line, value."""
    return table.group_by(CELL, maintain_order=True).agg(value=pl.col(RESPONSE).mean())


def of_genes_in_lines(tree: xr.DataTree) -> pl.DataFrame:
    """Posterior means of slope times gene effect plus interaction; columns as of `raw_means`."""
    posterior = tree["posterior"]
    effect = (posterior["gene_effect"] * posterior["cell_line_slope"]).mean(("chain", "draw"))
    cells = cj.interactions(tree)
    at = {name: xr.DataArray(cells[name].to_list(), dims="cell") for name in CELL}
    return cells.select(*CELL, value=pl.col("mean") + pl.Series(effect.sel(at).to_numpy()))


def separation(cells: pl.DataFrame) -> dict[str, float]:
    """Mean over lines of how far needed genes are from those that are not."""
    folder = DATA / "avana_ky_screens"
    needed, not_needed = (
        pl.read_csv(folder / f"Achilles{kind}Controls.csv").to_series().str.split(" ").list.first()
        for kind in ("CommonEssential", "Nonessential")
    )
    areas, differences = [], []
    for _, of_line in cells.sort(*CELL).group_by("cell_line", maintain_order=True):
        low, high = (
            of_line.filter(pl.col("gene").is_in(genes.implode()))["value"].to_numpy()
            for genes in (needed, not_needed)
        )
        ranks = rankdata(np.concatenate([low, high]))[: len(low)].sum()
        above = (ranks - len(low) * (len(low) + 1) / 2) / (len(low) * len(high))
        areas.append(1.0 - above)
        differences.append((low.mean() - high.mean()) / high.std(ddof=1))
    return {"area": float(np.mean(areas)), "difference": float(np.mean(differences))}
