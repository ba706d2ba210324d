"""How far a run has come, in one line of a terminal."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def start(label: str) -> Report:
            task = bars.add_task(label, total=None, status="compiling")
            return lambda run: bars.update(
                task, total=run.total, completed=run.done, status=_status(run)
            )

        yield start


def _status(run: "Progress") -> str:
    status = f"{'warm-up' if run.warming_up else 'sampling'} {run.done}/{run.total}"
    if run.divergences:
        status += f", {run.divergences} divergences"
    if not math.isnan(run.ess):
        status += f", ESS {run.ess:,.0f}"
    return status
