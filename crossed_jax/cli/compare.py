"""``crossed-jax compare``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossed_jax.cli.columns import split
from crossed_jax.cli.flags import in_flags
from crossed_jax.cli.interruption import interruptible
from crossed_jax.cli.messages import say
from crossed_jax.cli.progress import counted, progress
from crossed_jax.cli.run import read
from crossed_jax.errors import InputError, shown
from crossed_jax.types import LeftOut, PriorName

if TYPE_CHECKING:
    import polars as pl

    from crossed_jax.results.verdict import Diagnosis

MODELS: dict[str, dict[str, Any]] = {  # arguments of `fit`
    "additive": {},
    "student_t": {"noise": "student_t"},
    "screen": {"model": "screen"},
}

MOST_BAD_K = 0.01  # of rows or cells


def compare(
    table: Annotated[Path, typer.Argument(help="As fit takes it.")],
    response: Annotated[str, typer.Option(help="Column of the measured response.")],
    factors: Annotated[
        list[str],
        typer.Option(metavar="COLUMNS", help="Columns of the crossed factors, as fit takes them."),
    ],
    out: Annotated[Path, typer.Option(help="Directory for the results.")],
    models: Annotated[
        str, typer.Option(metavar="MODELS", help="Two or more of additive,student_t,screen.")
    ] = "additive,screen",
    by: Annotated[
        LeftOut,
        typer.Option(
            help="What is left out at a time: a row, or a cell, which are all rows that share a "
            "level of every factor."
        ),
    ] = "row",
    wide: Annotated[bool, typer.Option("--wide", help="The table is a matrix; see fit.")] = False,
    nested: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Units that the screen model has effects of; see fit."),
    ] = None,
    sample: Annotated[str | None, typer.Option(metavar="COLUMN", help="Samples, likewise.")] = None,
    priors: Annotated[PriorName, typer.Option(help="Of all models.")] = "post",
    chains: Annotated[int, typer.Option(help="Number of chains.")] = 4,
    warmup: Annotated[int, typer.Option(help="Warm-up steps of each chain.")] = 1000,
    draws: Annotated[int, typer.Option(help="Draws of each chain.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same draws.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only problems.")] = False,
) -> int:
    """Fit several models to a table and compare them by how well they predict what is left out."""
    from crossed_jax.arguments import seed_number
    from crossed_jax.results.output import run_record, staged_directory, write_csv, write_json

    chosen = _chosen(models)
    seed_number(seed)
    settings: dict[str, Any] = {
        "priors": priors,
        "num_chains": chains,
        "num_warmup": warmup,
        "num_draws": draws,
        "seed": seed,
    }
    with interruptible(None), staged_directory(out, table) as folder:
        columns = split("--factors", factors)
        data = read(table, wide, response=response, factors=columns, nested=nested, sample=sample)
        from crossed_jax.fitting import fit  # late: a bad table is told at once
        from crossed_jax.models.model import resolved
        from crossed_jax.results.comparison import compare, require_draws

        require_draws(chains * draws)
        for name in chosen:  # told before any of them is fitted
            resolved(MODELS[name].get("model", "additive"), data)
        from crossed_jax.results.verdict import diagnose

        with progress(quiet) as report:
            trees = {
                name: fit(data, **MODELS[name], **settings, report=report(name)) for name in chosen
            }
        verdicts = {name: diagnose(tree) for name, tree in trees.items()}
        with counted(quiet) as report_of_rows:
            found = compare(trees, data, by=by, report=report_of_rows)
        write_csv(found, folder / "comparison.csv")
        told = {name: verdict.to_dict() for name, verdict in verdicts.items()}
        write_json(told, folder / "diagnostics.json")
        write_json(
            {name: run_record(tree, {}) for name, tree in trees.items()}, folder / "run.json"
        )
    _print(found)
    for name, verdict in verdicts.items():
        _tell(name, verdict, json.loads(trees[name].attrs["notes"]), quiet)
    if not quiet:
        say(f"Results are in {out}.")
    return 0 if all(verdict.converged for verdict in verdicts.values()) else 3


def _chosen(models: str) -> list[str]:
    names = [name.strip() for name in models.split(",")]
    for name in names:
        if name not in MODELS:
            raise InputError(
                f"--models {shown(models)} has an unknown model, {shown(name)}: choose two or more "
                f"of {', '.join(MODELS)}."
            )
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"--models {shown(models)} has nothing to compare: choose two or more of "
            f"{', '.join(MODELS)}, each once."
        )
    return names


def _print(found: "pl.DataFrame") -> None:
    """Show the comparison, and say in words what it comes to."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    left_out, number = found["left_out"][0], found["number"][0]
    title = f"{number:,} {left_out}s, left out one at a time"
    shown_table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    shown_table.add_column("model", no_wrap=True)
    for heading in ("elpd", "se", "behind\nbest by", "se", "weight", "k too\nlarge"):
        shown_table.add_column(heading, justify="right", no_wrap=True)
    for row in found.iter_rows(named=True):
        shown_table.add_row(
            row["model"],
            *(f"{row[name]:,.1f}" for name in ("elpd", "se")),
            *(f"{abs(row[name]):,.1f}" for name in ("elpd_diff", "dse")),
            f"{row['weight']:.2f}",
            f"{row['bad_k']:,}",
        )
    Console().print(shown_table)
    best, second = (found.row(i, named=True) for i in (0, 1))
    gap = f"{second['model']} is {-second['elpd_diff']:,.1f} ± {second['dse']:,.1f} behind"
    if -second["elpd_diff"] > 2.0 * second["dse"]:
        print(f"{best['model']} predicts a {left_out} that is left out best; {gap}.")
    else:
        print(f"{best['model']} and {second['model']} predict about as well; {gap}.")
    if found["bad_k"].max() > MOST_BAD_K * number:
        print(
            f"Of more than {MOST_BAD_K:.0%} of {left_out}s Pareto k is too large: what is left out "
            "of a model moves it too much, and neither its sum nor its place is to be relied on."
        )
    elif found["bad_k"].sum():
        print(
            f"Of the {left_out}s whose Pareto k is too large the estimate is not to be relied on; "
            "so few of them hardly move the sum."
        )


def _tell(name: str, verdict: "Diagnosis", notes: list[str], quiet: bool) -> None:
    """Say of a model what it is fitted without, and why its draws are not to be trusted."""
    told = [*([] if quiet else notes), *verdict.reasons]
    if told:
        say(f"{name}: {' '.join(map(in_flags, told))}")
