"""`cj.parameters` of trees that a log-density of one's own may give."""

import pytest
import xarray as xr
from synthetic_tree import synthetic_tree

from crossed_jax.errors import InputError
from crossed_jax.results.summaries import parameters


def test_a_tree_of_arrays_alone_has_no_rows_and_the_usual_columns():
    tree, _ = synthetic_tree(draws=60)
    schema = parameters(tree).schema
    tree["posterior"] = xr.DataTree(tree["posterior"].to_dataset()[["gene_effect"]])
    table = parameters(tree)
    assert table.is_empty()
    assert table.schema == schema
    with pytest.raises(InputError, match="the interval is 2"):
        parameters(tree, 2)
