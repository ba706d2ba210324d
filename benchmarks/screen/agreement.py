"""Posterior of the screen model against NumPyro's NUTS with every latent variable a parameter.

NumPyro's run is kept as moments, with the effective sample sizes that say how far they can be
trusted; the package's fit is held to them. SDs and slopes are compared as logarithms and the share
as its logit, which are closer to Normal.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xarray as xr

import crossed_jax as cj
from benchmarks.screen.screens import SEED, crossed, small_tables
from crossed_jax.sampling.ess import rank_diagnostics

RESULTS = Path(__file__).parents[1] / "results"
REFERENCE = RESULTS / "screen_agreement_numpyro.csv"
KEYS = ("table", "quantity", "gene", "cell_line")


def reference() -> dict[str, Any]:
    """Run NumPyro for long, and keep the moments of everything."""
    return kept_reference({name: crossed(table) for name, table in small_tables().items()})


def kept_reference(tables: dict[str, cj.CrossedData], path: Path = REFERENCE) -> dict[str, Any]:
    """Run NumPyro for long on some tables, and keep the moments of everything in a file."""
    from benchmarks.screen.numpyro_rows import sample

    frames, found = [], {}
    for name, data in tables.items():
        clock = time.perf_counter()
        draws = sample(data, num_warmup=1500, num_draws=7000, num_chains=4, seed=SEED)
        seconds = time.perf_counter() - clock
        steps, diverging = draws.pop("num_steps"), draws.pop("diverging")
        frame = moments(draws, data).with_columns(table=pl.lit(name))
        frames.append(frame)
        found[name] = {
            "rows": data.num_rows,
            "seconds": seconds,
            "leapfrog_steps": float(steps.mean()),
            "divergences": int(diverging.sum()),
            "max_r_hat": frame["r_hat"].max(),
            "min_ess": frame["ess"].min(),
        }
        pl.concat(frames).select(*KEYS, pl.exclude(KEYS)).write_csv(path, float_precision=6)
    return found


def moments(draws: dict[str, np.ndarray], data: cj.CrossedData) -> pl.DataFrame:
    """Give a row per quantity: mean, sd, and what their standard errors follow from.

    Parameters
    ----------
    draws
        By name, shape (chains, draws) or (chains, draws, levels).
    data
        The table that they are of.

    Returns
    -------
    polars.DataFrame
        Columns quantity, gene, cell_line (the level or levels it is of, a guide for a gene), mean,
        sd, ess, r_hat, square_sd and square_ess (of the squared distance from the mean), negative
        (the share of draws below zero).
    """
    gene, line = data.factors
    cells = np.unique(gene.codes.astype(np.int64) * len(line.levels) + line.codes)
    levels = {
        "gene": (gene.levels, None),
        "cell_line": (None, line.levels),
        "interaction": (
            [gene.levels[code] for code in cells // len(line.levels)],
            [line.levels[code] for code in cells % len(line.levels)],
        ),
    }
    if data.nested is not None:
        levels[data.nested.units.name] = (data.nested.units.levels, None)
    frames = []
    for name, values in draws.items():
        factor = next((f for f in levels if name.startswith(f)), None)
        genes, lines = levels[factor] if factor and values.ndim == 3 else (None, None)
        flat = _unbounded(name, values).reshape(*values.shape[:2], -1)
        squares = (flat - flat.mean((0, 1))) ** 2
        of_mean, of_square = rank_diagnostics(flat), rank_diagnostics(squares)
        columns = {
            "mean": flat.mean((0, 1)),
            "sd": flat.std((0, 1), ddof=1),
            "ess": of_mean.ess_bulk,
            "r_hat": of_mean.r_hat,
            "square_sd": squares.std((0, 1)),
            "square_ess": of_square.ess_bulk,
            "negative": (flat < 0).mean((0, 1)),
        }
        frame = pl.DataFrame(columns).with_columns(
            quantity=pl.lit(name),
            gene=pl.Series(genes, dtype=pl.String) if genes else pl.lit(None, pl.String),
            cell_line=pl.Series(lines, dtype=pl.String) if lines else pl.lit(None, pl.String),
        )
        frames.append(frame.select("quantity", "gene", "cell_line", *columns))
    return pl.concat(frames)


def _unbounded(name: str, values: np.ndarray) -> np.ndarray:
    scalar = values.ndim == 2
    if name == "sigma" or name.endswith("_slope") or (scalar and name.endswith("_sd")):
        return np.log(values)
    if name.endswith("_share"):
        return np.log(values / (1.0 - values))
    return values


def agreement() -> dict[str, Any]:
    """Fit the three tables, and hold all quantities to NumPyro's."""
    return held_to({name: crossed(table) for name, table in small_tables().items()})


