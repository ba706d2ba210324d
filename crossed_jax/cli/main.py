"""The command line: ``crossed-jax demo | simulate | fit | resume``.

Exit codes: 0, done and converged; 2, bad input, told in one line on stderr; 3, done, but the
diagnostics say not to trust the result, and why; 130, interrupted.
"""

import math
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossed_jax.cli.usage import explain
from crossed_jax.errors import InputError

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr

    from crossed_jax.sampling.checkpoint import Command
    from crossed_jax.tables.data import CrossedData

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: quicker, and whole at any width
    help="Fit crossed varying-intercept models: exact, pooled on every factor, without the ridge.",
)


POSTERIOR = "posterior.nc"
FIGURE_PREDICTIONS = 20_000_000


class InterruptedRunError(Exception):
    """Ctrl-C; the message says what there is of the run."""


class Parameterization(StrEnum):
    auto = "auto"
    original = "original"
    design_matrix = "design_matrix"
    sum_to_zero = "sum_to_zero"
    collapsed = "collapsed"


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


@app.command()
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
) -> None:
    """Fit a table and write posterior, tables, diagnostics and figures to a directory."""
    from crossed_jax.sampling.checkpoint import Command

    command = Command(
        table=os.path.abspath(table) if checkpoint else str(table),
        response=response,
        factors=_split(factors),
        out=os.path.abspath(out) if checkpoint else str(out),
        parameterization=parameterization.value,
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
    _fit(command, checkpoint, quiet)


@app.command()
def resume(
    checkpoint: Annotated[Path, typer.Argument(help="What fit was given as --checkpoint.")],
    extend: Annotated[
        int, typer.Option(min=0, help="Draws of each chain to add to those first asked for.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only problems.")] = False,
) -> None:
    """Go on with a fit that was interrupted or killed, or add draws to one that is finished."""
    from crossed_jax.sampling.checkpoint import load_command

    command = load_command(checkpoint)
    _fit(command._replace(num_draws=command.num_draws + extend), checkpoint, quiet)


def _fit(command: "Command", checkpoint: Path | None, quiet: bool) -> None:
    from crossed_jax.arguments import seed_number
    from crossed_jax.results.output import staged_directory
    from crossed_jax.sampling.checkpoint import Commanded
    from crossed_jax.tables.data import read_table

    seed_number(command.seed)
    table, response, factors, out, *_ = command
    settings = command._asdict()
    for name in ("table", "response", "factors", "out", "stream", "figures"):
        del settings[name]  # the rest is what fit is given
    with _interruptible(checkpoint), staged_directory(out, table, checkpoint) as folder:
        clock = time.perf_counter()
        data = read_table(table, response=response, factors=tuple(factors))
        seconds = {"read": time.perf_counter() - clock}
        clock = time.perf_counter()
        from crossed_jax.fitting import fit as fit_model  # late: a bad table is told at once
        from crossed_jax.fitting import import_beside
        from crossed_jax.sampling.memory import most_draws_in_memory

        import_beside(("h5netcdf",))
        seconds["import"] = time.perf_counter() - clock
        if command.chain_method == "parallel":
            import jax

            # a device for each processor, unless the user has chosen their number
            if jax.config.jax_num_cpu_devices < 1:
                jax.config.update("jax_num_cpu_devices", os.cpu_count())
        most = most_draws_in_memory(data)
        keeps_draws = command.keep_effects == "draws" and command.parameterization != "original"
        too_many = most is not None and command.num_chains * command.num_draws > most
        stream_to = None
        if command.stream or (keeps_draws and too_many):
            stream_to = folder / POSTERIOR
        with _progress(quiet) as report:
            tree = fit_model(
                data,
                checkpoint=checkpoint and Commanded(checkpoint, command),
                stream_to=stream_to,
                report=report(command.parameterization),
                **settings,
            )
        diagnosis, left_out = _write_fit(tree, data, folder, seconds, command.figures)
    _tell(diagnosis, quiet)
    _tell_left_out(left_out, quiet)
    if not quiet:
        _say(f"Results are in {out}.")
    if not diagnosis.converged:
        raise typer.Exit(3)


@contextmanager
def _interruptible(checkpoint: Path | None) -> Iterator[None]:
    """Say what there is of a run that is interrupted in this block."""
    try:
        yield
    except KeyboardInterrupt:
        from crossed_jax.sampling.checkpoint import COMMAND

        begun = checkpoint is not None and (checkpoint / COMMAND).exists()
        raise InterruptedRunError(
            f"go on with: crossed-jax resume {checkpoint}" if begun else "nothing was written."
        ) from None


def _write_fit(
    tree: "xr.DataTree",
    data: "CrossedData",
    folder: Path,
    seconds: dict[str, float],
    figures: bool,
) -> tuple[Any, dict[str, str | Exception]]:
    from crossed_jax.results.convergence import convergence
    from crossed_jax.results.output import run_record, write_csv, write_json, write_tree
    from crossed_jax.results.summaries import effects, variance_components
    from crossed_jax.results.verdict import diagnose

    clock = time.perf_counter()
    statistics = convergence(tree)
    diagnosis = diagnose(tree, statistics)
    write_csv(effects(tree, statistics=statistics), folder / "effects.csv")
    write_csv(variance_components(tree), folder / "variance_components.csv")
    write_json(diagnosis.to_dict(), folder / "diagnostics.json")
    if not (folder / POSTERIOR).exists():  # else it was written as it was drawn
        write_tree(tree, folder / POSTERIOR)
    left_out = _write_figures(tree, data, folder / "figures") if figures else {}
    tree.close()
    seconds["write"] = time.perf_counter() - clock
    told = {"figures_left_out": {name: _one_line(why) for name, why in left_out.items()}}
    write_json(run_record(tree, seconds) | told, folder / "run.json")
    return diagnosis, left_out


def _write_figures(
    tree: "xr.DataTree", data: "CrossedData", folder: Path
) -> dict[str, str | Exception]:
    """Draw what can be drawn; say of each figure that is left out why, or what failed."""
    left_out: dict[str, str | Exception] = {}
    try:
        from crossed_jax.results import plots
        from crossed_jax.results.predict import posterior_predictive

        num_draws = FIGURE_PREDICTIONS // (len(data.response) * tree["posterior"].sizes["chain"])
        if f"{data.factors[0].name}_effect" not in tree["posterior"]:
            left_out["posterior_predictive"] = "the draws of the effects were not kept"
        elif num_draws < 50:
            left_out["posterior_predictive"] = (
                f"{len(data.response):,} rows are too many to predict in passing; "
                "crossed_jax.posterior_predictive does it"
            )
        else:
            # some hundred draws place the 95% intervals well enough to be seen
            seed = int(tree.attrs["seed"])
            tree = posterior_predictive(tree, data, num_draws=min(num_draws, 200), seed=seed)
        return left_out | plots.save_figures(tree, folder)
    except Exception as error:  # whatever it is, figures are not worth the fit
        return left_out | {"figures": error}


def _tell_left_out(left_out: Mapping[str, str | Exception], quiet: bool) -> None:
    """Tell in one line which figures are missing; when quiet, only those that failed."""
    told = [
        f"{name} ({_one_line(why)})"
        for name, why in left_out.items()
        if isinstance(why, Exception) or not quiet
    ]
    if told:
        _say(f"Not drawn: {', '.join(told)}.")


def _one_line(why: str | Exception) -> str:
    text = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
    return textwrap.shorten(text, 300, placeholder="...").rstrip(".")


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="The table to write: .csv, .tsv or .parquet.")],
    genes: Annotated[int, typer.Option(help="Number of genes.")] = 3,
    cell_lines: Annotated[int, typer.Option(help="Number of cell lines.")] = 10,
    replicates: Annotated[
        str,
        typer.Option(
            metavar="N or N-N",
            help="Replicates of each gene in each line; 1-4: each line draws its number.",
        ),
    ] = "3",
    missing: Annotated[
        float, typer.Option(help="Fraction of the gene x line combinations to leave out.")
    ] = 0.0,
    gene_mean: Annotated[float, typer.Option(help="Mean of the genes' intercepts.")] = -1.0,
    cell_line_mean: Annotated[float, typer.Option(help="Mean of the lines' intercepts.")] = 0.0,
    gene_sd: Annotated[float, typer.Option(help="SD of the genes' intercepts.")] = 0.5,
    cell_line_sd: Annotated[float, typer.Option(help="SD of the lines' intercepts.")] = 0.5,
    noise_sd: Annotated[float, typer.Option(help="SD of the noise.")] = 0.05,
    seed: Annotated[int, typer.Option(help="The same seed gives the same table.")] = 0,
) -> None:
    """Simulate a gene x cell line screen; the post's, unless told otherwise."""
    from crossed_jax.tables.simulate import (
        replicate_range,
        require_replaceable,
        screen_frame,
        simulate_screen,
        write_table,
    )

    require_replaceable(out)
    simulation = simulate_screen(
        num_genes=genes,
        num_cell_lines=cell_lines,
        num_replicates=replicate_range(replicates),
        missing=missing,
        gene_mean=gene_mean,
        cell_line_mean=cell_line_mean,
        gene_sd=gene_sd,
        cell_line_sd=cell_line_sd,
        noise_sd=noise_sd,
        seed=seed,
    )
    write_table(screen_frame(simulation), out)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Directory for table and figures.")] = Path(
        "crossed-jax-demo"
    ),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Fit the post's data in four forms at the post's settings, and show what the ridge costs."""
    from crossed_jax.results.output import staged_directory

    with _interruptible(None), staged_directory(out) as folder:
        from crossed_jax.demo import compare, explain, fit_forms
        from crossed_jax.results import plots
        from crossed_jax.results.output import write_csv, write_tree
        from crossed_jax.results.predict import posterior_predictive
        from crossed_jax.results.tree import original_coordinates
        from crossed_jax.tables.simulate import screen_frame, simulate_screen, write_table

        simulation = simulate_screen(seed=0)
        write_table(screen_frame(simulation), folder / "screen.csv")
        with _progress(quiet) as report:
            trees = fit_forms(simulation.data, report)
        for form, tree in trees.items():
            write_tree(tree, folder / f"{form}.nc")
        comparison = compare(trees)
        write_csv(comparison, folder / "comparison.csv")
        tree = posterior_predictive(trees["sum_to_zero"], simulation.data, num_draws=500)
        failures = plots.save_figures(tree, folder / "figures", simulation.truth)
        recovered = original_coordinates(trees["sum_to_zero"])
        ridge = {"ridge": lambda: plots.ridge(trees["original"], recovered)}
        failures |= plots.save(ridge, folder / "figures")
    _tell_left_out(failures, quiet)
    _print_comparison(comparison)
    print(explain(comparison))
    print(f"Tables, draws and figures are in {out}.")


def _print_comparison(comparison: "pl.DataFrame") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    headings = {
        "form": "form",
        "compile_s": "compile\ns",
        "sampling_s": "sample\ns",
        "min_ess": "min\nESS",
        "ess_per_s": "ESS\nper s",
        "divergences": "diver-\ngences",
        "max_tree_depth_hits": "at max\ndepth",
        "max_r_hat": "max\nR-hat",
    }
    decimals = {"compile_s": 1, "sampling_s": 1, "max_r_hat": 3}
    table = Table(
        title="The post's 90 rows, 2 chains x (1000 warm-up + 4000 draws)",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name, heading in headings.items():
        table.add_column(heading, justify="left" if name == "form" else "right", no_wrap=True)
    for row in comparison.iter_rows(named=True):
        cells = [row["form"]]
        for name, heading in list(headings.items())[1:]:
            # of the post's own ESS only an upper bound is known
            bound = "< " if row["compile_s"] is None and "ESS" in heading else ""
            value = row[name]
            cells.append("" if value is None else f"{bound}{value:,.{decimals.get(name, 0)}f}")
        table.add_row(*cells)
    Console().print(table)


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


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], Callable[[Any], None] | None]]:
    """Show one line of progress per fit on stderr, nothing when quiet or not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda label: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:

        def start(label: str) -> Callable[[Any], None]:
            task = bars.add_task(label, total=None, status="compiling")

            def report(progress: Any) -> None:
                stage = "warm-up" if progress.warming_up else "sampling"
                status = f"{stage} {progress.done}/{progress.total}"
                if progress.divergences:
                    status += f", {progress.divergences} divergences"
                if not math.isnan(progress.ess):
                    status += f", ESS {progress.ess:,.0f}"
                bars.update(task, total=progress.total, completed=progress.done, status=status)

            return report

        yield start


