"""Draws of effects on disk: written as they are drawn, read a few levels at a time.

Sampling gives some draws of all levels, and what is told of a level needs all of its draws. So the
file, netCDF 4 in the layout of the tree of :func:`~crossed_jax.results.tree.to_datatree`, stores
the effects in chunks of some draws by as many levels as are read at once with all their draws: of
the effects, neither writing nor reading holds more in memory the more draws there are.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.files.hdf5_file import HDF5File
from crossed_jax.files.staging import staging
from crossed_jax.files.whole import reason
from crossed_jax.sampling.ess import quantities_at_once
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr

DRAWS_IN_CHUNK = 500
CHUNK_NUMBERS = 2**17


@dataclass(frozen=True)
class Effects:
    """A factor's effects in the file, assigned to as an array of shape (chains, draws, levels)."""

    variable: Any
    path: Path
    file: HDF5File

    def __setitem__(self, where: tuple[int, slice], values: np.ndarray) -> None:
        with _told_of(self.path):
            self.variable[where] = values
            self.file.raise_failure()


class DrawsFile:
    """A file of draws that is being written; see :func:`drawing_to`."""

    def __init__(self, path: Path, data: CrossedData, num_chains: int, num_draws: int) -> None:
        _check_room(path, data, num_chains * num_draws)
        import h5netcdf
        import h5py
        import xarray as xr

        labels = {factor.name: factor.labels for factor in data.factors}
        index = {"chain": np.arange(num_chains), "draw": np.arange(num_draws)}
        self.path = path
        width = quantities_at_once(num_chains * num_draws)
        at_once = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        at_once.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        at_once.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        with ExitStack() as opened:
            self.file = opened.enter_context(HDF5File(path))
            xr.Dataset(coords=index | labels).to_netcdf(
                self.file, group="posterior", engine="h5netcdf"
            )
            self.file.raise_failure()  # HDF5 could not open again what it could not write
            self._hdf5 = opened.enter_context(ExitStack())
            stored = self._hdf5.enter_context(h5py.File(self.file, "a"))
            posterior = self._hdf5.enter_context(h5netcdf.File(stored, "a"))["posterior"]
            self.effects = [
                Effects(
                    posterior.create_variable(
                        of_factor(name, "effect"),
                        ("chain", "draw", name),
                        "f8",
                        chunks=(
                            1,
                            max(1, min(num_draws, DRAWS_IN_CHUNK, CHUNK_NUMBERS // width)),
                            min(width, len(levels)),
                        ),
                        dcpl=at_once,
                    ),
                    path,
                    self.file,
                )
                for name, levels in labels.items()
            ]
            stored.flush()
            _reserve(path)
            self.file.raise_failure()
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Let go of the file."""
        with _told_of(self.path):
            self._opened.close()

    def keep(self, before: int, drawn: dict[str, Any]) -> dict[str, Any]:
        """Write the effects of some draws, leading dimensions (draws, chains); return the rest."""
        name = of_factor("{factor}", "effect")
        for put, effects in zip(self.effects, drawn[name], strict=True):
            for chain in range(effects.shape[1]):
                put[chain, before : before + len(effects)] = np.asarray(effects)[:, chain]
        return {other: values for other, values in drawn.items() if other != name}

    def finish(self, tree: xr.DataTree) -> None:
        """Write all else that a fit consists of."""
        with _told_of(self.path):
            self._hdf5.close()
            self.file.raise_failure()
            for node in tree.subtree:
                group = node.path.strip("/") or None
                node.to_dataset(inherit=False).to_netcdf(
                    self.file, mode="a", group=group, engine="h5netcdf"
                )
                self.file.raise_failure()
        self.close()


def _check_room(path: Path, data: CrossedData, num_draws: int) -> None:
    num_levels = sum(len(factor.levels) for factor in data.factors)
    needed, free = 8 * num_draws * num_levels, shutil.disk_usage(path.parent).free
    if needed > free:
        raise InputError(
            f"{num_draws:,} draws of {num_levels:,} effects need {needed / 2**30:.1f} GiB on the "
            f"disk, which has {free / 2**30:.1f} free: ask for fewer draws, or name another disk."
        )


def _reserve(path: Path) -> None:
    """Take all of a file's blocks now: a disk without that room is told before the work."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def check_streaming(path: Path, keep_effects: str, parameterization: str) -> None:
    """Refuse to stream to where no file of draws can be, or what has no draws of effects.

    Raises
    ------
    InputError
        If so.
    """
    from h5py import is_hdf5

    if keep_effects == "summary":
        raise InputError(
            "a summary of the effects leaves no draws to stream: leave out one of the two."
        )
    if parameterization == "original":
        raise InputError(
            "the original form cannot stream its draws: choose another, from which "
            "original_coordinates recovers this one's."
        )
    try:
        if not path.parent.is_dir():
            raise InputError(
                f"cannot write {str(path)!r}: {str(path.parent)!r} is not a directory, and must be."
            )
        if path.is_dir():
            raise InputError(f"cannot write {str(path)!r}: it is a directory; name a file.")
        if path.exists() and not is_hdf5(path):
            raise InputError(
                f"cannot write {str(path)!r}: a file that holds no draws is in its place; name "
                "another file."
            )
    except OSError as error:
        raise InputError(
            f"cannot write {str(path)!r} ({reason(error)}): name a file in another directory."
        ) from None


@contextmanager
def drawing_to(
    path: str | Path, data: CrossedData, num_chains: int, num_draws: int
) -> Iterator[DrawsFile]:
    """Write a file of draws that takes its place if the block ends well.

    Raises
    ------
    InputError
        If it cannot be written, or the disk has too little room.
    """
    path = Path(path)
    with ExitStack() as begun:
        with _told_of(path):
            aside = begun.enter_context(staging(path.parent)) / path.name
            file = begun.enter_context(closing(DrawsFile(aside, data, num_chains, num_draws)))
        yield file
        file.close()
        with _told_of(path):
            aside.replace(path)


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Tell in one sentence that a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {path.name!r} ({reason(error)}): its directory must be there, be "
            "writable, and have room."
        ) from None


def open_draws(path: str | Path) -> xr.DataTree:
    """Open a file of draws as a tree that reads what it is asked for."""
    import xarray as xr

    return xr.open_datatree(path, engine="h5netcdf")
