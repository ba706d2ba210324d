"""``crossed-jax fit``."""

import os
from pathlib import Path
from typing import Annotated

import typer

from crossed_jax.cli.columns import split
from crossed_jax.cli.command import Command
from crossed_jax.cli.priors import check_priors
from crossed_jax.cli.run import run
from crossed_jax.errors import InputError
from crossed_jax.types import (
    ChainMethod,
    KeepEffects,
    ModelName,
    NoiseName,
    ParameterizationName,
    PriorName,
)


def fit(
    table: Annotated[
        Path, typer.Argument(help="CSV, TSV or Parquet, one row per measurement; see --wide.")
    ],
    response: Annotated[str, typer.Option(help="Column of the measured response.")],
    factors: Annotated[
        list[str],
        typer.Option(
            metavar="COLUMNS",
            help="Columns of the crossed factors, comma-separated; or once for each column, which "
            "may then have commas in its name.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory for the results.")],
    wide: Annotated[
        bool,
        typer.Option(
            "--wide",
            help="The table is a matrix: its first column has the levels of the first factor, and "
            "its column names are those of the second.",
        ),
    ] = False,
    model: Annotated[
        ModelName,
        typer.Option(
            help="screen: with slopes and noise by level and an interaction, as far as the table "
            "can inform them."
        ),
    ] = "additive",
    slopes: Annotated[
        str | None,
        typer.Option(
            metavar="FACTOR",
            help="Part of the screen model: levels of this factor differ in how strongly they show "
            "the other's effects.",
        ),
    ] = None,
    noise_by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACTORS",
            help="Part of it: levels of these differ in the SD of their noise, --nested's too if "
            "it is among them.",
        ),
    ] = None,
    interaction: Annotated[
        bool | None,
        typer.Option(help="Part of it: replicates of a cell share a deviation."),
    ] = None,
    nested: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Part of it: units within the factor of the most levels, such as the guides of "
            "genes, have effects of their own.",
        ),
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Part of it: samples, the replicates of the levels of the other factor, such as "
            "cell lines, have effects of their own.",
        ),
    ] = None,
    parameterization: Annotated[
        ParameterizationName, typer.Option(help="Form of the model to sample.")
    ] = "auto",
    noise: Annotated[
        NoiseName, typer.Option(help="student_t: for a response with outliers.")
    ] = "normal",
    priors: Annotated[
        PriorName,
        typer.Option(help="post: for log fold changes; scaled: for a response in any unit."),
    ] = "post",
    prior: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PRIOR",
            help="Replace one of them, by the name that the results have for what it is a prior "
            'of: "gene_sd=HalfNormal(2)"; once for each.',
        ),
    ] = None,
    chains: Annotated[int, typer.Option(help="Number of chains.")] = 4,
    warmup: Annotated[int, typer.Option(help="Warm-up steps of each chain.")] = 1000,
    draws: Annotated[int, typer.Option(help="Draws of each chain.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same draws.")] = 0,
    target_accept: Annotated[
        float | None,
        typer.Option(
            help="Acceptance rate that warm-up aims at; by default 0.8, or 0.95 for a screen model "
            "of fewer than 20 lines."
        ),
    ] = None,
    keep_effects: Annotated[
        KeepEffects,
        typer.Option(help="draws of all effects, or a summary: exact means and SDs alone."),
    ] = "draws",
    chain_method: Annotated[
        ChainMethod, typer.Option(help="How the chains share the machine.")
    ] = "auto",
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Directory to keep the run in as it goes; see resume."),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Write draws of effects as they are drawn, and hold none in memory; done by "
            "itself where they would not fit.",
        ),
    ] = False,
    figures: Annotated[bool, typer.Option(help="Whether to draw figures.")] = True,
    report: Annotated[
        bool, typer.Option(help="Whether to write report.html, with the figures that are drawn.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only problems.")] = False,
) -> int:
    """Fit a table and write posterior, tables, diagnostics, figures and a report to a directory."""
    if interaction is False and model == "additive" and not (slopes or noise_by):
        raise InputError(
            "--no-interaction leaves a part of the screen model out, and no other part is asked "
            "for: add --model screen, or choose parts with --slopes and --noise-by; the additive "
            "model has no interaction to leave out."
        )
    check_priors(prior or ())
    command = Command(
        table=os.path.abspath(table) if checkpoint else str(table),
        wide=wide,
        response=response,
        factors=split("--factors", factors),
        model=model,
        slopes=slopes or "",
        noise_by=split("--noise-by", noise_by) if noise_by else (),
        interaction="" if interaction is None else "yes" if interaction else "no",
        nested=nested or "",
        sample=sample or "",
        out=os.path.abspath(out) if checkpoint else str(out),
        parameterization=parameterization,
        noise=noise,
        priors=priors,
        prior=tuple(prior or ()),
        num_chains=chains,
        num_warmup=warmup,
        num_draws=draws,
        seed=seed,
        target_accept=target_accept,
        keep_effects=keep_effects,
        chain_method=chain_method,
        stream=stream,
        figures=figures,
        report=report,
    )
    return run(command, checkpoint, quiet)
