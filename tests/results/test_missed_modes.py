import json

import numpy as np
import pytest
from edited_tree import edit
from synthetic_tree import synthetic_tree

from crossed_jax.results.verdict import diagnose


@pytest.mark.parametrize(("near", "trusted"), [(0.6, True), (0.1, False)])
def test_modes_that_the_draws_miss_are_a_reason(near, trusted):
    tree, _ = synthetic_tree()
    modes = [{"gene_sd": sd, "cell_line_sd": 0.5, "sigma": 0.05, "share": 0.5} for sd in (0.5, 5.0)]
    tree.attrs["modes"] = json.dumps(modes)
    far = np.arange(1000).reshape(4, 250) % 10 < 10 * near
    edit(tree, "posterior", "gene_sd", lambda v: np.where(far, 10.0 * v, v))
    diagnosis = diagnose(tree)
    assert diagnosis.converged is trusted
    said = diagnosis.warnings if trusted else diagnosis.reasons
    assert f"gene_sd 5: about 50% of the mass, {near:.0%} of the draws" in said[0]
