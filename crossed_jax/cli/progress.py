"""How far a run has come, in one line of a terminal."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from crossed_jax.sampling.chunks import Progress

type Report = Callable[["Progress"], None]


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[str], Report | None]]:
    """Show a line for each run on stderr, nothing when quiet or not a terminal.

    Gives what starts a line, by its label.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda label: None
        return
    with _bars() as bars:

        def start(label: str) -> Report:
            task = bars.add_task(label, total=None, status="compiling")
            return lambda run: bars.update(
                task, total=run.total, completed=run.done, status=_status(run)
            )

        yield start


@contextmanager
def counted(quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """Show a line for each thing that is gone through, likewise.

    Gives what is to be called with its label, how many are done, and of how many.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with _bars() as bars:
        tasks: dict[str, TaskID] = {}

        def count(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total, status="")
            bars.update(tasks[label], completed=done, status=f"left out {done:,}/{total:,}")

        yield count


def _bars() -> "Bars":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))


def _status(run: "Progress") -> str:
    status = f"{'warm-up' if run.warming_up else 'sampling'} {run.done}/{run.total}"
    if run.divergences:
        status += f", {run.divergences} divergence{'s' if run.divergences > 1 else ''}"
    if not math.isnan(run.ess):
        status += f", ESS {run.ess:,.0f}"
    return status