def held_to(
    tables: dict[str, cj.CrossedData], path: Path = REFERENCE, num_draws: int = 5000
) -> dict[str, Any]:
    """Fit some tables, and hold all quantities to those kept in a file."""
    found = {}
    kept = pl.read_csv(path)
    for name, data in tables.items():
        tree = cj.fit(
            data, model="screen", priors="post", num_chains=4, num_draws=num_draws, seed=SEED
        )
        found[name] = compare(tree, data, kept.filter(pl.col("table") == name))
    return found


def compare(tree: xr.DataTree, data: cj.CrossedData, kept: pl.DataFrame) -> dict[str, Any]:
    """Compare a fit with the kept moments.

    Returns
    -------
    dict
        Largest distances of means and of variances over all quantities but interactions, in their
        Monte Carlo standard errors, and which they are of. Of interactions SDs are compared by
        their ratio, and local false sign rates as they are.
    """
    names = kept["quantity"].unique().drop_nulls().to_list()
    draws = {n: tree["posterior"][n].values for n in names if n != "interaction"}
    ours = moments(draws, data)
    on = list(KEYS[1:])
    both = ours.join(kept, on=on, suffix="_numpyro", nulls_equal=True, validate="1:1")
    if len(both) != len(ours):
        raise ValueError(f"{len(ours) - len(both)} quantities are not among NumPyro's")
    error = pl.col("sd") ** 2 / pl.col("ess") + (pl.col("sd_numpyro") ** 2 / pl.col("ess_numpyro"))
    square_error = pl.col("square_sd") ** 2 / pl.col("square_ess") + (
        pl.col("square_sd_numpyro") ** 2 / pl.col("square_ess_numpyro")
    )
    both = both.with_columns(
        z_mean=(pl.col("mean") - pl.col("mean_numpyro")).abs() / error.sqrt(),
        z_variance=(pl.col("sd") ** 2 - pl.col("sd_numpyro") ** 2).abs() / square_error.sqrt(),
    )
    found = {
        "rows": data.num_rows,
        "quantities": len(both),
        **_largest(both),
        "divergences": int(tree["sample_stats"]["diverging"].sum()),
        "min_ess_crossed_jax": both["ess"].min(),
        "min_ess_numpyro": both["ess_numpyro"].min(),
    }
    cells = kept.filter(pl.col("quantity") == "interaction")
    if len(cells):
        found["interactions"] = _compare_interactions(tree, cells)
    return found


def _largest(both: pl.DataFrame) -> dict[str, Any]:
    found = {}
    for name in ("z_mean", "z_variance"):
        row = both.sort(name, descending=True).row(0, named=True)
        level = row["gene"] or row["cell_line"]
        found[f"largest_{name}"] = row[name]
        found[f"largest_{name}_of"] = row["quantity"] + (f"[{level}]" if level else "")
    return found


def _compare_interactions(tree: xr.DataTree, kept: pl.DataFrame) -> dict[str, Any]:
    ours = cj.interactions(tree)
    both = ours.join(kept, on=["gene", "cell_line"], suffix="_numpyro", validate="1:1")
    if not len(both) == len(ours) == len(kept):
        raise ValueError("the cells are others than NumPyro's")
    # the fit tells the largest error that any cell's mean has, in its SDs
    own = json.loads(tree.attrs["interaction_error"])
    sd, theirs = pl.col("sd"), pl.col("sd_numpyro")
    negative = pl.col("negative")
    error = ((own["mean"] * sd) ** 2 + theirs**2 / pl.col("ess")).sqrt()
    gaps = both.select(
        z_mean=(pl.col("mean") - pl.col("mean_numpyro")).abs() / error,
        sd=(sd / theirs - 1.0).abs(),
        lfsr=(pl.col("lfsr") - pl.min_horizontal(negative, 1.0 - negative)).abs(),
    )
    return {
        "cells": len(both),
        "largest_z_mean": gaps["z_mean"].max(),
        "largest_sd_gap": gaps["sd"].max(),
        "largest_lfsr_gap": gaps["lfsr"].max(),
        "rms_lfsr_gap": (gaps["lfsr"] ** 2).mean() ** 0.5,
        "errors_crossed_jax": own,
        "min_ess_numpyro": both["ess"].min(),
    }
