import math

import pytest
from edited_tree import edit, put
from synthetic_tree import synthetic_tree

from crossed_jax.results.ridge import find_ridge
from crossed_jax.results.verdict import diagnose

LEVELS = {"gene": 4, "cell_line": 10}  # with three, an SD would be told to be its prior


@pytest.mark.parametrize("levels", [{"gene": 3, "line": 10}, {"gene": 3, "line": 10, "batch": 4}])
def test_the_ridge_of_the_original_form_is_measured(levels):
    tree, _ = synthetic_tree(levels, parameterization="original")
    ridge = find_ridge(tree)
    assert ridge.factors == tuple(levels)
    assert ridge.correlation < -0.999
    assert all(4 < sd < 9 for sd in ridge.sd_of_means)
    rows = 3 * math.prod(levels.values())
    assert ridge.sd_of_sum == pytest.approx(0.05 / math.sqrt(rows), rel=0.1)


def test_the_ridge_is_a_warning_when_walked_and_a_reason_when_not():
    tree, _ = synthetic_tree(LEVELS, parameterization="original")
    diagnosis = diagnose(tree)
    assert diagnosis.converged
    (sentence,) = diagnosis.warnings
    assert "parameterization='sum_to_zero'" in sentence
    assert "crossed_jax.original_coordinates" in sentence

    edit(tree, "sample_stats", "reached_max_treedepth", put(0, True))
    diagnosis = diagnose(tree)
    assert sentence in diagnosis.reasons
    assert diagnosis.warnings == ()


def test_no_ridge_where_none_is_sampled():
    """Recovered coordinates lie on the ridge too, but nothing had to walk it."""
    tree, _ = synthetic_tree(LEVELS, parameterization="original")
    tree.attrs["parameterization"] = "sum_to_zero"
    assert find_ridge(tree) is None
    means_apart, _ = synthetic_tree(LEVELS, parameterization="original")
    edit(means_apart, "posterior", "gene_intercept", lambda v: v[::-1])
    assert find_ridge(means_apart) is None
