"""What is left of each row by the screen model, held against the Normal that it should be.

At the posterior means of everything but the interactions, a row is Normal given the others of its
cell (:mod:`crossed_jax.models.screen.left_out`); how far it is from its expectation, in SDs, is
looked at for heavy tails and for levels whose rows stray further than they should.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from crossed_jax.models.screen.left_out import scores
from crossed_jax.results.screen_predictions import cells_of_rows, codes_of, draws_by_name
from crossed_jax.statistics.adequacy import adequacy_of_scores, plain
from crossed_jax.statistics.cells import whole_cells

if TYPE_CHECKING:
    import xarray as xr

    from crossed_jax.models.screen.parts import Parts
    from crossed_jax.tables.crossed_data import CrossedData

ROWS_AT_ONCE = 2**20


def with_adequacy(tree: xr.DataTree, data: CrossedData, parts: Parts) -> xr.DataTree:
    """Put into the attributes of a fit of the screen model what the table says against it."""
    means = {
        str(name): values.mean(("chain", "draw")).values[None, None]
        for name, values in tree["posterior"].to_dataset().items()
    }
    (at,) = draws_by_name(means, parts, data.factor_names)
    found = np.empty(data.num_rows)
    for rows, _ in whole_cells(data, ROWS_AT_ONCE):
        cells = cells_of_rows(codes_of(data, parts, rows), parts, None, data.factor_names)
        found[rows] = scores(at, cells, data.response[rows])
    tree.attrs["adequacy"] = json.dumps(plain(adequacy_of_scores(data, found)))
    return tree
