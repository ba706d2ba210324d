"""SDs of two or three levels are told to be mostly their priors, and no others."""

import xarray as xr
from synthetic_tree import synthetic_tree

import crossed_jax as cj


def told(tree: xr.DataTree) -> list[str]:
    return [sentence for sentence in cj.diagnose(tree).warnings if "mostly" in sentence]


def test_an_sd_of_three_levels_is_told_to_be_mostly_its_prior() -> None:
    tree, _ = synthetic_tree({"gene": 3, "cell_line": 10})
    assert told(tree) == [
        "3 levels of gene say little of how much levels differ: gene_sd is mostly its prior, and "
        "so are shares of variance. The levels' own effects are not."
    ]


def test_four_levels_and_a_form_without_sds_are_not_told_so() -> None:
    assert told(synthetic_tree({"gene": 4, "cell_line": 10})[0]) == []
    tree, _ = synthetic_tree({"gene": 3, "cell_line": 10}, parameterization="design_matrix")
    assert told(tree) == []


def test_slopes_and_noise_of_few_lines_are_told_too() -> None:
    tree, _ = synthetic_tree({"gene": 9, "cell_line": 3})
    posterior = tree["posterior"].to_dataset()
    posterior["cell_line_log_slope_sd"] = posterior["cell_line_sd"]
    tree["posterior"] = xr.DataTree(posterior)
    (sentence,) = told(tree)
    assert "cell_line_sd and cell_line_log_slope_sd are mostly their priors, and so" in sentence
