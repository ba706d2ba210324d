"""``crossed-jax fit``."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crossed_jax.cli.command import Command
from crossed_jax.cli.run import run
from crossed_jax.errors import InputError


class Parameterization(StrEnum):
    auto = "auto"
    original = "original"
    design_matrix = "design_matrix"
    sum_to_zero = "sum_to_zero"
    collapsed = "collapsed"


class NoiseChoice(StrEnum):
    normal = "normal"
    student_t = "student_t"


class PriorChoice(StrEnum):
    post = "post"
    scaled = "scaled"


class ChainMethodChoice(StrEnum):
    auto = "auto"
    vectorized = "vectorized"
    parallel = "parallel"
    sequential = "sequential"


class KeepEffects(StrEnum):
    draws = "draws"
    summary = "summary"


def fit(
    table: Annotated[Path, typer.Argument(help="CSV, TSV or Parquet, one row per measurement.")],
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
    parameterization: Annotated[
        Parameterization, typer.Option(help="Form of the model to sample.")
    ] = Parameterization.auto,
    noise: Annotated[
        NoiseChoice, typer.Option(help="student_t: for a response with outliers.")
    ] = NoiseChoice.normal,
    priors: Annotated[
        PriorChoice,
        typer.Option(help="post: for log fold changes; scaled: for a response in any unit."),
    ] = PriorChoice.post,
    chains: Annotated[int, typer.Option(help="Number of chains.")] = 4,
    warmup: Annotated[int, typer.Option(help="Warm-up steps of each chain.")] = 1000,
    draws: Annotated[int, typer.Option(help="Draws of each chain.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same draws.")] = 0,
    target_accept: Annotated[
        float, typer.Option(help="Acceptance rate that warm-up aims at.")
    ] = 0.8,
    keep_effects: Annotated[
        KeepEffects,
        typer.Option(help="draws of all effects, or a summary: exact means and SDs alone."),
    ] = KeepEffects.draws,
    chain_method: Annotated[
        ChainMethodChoice, typer.Option(help="How the chains share the machine.")
    ] = ChainMethodChoice.auto,
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
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only problems.")] = False,
) -> int:
    """Fit a table and write posterior, tables, diagnostics and figures to a directory."""
    command = Command(
        table=os.path.abspath(table) if checkpoint else str(table),
        response=response,
        factors=_split(factors),
        out=os.path.abspath(out) if checkpoint else str(out),
        parameterization=parameterization.value,
        noise=noise.value,
        priors=priors.value,
        num_chains=chains,
        num_warmup=warmup,
        num_draws=draws,
        seed=seed,
        target_accept=target_accept,
        keep_effects=keep_effects.value,
        chain_method=chain_method.value,
        stream=stream,
        figures=figures,
    )
    return run(command, checkpoint, quiet)


def _split(factors: list[str]) -> tuple[str, ...]:
    if len(factors) > 1:
        return tuple(factors)
    names = tuple(name.strip() for name in factors[0].split(","))
    if len(names) > 1 and "" in names:
        raise InputError(
            f"--factors {factors[0]!r} names a column of no name: give names with one comma "
            "between, such as gene,cell_line."
        )
    return names
