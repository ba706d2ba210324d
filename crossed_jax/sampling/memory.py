"""What a run needs of memory, refused before any of it is taken."""

from pathlib import Path

from crossed_jax.errors import InputError
from crossed_jax.sampling.settings import RunSettings

# As measured, in bytes: a chain holds its state, a buffer of draws and, where chains move side by
# side, what each doubling of a trajectory holds on to; a draw is kept, and copied at the end.
OF_CHAIN = 4096
OF_COORDINATE, OF_COORDINATE_SIDE_BY_SIDE = 320, 1024
OF_DRAW = 256
OF_WARMUP_STEP = 16


def most_draws_in_memory(num_effects: int) -> int | None:
    """How many draws of effects would fit into memory; None where the system does not say."""
    available = _available_memory()
    if available is None:
        return None
    # the draws, and a copy while they are written
    return available // (16 * num_effects)


def check_run(settings: RunSettings, num_coordinates: int) -> None:
    """Refuse a run whose chains would not fit, whatever is kept of the effects.

    Raises
    ------
    InputError
        With what would fit.
    """
    available = _available_memory()
    if available is None:
        return
    vectorized = settings.chain_method == "vectorized"
    of_coordinate = OF_COORDINATE_SIDE_BY_SIDE if vectorized else OF_COORDINATE
    needs = (
        ("chains", settings.num_chains, OF_CHAIN + num_coordinates * of_coordinate),
        ("draws of each chain", settings.num_draws, settings.num_chains * OF_DRAW),
        ("warm-up steps", settings.num_warmup, OF_WARMUP_STEP),
    )
    for name, number, each in needs:
        if number * each > available:
            raise InputError(
                f"{number:,} {name} need {number * each / 2**30:,.1f} GiB of memory, which is not "
                f"free: ask for {available // each:,} or fewer."
            )


def check_draws(num_effects: int, num_draws: int, parameterization: str | None) -> None:
    """Refuse draws of the effects that would not fit.

    The form says what else could be done; None leaves no choice but fewer draws.
    """
    most = most_draws_in_memory(num_effects)
    if most is not None and num_draws > most:
        ways = [f"ask for {max(1, most):,} draws in all"]
        if parameterization not in (None, "original"):
            ways.append("stream them to a file (stream_to=)")
        if parameterization == "collapsed":
            ways.append("keep a summary alone (keep_effects='summary')")
        raise InputError(
            f"{num_draws:,} draws of {num_effects:,} effects need "
            f"{16 * num_draws * num_effects / 2**30:.1f} GiB of memory, which is not free: "
            f"{', or '.join(ways)}."
        )


def _available_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024
