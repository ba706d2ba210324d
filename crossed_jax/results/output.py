"""The files of a finished run: all of them in their place, or none."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from crossed_jax.errors import InputError
from crossed_jax.files.hdf5_file import HDF5File
from crossed_jax.files.interrupts import deferred_interrupt
from crossed_jax.files.marker import is_marked, mark, unlisted
from crossed_jax.files.staging import move_in, put, remove_abandoned, staging
from crossed_jax.files.whole import reason

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr


@contextmanager
def staged_directory(
    out: str | Path, table: str | Path | None = None, checkpoint: str | Path | None = None
) -> Iterator[Path]:
    """Write into a directory made aside, which takes the place of `out` when all went well.

    That may be new, empty, or hold an earlier result, which is then gone as a whole. If the
    block raises, nothing changes.

    Parameters
    ----------
    out
        Where the results will be.
    table
        What is read: `out` must not hold it.
    checkpoint
        Where the run is kept: one must not hold the other.

    Raises
    ------
    InputError
        If `out` holds anything else or cannot be written: before the block, or, where only
        the end can show it, afterwards, with the results beside it.
    """
    target = Path(out)
    place = Path(os.path.realpath(target))
    try:
        for folder in (place, place.parent):
            remove_abandoned(folder)
        problem = _conflict(place, table, checkpoint) or _in_the_way(place)
        if problem:
            raise InputError(
                f"cannot write to {str(target)!r}: {problem}; name a directory that is new or "
                "empty with out=."
            )
        fixed = _why_fixed(place)
        if fixed and any(place.iterdir()):
            raise InputError(
                f"cannot replace the results in {str(target)!r} in one step ({fixed}): name "
                f"another directory with out=, such as {str(target / 'results')!r}."
            )
        home = place if fixed else next(path for path in place.parents if path.exists())
        with ExitStack() as stack:
            folder = stack.enter_context(staging(home))
            made = folder / "made"
            made.mkdir()
            if place.exists():
                _give_access_of(place, made)
            yield made
            _complete(made)
            with deferred_interrupt():  # from here on there is a result to end with
                _publish(made, target, place, move_in if fixed else put)
                stack.close()
    except OSError as error:
        raise InputError(
            f"cannot write to {str(target)!r} ({reason(error)}): name a directory that can be "
            "written with out=."
        ) from None


def _conflict(place: Path, table: str | Path | None, checkpoint: str | Path | None) -> str | None:
    """Say what of the run's own would be lost if a directory took this place, if anything would."""
    for path in (table, checkpoint):
        if path is not None and _lies_in(path, place):
            return f"{str(path)!r} lies in it and would be replaced"
    if checkpoint is not None and place.is_relative_to(os.path.realpath(checkpoint)):
        return f"the checkpoint {str(checkpoint)!r} is there"
    return None


def _lies_in(path: str | Path, place: Path) -> bool:
    """Whether a path leads to something in a place, by this or another name."""
    real = Path(os.path.realpath(path))
    if real != place and real.is_relative_to(place):
        return True
    if not real.is_file() or not is_marked(place, "results"):
        return False
    return any(other.exists() and other.samefile(real) for other in place.rglob("*"))


def _in_the_way(place: Path, staged: str | None = None) -> str | None:
    """Say what would be lost if a directory took this place, if anything would.

    Parameters
    ----------
    place
        The place.
    staged
        Name of something in it that does not count.
    """
    if not place.exists():
        return None
    if not place.is_dir():
        return "it is a file"
    held = sorted(name for name in os.listdir(place) if name != staged)
    if not held:
        return None
    foreign = unlisted(place) if is_marked(place, "results") else held[0]
    return foreign and f"it holds {foreign!r}, which is not of an earlier result"


