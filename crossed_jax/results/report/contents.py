"""What a report tells of a fit, as plain values that the template sets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from crossed_jax.models.model import parts_of
from crossed_jax.models.noise import noise_of
from crossed_jax.results.report.numbers import decimals_for, fixed, percent, rate
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr

    from crossed_jax.results.verdict import Diagnosis

MOST_ON_A_SIDE = 10
MOST_HITS = 200
BAR_WIDTH = 120  # of the picture of an interval


def fitted(tree: xr.DataTree) -> dict[str, str]:
    """Say what was fitted, and how."""
    attrs = tree.attrs
    names = factor_names(tree)
    sizes = tree["constant_data"].sizes
    versions = json.loads(attrs.get("versions", "{}"))
    posterior = tree["posterior"].sizes
    rows = f"{rows_of(tree):,}"
    if missing := int(attrs.get("num_missing", 0)):
        rows += f" (and {missing:,} without a response, left out)"
    told = {
        "Table": attrs.get("source") or "a data frame",
        "SHA-256 of the table": attrs.get("input_sha256", ""),
        "Response": attrs["response"],
        "Factors": ", ".join(f"{name} ({sizes[name]:,} levels)" for name in names),
        "Rows": rows,
        "Model": "; ".join(model_in_words(tree)),
        "Priors": _priors_in_words(json.loads(attrs["priors"])),
        "Sampled in the form": attrs["parameterization"],
        "Draws": f"{posterior['chain']:,} chains × {posterior['draw']:,}",
        "Seed": str(attrs.get("seed", "")),
        "Date": attrs.get("created_at", "").replace("T", " ").replace("+00:00", " UTC"),
        "Version": ", ".join(
            f"{name} {versions[name]}"
            for name in ("crossed-jax", "jax", "blackjax", "python")
            if name in versions
        ),
    }
    if "num_warmup" in attrs:
        told["Draws"] += f", after {int(attrs['num_warmup']):,} of warm-up each"
    return {name: value for name, value in told.items() if value}


def _priors_in_words(priors: dict[str, Any]) -> str:
    """Say which priors, and of the user's own each."""
    named = {
        "post": "post: for log fold changes",
        "scaled": "scaled: on the standardised response",
    }
    if priors["name"] in named:
        return named[priors["name"]]
    own = {of_factor(name, "sd"): prior for name, prior in priors["factor_sds"].items()}
    own |= {name: prior for name, prior in priors.items() if isinstance(prior, str)}
    told = ", ".join(f"{name} {own[name]}" for name in own if name not in ("name", "base"))
    base = priors.get("base")
    return f"{told}{f', the others as {named[base]}' if base in named else ''}"


def rows_of(tree: xr.DataTree) -> int:
    """Count the rows that were fitted."""
    return int(tree["constant_data"][of_factor(factor_names(tree)[0], "n")].sum())


def model_in_words(tree: xr.DataTree) -> list[str]:
    """Say what the model has: the additive part, the noise, and what a screen has besides."""
    names = factor_names(tree)
    noise = {"normal": "Normal", "student_t": "Student-t"}[noise_of(tree.attrs).name]
    effects = " + ".join(f"{name} effect" for name in names)
    told = [f"{tree.attrs['response']} = intercept + {effects} + {noise} noise"]
    parts = parts_of(tree.attrs, names)
    if parts is None:
        return told
    gene, line = names[parts.genes], names[1 - parts.genes]
    by = (gene, parts.gene_noise), (line, parts.line_noise), (parts.nested or "", parts.guide_noise)
    noisy = [name for name, has in by if has]
    return [
        *told,
        *([f"a slope of each {line} on the {gene} effects"] if parts.slopes else []),
        *([f"noise SDs by {' and '.join(noisy)}"] if noisy else []),
        *([f"an interaction of {gene} and {line}"] if parts.interaction else []),
        *([f"effects of each {parts.nested} within {gene}"] if parts.nested else []),
        *([f"effects of each {parts.sample} within {line}"] if parts.sample else []),
    ]


def components(table: pl.DataFrame) -> list[dict[str, str]]:
    """Give the rows of the variance components."""
    return [
        {
            "name": "noise (sigma)" if row["component"] == "sigma" else row["component"],
            "sd": fixed(row["sd_mean"], decimals := decimals_for([row["sd_sd"]])),
            "lower": fixed(row["lower"], decimals),
            "upper": fixed(row["upper"], decimals),
            "share": percent(row["share_of_variance"]),
            "share_interval": ""
            if row["share_lower"] is None
            else f"{percent(row['share_lower'])} to {percent(row['share_upper'])}",
            "width": f"{100 * (row['share_of_variance'] or 0.0):.1f}",
        }
        for row in table.iter_rows(named=True)
    ]


