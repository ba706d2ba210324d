"""Noise with a second quantity, as the results must be able to meet it."""

import numpy as np
import xarray as xr

from crossed_jax.models.noise import Quantity


class Heavy:
    """Student-t noise: its SD is not sigma, and infinite unless nu is more than 2."""

    quantities = (
        Quantity("sigma", "residual scale", in_unit=True),
        Quantity("nu", "degrees of freedom", in_unit=False),
    )

    @staticmethod
    def variance(values):
        nu = values["nu"]
        finite = values["sigma"] ** 2 * nu / np.where(nu > 2, nu - 2, 1)
        return np.where(nu > 2, finite, np.inf)


def with_heavy_noise(tree, nu, monkeypatch, *modules):
    """Give a tree draws of nu, and let modules of the results take its noise for `Heavy`."""
    posterior = tree["posterior"].to_dataset()
    shape = posterior["sigma"].shape
    posterior["nu"] = (("chain", "draw"), np.broadcast_to(nu, shape))
    tree["posterior"] = xr.DataTree(posterior)
    for module in modules:
        monkeypatch.setattr(f"crossed_jax.results.{module}.noise_of", lambda _: Heavy)
    return tree
