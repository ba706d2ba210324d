"""What there is of a run that was interrupted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InterruptedRunError(Exception):
    """Ctrl-C; the message says what there is of the run."""


@contextmanager
def interruptible(checkpoint: Path | None) -> Iterator[None]:
    """Say what there is of a run that is interrupted in this block."""
    try:
        yield
    except KeyboardInterrupt:
        from crossed_jax.sampling.checkpoint import NOTE

        begun = checkpoint is not None and (checkpoint / NOTE).exists()
        raise InterruptedRunError(
            f"go on with: crossed-jax resume {checkpoint}" if begun else "nothing was written."
        ) from None
