"""What ``fit`` and ``resume`` do: from a command to a directory of results."""

import importlib
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from crossed_jax.cli.command import Command
from crossed_jax.cli.figures import NotDrawn, tell_left_out, write_figures
from crossed_jax.cli.interruption import interruptible
from crossed_jax.cli.messages import one_line, say
from crossed_jax.cli.progress import progress
from crossed_jax.cli.report import POSTERIOR, with_flags, write_report
from crossed_jax.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from crossed_jax.results.verdict import Diagnosis
    from crossed_jax.tables.crossed_data import CrossedData

NEEDED_AFTERWARDS = ("h5netcdf", "crossed_jax.results.tree", "crossed_jax.results.tables")


def run(command: Command, checkpoint: Path | None, quiet: bool) -> int:
    """Fit a table and write what came of it.

    Parameters
    ----------
    command
        What to fit, how, and where the results go.
    checkpoint
        A directory to keep the run in as it goes.
    quiet
        Say nothing of a run that went well.

    Returns
    -------
    int
        The exit code: 3 if the diagnostics say not to trust the draws, else 0.
    """
    from crossed_jax.arguments import seed_number
    from crossed_jax.results.output import staged_directory

    seed_number(command.seed)
    staged = staged_directory(command.out, command.table, checkpoint)
    with interruptible(checkpoint), staged as folder:
        clock = time.perf_counter()
        data = read(
            command.table,
            command.wide,
            response=command.response,
            factors=command.factors,
            nested=command.nested or None,
            sample=command.sample or None,
        )
        seconds = {"read": time.perf_counter() - clock}
        clock = time.perf_counter()
        from crossed_jax.fitting import fit  # late: a bad table is told at once
        from crossed_jax.sampling.checkpoint import noting

        drawn = ("crossed_jax.results.plots",) if command.figures else ()
        told = ("crossed_jax.results.report",) if command.report else ()
        _import_beside((*NEEDED_AFTERWARDS, *drawn, *told))
        seconds["import"] = time.perf_counter() - clock
        if command.chain_method == "parallel":
            _offer_processors()
        with progress(quiet) as report, noting(command._asdict()):
            tree = fit(
                data,
                checkpoint=checkpoint,
                stream_to=folder / POSTERIOR if _streams(command, data) else None,
                report=report(command.parameterization),
                **command.settings(data),
            )
        diagnosis, left_out = _write(tree, data, folder, seconds, command)
    _tell(diagnosis, quiet)
    tell_left_out(left_out, quiet)
    if not quiet:
        say(f"Results are in {command.out}.")
    return 0 if diagnosis.converged else 3


def read(
    table: str | Path,
    wide: bool,
    *,
    response: str,
    factors: tuple[str, ...],
    nested: str | None,
    sample: str | None,
) -> "CrossedData":
    """Read a table of one row for each measurement, or a matrix."""
    from crossed_jax.tables.read import read_table
    from crossed_jax.tables.wide import read_wide

    if wide and (nested or sample):
        raise InputError(
            f"a matrix has no column for {'--nested' if nested else '--sample'}: leave it out, or "
            "give a table with one row for each measurement, without --wide."
        )
    if wide:
        return read_wide(table, response=response, factors=factors)
    return read_table(table, response=response, factors=factors, nested=nested, sample=sample)


def _import_beside(names: tuple[str, ...]) -> None:
    """Import in a thread of its own: compiling and sampling leave the interpreter free."""

    def bring() -> None:
        for name in names:
            with suppress(Exception):  # told where it is needed
                importlib.import_module(name)

    threading.Thread(target=bring).start()


def _offer_processors() -> None:
    """Let each processor be a device, unless the user has chosen their number."""
    import jax

    if jax.config.jax_num_cpu_devices < 1:
        jax.config.update("jax_num_cpu_devices", os.cpu_count())


def _streams(command: Command, data: "CrossedData") -> bool:
    """Whether draws of effects go to the file as they are drawn: if wanted, or if they must."""
    from crossed_jax.sampling.memory import most_draws_in_memory

    most = most_draws_in_memory(data.num_levels)
    can_stream = command.parameterization != "original" and not command.has_parts
    keeps_draws = command.keep_effects == "draws" and can_stream
    too_many = most is not None and command.num_chains * command.num_draws > most
    return command.stream or (keeps_draws and too_many)


def _write(
    tree: "xr.DataTree",
    data: "CrossedData",
    folder: Path,
    seconds: dict[str, float],
    command: Command,
) -> tuple["Diagnosis", NotDrawn]:
    from crossed_jax.models.model import parts_of
    from crossed_jax.results.output import (
        run_record,
        write_csv,
        write_json,
        write_parquet,
        write_tree,
    )
    from crossed_jax.results.tables import tables_of
    from crossed_jax.results.unit_evidence import unit_evidence

    clock = time.perf_counter()
    tables = tables_of(tree)
    write_csv(tables.effects, folder / "effects.csv")
    write_csv(tables.components, folder / "variance_components.csv")
    called = tables.hits
    if tables.cells is not None and called is not None:
        write_parquet(tables.cells, folder / "interactions.parquet")
        parts = parts_of(tree.attrs, data.factor_names)
        if parts is not None and parts.nested is not None:
            evidence = unit_evidence(tree, data, called)
            called = called.join(evidence, on=data.factor_names, maintain_order="left")
        write_csv(called, folder / "hits.csv")
    write_csv(tables.parameters, folder / "parameters.csv")
    write_json(tables.diagnosis.to_dict(), folder / "diagnostics.json")
    if not (folder / POSTERIOR).exists():  # else it was written as it was drawn
        write_tree(tree, folder / POSTERIOR)
    left_out = write_figures(tree, data, folder / "figures") if command.figures else {}
    if command.report:
        left_out = write_report(tree, folder, left_out, tables._replace(hits=called))
    tree.close()
    seconds["write"] = time.perf_counter() - clock
    told = {"figures_left_out": {name: one_line(why) for name, why in left_out.items()}}
    write_json(run_record(tree, seconds) | told, folder / "run.json")
    return tables.diagnosis, left_out


def _tell(diagnosis: "Diagnosis", quiet: bool) -> None:
    if quiet and diagnosis.converged:
        return
    say(str(with_flags(diagnosis)))
