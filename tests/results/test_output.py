"""Files of a run that other programs read."""

import json

import numpy as np
import pytest
import xarray as xr
from staged import contents

from crossed_jax.results.output import write_json, write_tree


def test_json_reads_back(tmp_path):
    record = {"converged": True, "reasons": ['μ, "β"\n'], "r_hat": 1.003, "ridge": None}
    write_json(record, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == record
    assert (tmp_path / "a.json").read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_what_is_not_a_number(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"nested": [value]}, tmp_path / "a.json")
    assert contents(tmp_path) == {}


LABELS = ["p53", "007", 'a "quoted", label', "two\nlines", "β-actin", "日本", "$x^2$", "", " "]


@pytest.fixture
def tree():
    rng = np.random.default_rng(0)
    shape = (2, 5)
    draws = {
        "intercept": (("chain", "draw"), rng.normal(size=shape)),
        "gene_effect": (("chain", "draw", "gene"), rng.normal(size=(*shape, len(LABELS)))),
    }
    coords = {"chain": [0, 1], "draw": np.arange(5), "gene": LABELS}
    stats = {
        "diverging": (("chain", "draw"), rng.random(shape) < 0.5),
        "n_steps": (("chain", "draw"), rng.integers(0, 9, shape)),
    }
    root = xr.Dataset(attrs={"factors": '["gene"]', "seed": "0", "source": "β\n.csv", "empty": ""})
    return xr.DataTree.from_dict(
        {"/": root, "posterior": xr.Dataset(draws, coords), "sample_stats": xr.Dataset(stats)}
    )


def test_tree_reads_back(tmp_path, tree):
    write_tree(tree, tmp_path / "a.nc")
    with xr.open_datatree(tmp_path / "a.nc", engine="h5netcdf") as found:
        assert found.attrs == tree.attrs
        assert found["posterior"]["gene"].values.tolist() == LABELS
        assert found["sample_stats"]["diverging"].dtype == bool
        xr.testing.assert_identical(found.load(), tree)


def test_tree_does_not_need_crossed_jax_to_be_read(tmp_path, tree):
    import h5py

    write_tree(tree, tmp_path / "a.nc")
    with h5py.File(tmp_path / "a.nc") as file:
        np.testing.assert_array_equal(
            file["posterior/intercept"][:], tree["posterior"]["intercept"].values
        )