def _why_fixed(place: Path) -> str | None:
    """Say why a directory cannot be replaced by another, if so."""
    if not place.exists():
        return None
    if os.path.ismount(place):
        return "it is a mount point"
    if Path.cwd().is_relative_to(place):
        return "it is the current directory"
    if not os.access(place.parent, os.W_OK | os.X_OK):
        return "the directory it is in cannot be written"
    if not os.access(place, os.W_OK):
        return "it is write-protected"
    return None


def _give_access_of(old: Path, new: Path) -> None:
    """Let those into a directory who were let into the one that it will replace."""
    with suppress(OSError, AttributeError):  # not the owner's group, or a system without groups
        os.chown(new, -1, old.stat().st_gid)
    shutil.copymode(old, new)


def _complete(made: Path) -> None:
    """Have all files on the disk, and say with the marker that these are all."""
    paths = sorted(made.rglob("*"))
    for path in paths:
        if path.is_file():
            with path.open("r+b") as file:
                os.fsync(file.fileno())
    mark(made, "results", [path.relative_to(made).as_posix() for path in paths])


def _publish(made: Path, target: Path, place: Path, publish: Callable[[Path, Path], None]) -> None:
    """Publish a finished result; if that cannot be done, leave it beside its place and say so."""
    staged = made.parent
    try:
        problem = _in_the_way(place, staged.name)
        if problem is None:
            place.parent.mkdir(parents=True, exist_ok=True)
            publish(made, place)
            return
    except OSError as error:
        if not made.exists():
            raise
        problem = reason(error)
    beside = staged.with_name(f"{place.name or 'results'}-{secrets.token_hex(3)}")
    made.rename(beside)
    raise InputError(
        f"cannot write to {str(target)!r} ({problem}): the results are in {str(beside)!r}."
    )


def write_tree(tree: "xr.DataTree", path: Path) -> None:
    """Write a DataTree as netCDF 4."""
    with HDF5File(path) as file:
        tree.to_netcdf(file, engine="h5netcdf")


def write_csv(table: "pl.DataFrame", path: Path) -> None:
    """Write a table that is small beside the draws."""
    path.write_bytes(table.write_csv().encode())


def write_parquet(table: "pl.DataFrame", path: Path) -> None:
    """Write a table that may be as large as the draws."""
    table.write_parquet(path)


def write_json(record: dict, path: Path) -> None:
    """Write a record as JSON that other programs can read: no NaN, no infinity."""
    path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")


def run_record(tree: "xr.DataTree", seconds: dict[str, float]) -> dict:
    """Say how a run was made: its settings, input, versions and where the time went.

    Parameters
    ----------
    tree
        The fit.
    seconds
        Time spent on parts of the run other than the fit.
    """
    attrs = dict(tree.attrs)
    return {
        "model": attrs["model"],
        "parameterization": attrs["parameterization"],
        "noise": attrs["noise"],
        # which of them there are depends on the form
        **{
            name: json.loads(attrs[name])
            for name in (
                "parts",
                "centered",
                "funnels",
                "modes",
                "interpolation_error",
                "quadrature_error",
                "interaction_error",
                "effects_drawn_to",
            )
            if name in attrs
        },
        "priors": json.loads(attrs["priors"]),
        **{
            name: int(attrs[name])
            for name in ("seed", "num_chains", "num_warmup", "num_draws", "max_tree_depth")
        },
        "target_accept": float(attrs["target_accept"]),
        "input": {
            "source": attrs["source"],
            "wide": json.loads(attrs["wide"]),
            "sha256": attrs["input_sha256"],
            "response": attrs["response"],
            "factors": json.loads(attrs["factors"]),
            "num_rows": int(attrs["num_rows"]),
            "num_missing": int(attrs["num_missing"]),
            "notes": json.loads(attrs["notes"]),
        },
        "seconds": {
            name: round(value, 4)
            for name, value in (seconds | json.loads(attrs["seconds"])).items()
        },
        "warmup_gradients": int(attrs["warmup_gradients"]),
        "device": attrs["device"],
        "cache": attrs["cache"],
        "versions": json.loads(attrs["versions"]),
        "created_at": attrs["created_at"],
    }
