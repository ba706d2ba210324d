"""Draws of effects on disk: written as they are drawn, read a few levels at a time.

Sampling gives some draws of all levels, and what is told of a level needs all of its draws. So the
file, netCDF 4 in the layout of the tree of :func:`~crossed_jax.posterior.to_datatree`, stores the
effects in chunks of some draws by as many levels as are read at once with all their draws: memory
grows neither with the draws that are written nor with those that are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossed_jax.data import CrossedData, InputError
from crossed_jax.effective_sample_size import quantities_at_once
from crossed_jax.files import reason, require_room, set_aside
from crossed_jax.models.form import Quantities

if TYPE_CHECKING:
    import xarray as xr

DRAWS_IN_CHUNK = 500
CHUNK_NUMBERS = 2**17


@dataclass(frozen=True)
class Rows:
    """A factor's effects in the file, assigned to as an array of shape (chains * draws, levels)."""

    variable: Any

    def __setitem__(self, rows: slice, values: np.ndarray) -> None:
        num_draws = self.variable.shape[1]
        start = rows.start
        while len(values):
            chain, first = divmod(start, num_draws)
            fitting = min(len(values), num_draws - first)
            self.variable[chain, first : first + fitting] = values[:fitting]
            values, start = values[fitting:], start + fitting


class DrawsFile:
    """A file of draws that is being written; see :func:`drawing_to`."""

    def __init__(self, path: Path, data: CrossedData, num_chains: int, num_draws: int) -> None:
        size = 8 * num_chains * num_draws * sum(len(factor.levels) for factor in data.factors)
        require_room(path, size)
        import h5netcdf
        import h5py
        import xarray as xr

        labels = {factor.name: np.array(factor.levels) for factor in data.factors}
        index = {"chain": np.arange(num_chains), "draw": np.arange(num_draws)}
        xr.Dataset(coords=index | labels).to_netcdf(path, group="posterior", engine="h5netcdf")
        self.path = path
        self.num_draws = num_draws
        self._file = h5netcdf.File(path, "a")
        width = quantities_at_once(num_chains * num_draws)
        at_once = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        at_once.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        at_once.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        self.effects = [
            Rows(
                self._file["posterior"].create_variable(
                    f"{name}_effect",
                    ("chain", "draw", name),
                    "f8",
                    chunks=(
                        1,
                        max(1, min(num_draws, DRAWS_IN_CHUNK, CHUNK_NUMBERS // width)),
                        min(width, len(levels)),
                    ),
                    dcpl=at_once,
                )
            )
            for name, levels in labels.items()
        ]
        self._file.flush()
        _reserve(path)

    def keep(self, before: int, drawn: Quantities) -> Quantities:
        """Write the effects of some draws, leading dimensions (draws, chains); return the rest."""
        for rows, effects in zip(self.effects, drawn.effects, strict=True):
            for chain in range(effects.shape[1]):
                start = chain * self.num_draws + before
                rows[start : start + len(effects)] = np.asarray(effects)[:, chain]
        return drawn._replace(effects=())

    def finish(self, tree: xr.DataTree) -> None:
        """Write all else that a fit consists of."""
        self._file.close()
        require_room(self.path, tree.nbytes)
        for node in tree.subtree:
            group = node.path.strip("/") or None
            node.to_dataset(inherit=False).to_netcdf(
                self.path, mode="a", group=group, engine="h5netcdf"
            )

    def close(self) -> None:
        """Close the file as it is."""
        self._file.close()


def _reserve(path: Path) -> None:
    """Take all of a file's blocks now: HDF5 does not bear a disk that fills up under it."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


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
    try:
        with (
            set_aside(path) as part,
            closing(DrawsFile(part, data, num_chains, num_draws)) as file,
        ):
            yield file
    except OSError as error:
        raise InputError(
            f"cannot write draws to {str(path)!r} ({reason(error)}): name a file that can be "
            "written."
        ) from None


def open_draws(path: str | Path) -> xr.DataTree:
    """Open a file of draws as a tree that reads what it is asked for."""
    import xarray as xr

    return xr.open_datatree(path, engine="h5netcdf")
