"""``crossed-jax resume``."""

from pathlib import Path
from typing import Annotated

import typer

from crossed_jax.cli.command import load_command
from crossed_jax.cli.run import run


def resume(
    checkpoint: Annotated[Path, typer.Argument(help="What fit was given as --checkpoint.")],
    extend: Annotated[
        int, typer.Option(min=0, help="Draws of each chain to add to those that there are.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only problems.")] = False,
) -> int:
    """Go on with a fit that was interrupted or killed, or add draws to one that is finished."""
    command = load_command(checkpoint)
    longer = command._replace(num_draws=command.num_draws + extend)
    return run(longer, checkpoint, quiet)
