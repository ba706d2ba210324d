"""The files of a finished run, written whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crossed_jax.data import InputError
from crossed_jax.files import locked, reason, require_room, staging

if TYPE_CHECKING:
    import xarray as xr


@contextmanager
def staged_directory(target: str | Path) -> Iterator[Path]:
    """Write into a temporary directory that takes the target's place when all went well.

    Files that the target already holds are replaced one by one, each atomically, if the new run
    has a file of that name; others are left alone. If the block raises, nothing changes.

    Raises
    ------
    InputError
        If the target is a file, or cannot be written.
    """
    target = Path(target)
    place = Path(os.path.realpath(target))
    try:
        if place.exists() and not place.is_dir():
            raise InputError(
                f"cannot write to {str(target)!r}: it is a file; name a directory with --out."
            )
        # where files can be moved from into place: inside it, as it may be a mounted volume
        home = next(folder for folder in (place, *place.parents) if folder.exists())
        with staging(home) as folder:
            yield folder
            _publish(folder, place)
    except OSError as error:
        raise _unwritable(target, error) from None


def _publish(staged: Path, target: Path) -> None:
    moves = {path: target / path.relative_to(staged) for path in sorted(staged.rglob("*"))}
    for source, destination in moves.items():
        if destination.exists() and destination.is_dir() != source.is_dir():
            kind = "directory" if destination.is_dir() else "file"
            raise InputError(
                f"cannot write {str(destination)!r}: a {kind} is in its place; move it, or name "
                "another directory with --out."
            )
    target.mkdir(parents=True, exist_ok=True)
    with locked(target):  # the files of two runs that end together must not mix
        for source, destination in moves.items():
            if source.is_dir():
                destination.mkdir(exist_ok=True)
            else:
                os.replace(source, destination)


def _unwritable(target: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write to {str(target)!r} ({reason(error)}): name a directory that can be written "
        "with --out."
    )


def write_tree(tree: "xr.DataTree", path: Path) -> None:
    """Write a DataTree as netCDF 4."""
    require_room(path, tree.nbytes)
    tree.to_netcdf(path, engine="h5netcdf")


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
        "parameterization": attrs["parameterization"],
        # which of them there are depends on the form
        **{
            name: json.loads(attrs[name])
            for name in ("centered", "interpolation_error", "effects_drawn_to")
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
        "device": attrs["device"],
        "cache": attrs["cache"],
        "versions": json.loads(attrs["versions"]),
        "created_at": attrs["created_at"],
    }