def effects_by_factor(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Give the extreme levels of each factor, all where they are few."""
    found = []
    for (factor,), of_factor_ in table.group_by("factor", maintain_order=True):
        ordered = of_factor_.sort("mean", descending=True)
        few = ordered.height <= 2 * MOST_ON_A_SIDE
        side = ordered.height if few else MOST_ON_A_SIDE
        sides = [ordered.head(side), *([] if few else [ordered.tail(side)])]
        shown = ordered if few else ordered[:side].vstack(ordered[-side:])
        low = min(0.0, *shown["lower"].to_list())
        high = max(0.0, *shown["upper"].to_list())
        decimals = decimals_for(ordered["sd"].to_list())
        found.append(
            {
                "name": factor,
                "number": ordered.height,
                "between": ordered.height - shown.height,
                "side": side,
                "zero": _along(0.0, low, high),
                "sides": [
                    [_effect(row, decimals, low, high) for row in of_side.iter_rows(named=True)]
                    for of_side in sides
                ],
            }
        )
    return found


def _effect(row: dict[str, Any], decimals: int | None, low: float, high: float) -> dict[str, Any]:
    ends = {name: fixed(row[name], decimals) for name in ("mean", "lower", "upper")}
    places = {f"at_{name}": _along(row[name], low, high) for name in ("mean", "lower", "upper")}
    return {"level": row["level"], "n": f"{row['n']:,}"} | ends | places


def _along(value: float, low: float, high: float) -> str:
    """Place of a value in the picture of an interval."""
    return f"{3 + (BAR_WIDTH - 6) * (value - low) / ((high - low) or 1.0):.1f}"


HITS_NUMBERS = ("n", "as measured", "mean", "95% interval", "lfsr", "s-value")


def hits_shown(called: pl.DataFrame, tree: xr.DataTree) -> dict[str, Any]:
    """Give the first hits as a table: title and kind of a column, text and sorting key of a cell.

    `called` is what :func:`~crossed_jax.results.interactions.hits` gives, what units say of each
    hit beside it where it is known.
    """
    shown = called.head(MOST_HITS)
    decimals = decimals_for(shown["sd"].to_list())
    names = factor_names(tree)
    parts = parts_of(tree.attrs, names)
    unit = None if parts is None else parts.nested
    seen = f"{unit}_seen" if unit and f"{unit}_seen" in called.columns else None
    columns = [(name, "label") for name in names]
    columns += [(name, "number") for name in HITS_NUMBERS]
    if seen:
        columns.append((f"{unit}s on its side", "number"))
    rows = []
    for row in shown.iter_rows(named=True):
        ends = [fixed(row[end], decimals) for end in ("lower", "upper")]
        cells = [
            *((row[name], row[name]) for name in names),
            (f"{row['n']:,.0f}", row["n"]),
            (fixed(row["raw_residual"], decimals), row["raw_residual"]),
            (fixed(row["mean"], decimals), row["mean"]),
            (" to ".join(ends), row["lower"]),
            (rate(row["lfsr"]), row["lfsr"]),
            (rate(row["s_value"]), row["s_value"]),
        ]
        if seen:
            agreeing = row[f"{unit}_agreeing"]
            cells.append((f"{agreeing} of {row[seen]}", agreeing / row[seen]))
        rows.append(cells)
    return {"columns": columns, "rows": rows, "number": called.height}


def parameters_shown(table: pl.DataFrame) -> list[list[str]]:
    """Give the rows of the parameters."""
    return [
        [
            row["parameter"],
            *(
                fixed(row[name], decimals_for([row["sd"]]))
                for name in ("mean", "sd", "lower", "upper")
            ),
            fixed(row["ess_bulk"], 0),
            fixed(row["r_hat"], 3),
        ]
        for row in table.iter_rows(named=True)
    ]


def verdicts(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Give both verdicts: a word, what it is about, and the sentences that say why."""
    converged = {
        "good": diagnosis.converged,
        "word": "Converged" if diagnosis.converged else "Not converged",
        "about": "These draws are of the posterior."
        if diagnosis.converged
        else "Do not trust these draws, nor any number below.",
        "sentences": diagnosis.reasons,
    }
    words = {None: "Not examined", True: "The model fits", False: "The model does not fit"}
    about = {
        None: "This model is not held to tests of fit: look at its predictions.",
        True: "No departure of the data from the model was found.",
        False: "The draws may be right, and the model is not that of these data.",
    }
    fits = {
        "good": diagnosis.fits,
        "word": words[diagnosis.fits],
        "about": about[diagnosis.fits],
        "sentences": diagnosis.misfits,
    }
    if diagnosis.fits and not diagnosis.converged:
        fits |= {"good": None, "word": "No departure found", "about": "As far as these draws tell."}
    return [{"of": "The draws"} | converged, {"of": "The model"} | fits]


def numbers_of(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    """Give what the first verdict rests on: name, value, and where."""
    return [
        ("draws", f"{diagnosis.num_draws:,} in {diagnosis.num_chains} chains", ""),
        ("largest R-hat", fixed(diagnosis.max_r_hat, 3), diagnosis.max_r_hat_at),
        ("smallest bulk ESS", fixed(diagnosis.min_ess_bulk, 0), diagnosis.min_ess_bulk_at),
        ("smallest tail ESS", fixed(diagnosis.min_ess_tail, 0), diagnosis.min_ess_tail_at),
        ("divergent draws", f"{diagnosis.divergences:,}", ""),
        ("draws at the largest tree depth", f"{diagnosis.max_tree_depth_hits:,}", ""),
        ("smallest E-BFMI", fixed(diagnosis.min_bfmi, 2), ""),
    ]
