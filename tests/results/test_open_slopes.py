"""Slopes are told to be open where the table says little of them, and only then."""

import numpy as np
import pytest
import xarray as xr
from synthetic_tree import synthetic_tree

import crossed_jax as cj
from crossed_jax.results.open_slopes import open_slopes


def with_slopes(tree: xr.DataTree, share_open: float, sd: float) -> xr.DataTree:
    """Draws of log slopes of which the table leaves this share of their variance open."""
    rng = np.random.default_rng(0)
    tree = tree.copy()
    posterior = tree["posterior"].to_dataset()
    slope = posterior["line_slope"]
    left = np.sqrt(share_open) * rng.normal(size=slope.shape)
    log_slope = sd * (left + np.sqrt(1.0 - share_open) * rng.normal(size=slope.sizes["line"]))
    tree["posterior"] = xr.DataTree(
        posterior.assign(
            line_slope=slope.copy(data=np.exp(log_slope)),
            line_log_slope_sd=xr.full_like(posterior["line_log_slope_sd"], sd),
        )
    )
    return tree


@pytest.mark.parametrize(
    ("share_open", "sd", "told"), [(0.9, 0.5, True), (0.2, 0.5, False), (0.9, 0.1, False)]
)
def test_slopes_that_the_table_leaves_open_are_told(
    share_open: float, sd: float, told: bool, screen_fit: xr.DataTree
) -> None:
    found = open_slopes(with_slopes(screen_fit, share_open, sd))
    assert bool(found) is told
    if told:
        assert "slopes of line are on effects of gene" in found[0].sentence
        assert "of the slopes' spread open" in found[0].sentence


def test_a_screen_and_a_model_without_slopes_are_not_told_so(screen_fit: xr.DataTree) -> None:
    assert open_slopes(screen_fit) == []
    assert open_slopes(synthetic_tree()[0]) == []
    assert not any("slopes" in warning for warning in cj.diagnose(screen_fit).warnings)
