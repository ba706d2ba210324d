"""Trees whose noise has a second quantity."""

import numpy as np
import xarray as xr


def with_heavy_noise(tree, nu):
    """Give a tree draws of nu, as those of Student-t noise have."""
    posterior = tree["posterior"].to_dataset()
    posterior["nu"] = (("chain", "draw"), np.broadcast_to(nu, posterior["sigma"].shape))
    tree["posterior"] = xr.DataTree(posterior)
    tree.attrs["noise"] = "student_t"
    return tree
