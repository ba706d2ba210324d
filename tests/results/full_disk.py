"""Write draws where there is less and less room, each time in a process that then ends as usual.

    python tests/full_disk.py held|streamed FOLDER [BALLAST]

Room is what a limit on the size of files leaves, or, with BALLAST, the name of a file to fill it
with, the disk. Prints how each process ended: 0, written; 2, told that there is no room.
"""

import os
import resource
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from crossed_jax.errors import InputError
from crossed_jax.results.draws_file import drawing_to
from crossed_jax.results.output import write_tree
from crossed_jax.tables.simulate import simulate_screen

DATA = simulate_screen(num_genes=40, num_cell_lines=20, num_replicates=1).data
EFFECTS = [np.ones((500, 4, len(factor.levels))) for factor in DATA.factors]
REST = {f"v{i}": (("chain", "draw"), np.ones((4, 500))) for i in range(6)}
TREE = xr.DataTree.from_dict({group: xr.Dataset(REST) for group in ("sample_stats", "other")})
NEEDED = {"held": TREE.nbytes, "streamed": TREE.nbytes + sum(x.nbytes for x in EFFECTS)}


def limit(folder, room, ballast):
    if ballast is None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        return
    disk = os.statvfs(folder)
    ballast.write_bytes(bytes(max(0, disk.f_bavail * disk.f_bsize - room)))


def write(kind, path):
    if kind == "held":
        write_tree(TREE, path)
        return
    with drawing_to(path, DATA, 4, 500) as file:
        file.keep(0, {"{factor}_effect": EFFECTS})
        file.finish(TREE)


def main(kind, folder, ballast=None):
    ends = []
    path = Path(folder) / "posterior.nc"
    ballast = ballast and Path(ballast)
    # where the file begins, where the draws are, where what comes last is, and all of it
    for share, more in [
        (0, 2_000),
        (0.5, 0),
        *((1, k) for k in range(0, 20_000, 4_000)),
        (1, 10**6),
    ]:
        room = round(share * NEEDED[kind]) + more
        child = os.fork()
        if child == 0:
            limit(folder, room, ballast)
            try:
                write(kind, path)
            except (InputError, OSError):
                sys.exit(2)
            sys.exit(0)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        for left in (path, ballast):
            if left:
                left.unlink(missing_ok=True)
        assert not os.listdir(folder)
    print(*ends)


if __name__ == "__main__":
    main(*sys.argv[1:])
