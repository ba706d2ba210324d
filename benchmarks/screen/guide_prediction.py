"""Prediction of guides' values in samples that were held out, by the model and by parts of it.

Of each line with two samples or more one is held out (`held_out`), and each of its rows is
predicted from the fit: a mixture over the draws of Normals about what the guide's other rows in the
line and the gene's other guides there say (:mod:`crossed_jax.models.screen.responses`).
"""

import json
import os
import sys
import time
from typing import Any

import jax
import numpy as np
import polars as pl
import xarray as xr
from scipy.special import logsumexp, ndtr

import crossed_jax as cj
from benchmarks.screen.held_out import fitted, score, split_samples
from benchmarks.screen.prediction import Prediction
from benchmarks.screen.screens import RESPONSE, SEED, guide_library
from crossed_jax.models.model import parts_of
from crossed_jax.models.screen.responses import CellRows, Drawn, interactions_given, shared_by_rows
from crossed_jax.results.screen_predictions import RowCodes, cells_of_rows, draws_by_name, seen_in
from crossed_jax.results.tree import thinned

SETTINGS = {"num_chains": 4, "num_warmup": 300, "num_draws": 250, "seed": SEED}
DRAWS = 100  # of each chain, in the mixture
FACTORS = ("gene", "cell_line")
ALL = {"slopes": "cell_line", "noise_by": FACTORS}
MODELS: dict[str, dict[str, Any]] = {
    "no guides": {"interaction": True},
    "guides, no interaction": {"nested": "sgrna"},
    "guides": {"interaction": True, "nested": "sgrna"},
    "guides and samples": {"interaction": True, "nested": "sgrna", "sample": "sample"},
    "guides that differ in noise": {
        "noise_by": (*FACTORS, "sgrna"),
        "interaction": True,
        "nested": "sgrna",
    },
}


def guide_prediction() -> dict[str, Any]:
    """Fit every model to what is left of Avana's guides, and predict what was held out."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    train, held = split_samples(guide_library("Avana").rename({"sequence_ID": "sample"}))
    found: dict[str, Any] = {}
    without: Prediction | None = None
    for name, parts in MODELS.items():
        clock = time.perf_counter()
        units = {argument: parts.get(argument) for argument in ("nested", "sample")}
        data = cj.read_table(train, response=RESPONSE, factors=FACTORS, **units)
        model = cj.Model(**(ALL | parts))
        tree = cj.fit(data, model=model, chain_method="parallel", **SETTINGS)
        seconds = time.perf_counter() - clock
        prediction = predict(tree, data, held)
        without = prediction if without is None else without
        found[name] = score(prediction, without, held) | fitted(tree) | {"seconds": seconds}
        print(name, json.dumps(found[name]), file=sys.stderr, flush=True)
    return {"values": len(held), "lines": held["cell_line"].n_unique(), "models": found}


def predict(tree: xr.DataTree, data: cj.CrossedData, held: pl.DataFrame) -> Prediction:
    """Predict values of samples that a fit has not seen.

    Parameters
    ----------
    tree, data
        The fit, and the table that it was fitted to.
    held
        What to predict.
    """
    parts = parts_of(tree.attrs, FACTORS)
    assert parts is not None
    units = {"gene": data.factors[0], "cell_line": data.factors[1]}
    if data.nested is not None:
        units["sgrna"] = data.nested.units
    codes = {
        name: held[name]
        .replace_strict(
            {level: code for code, level in enumerate(factor.levels)}, return_dtype=pl.Int64
        )
        .to_numpy()
        for name, factor in units.items()
    }
    rows = RowCodes(codes["gene"], codes["cell_line"], codes.get("sgrna"), None)
    cells = cells_of_rows(rows, parts, seen_in(tree, parts), FACTORS)
    posterior = thinned(tree["posterior"].to_dataset(), DRAWS)
    drawn = {str(name): values.to_numpy() for name, values in posterior.items()}
    sample_sds = np.zeros(drawn["sigma"].size)
    if parts.sample is not None:
        sample_sds = drawn["sample_sd"].ravel()
    y, place = held[RESPONSE].to_numpy(), np.zeros(len(held))
    log_densities = np.empty((len(sample_sds), len(held)))
    draws = draws_by_name(drawn, parts, FACTORS)
    for i, (one, sample_sd) in enumerate(zip(draws, sample_sds, strict=True)):
        mean, variance = _given_draw(one, cells)
        sd = np.sqrt(variance + sample_sd**2)[cells.of_rows]
        z = (y - mean[cells.of_rows]) / sd
        log_densities[i] = -0.5 * z**2 - np.log(sd) - 0.5 * np.log(2.0 * np.pi)
        place += ndtr(z) / len(sample_sds)
    return Prediction(logsumexp(log_densities, axis=0) - np.log(len(sample_sds)), place)


def _given_draw(drawn: Drawn, cells: CellRows) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of a further row of each unit in a line, but for its sample."""
    given = interactions_given(drawn, cells)
    gamma, variance = given.mean[cells.cell], given.sd[cells.cell] ** 2
    rest, nested = given.rest, drawn.nested_share
    own, own_sd = shared_by_rows(nested, rest, given.number, given.residual - gamma)
    taken = given.number * nested / (given.number * nested + 1.0 - nested)
    spread = (1.0 - taken) ** 2 * variance + own_sd**2 + (1.0 - nested) * rest
    return given.expected + gamma + own, spread