def _say(text: str) -> None:
    # labels come from files: what could steer a terminal is shown as its escape sequence
    text = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    print(text, file=sys.stderr)


def _complain(text: str) -> None:
    _say(f"crossed-jax: {' '.join(text.split())}")


def _tell(diagnosis: Any, quiet: bool) -> None:
    if not (quiet and diagnosis.converged):
        _say(str(diagnosis))


def main() -> None:
    """Run the command line and end the process at once."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or what was begun would be left
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking the interpreter down module by module takes most of a second


def run() -> int:
    """Run the command line; bad input ends in one line on stderr and exit code 2."""
    arguments = sys.argv[1:] or ["--help"]
    os.environ["MPLBACKEND"] = "agg"  # a notebook's may not be installed here
    try:
        code = app(arguments, prog_name="crossed-jax", standalone_mode=False)
    except typer.TyperException as error:
        _complain(explain(error))
        return 2
    except InputError as error:
        _complain(str(error))
        return 2
    except InterruptedRunError as stop:
        _complain(f"interrupted; {stop}")
        return 130
    except OSError as error:
        what = f"{str(error.filename)!r}" if error.filename else "a file"
        _complain(
            f"{what} cannot be used ({error.strerror or error}): name files and directories that "
            "can be read and written."
        )
        return 2
    if code == 130:  # how Typer ends on Ctrl-C
        _complain("interrupted.")
    return code or 0
