"""What is remarked on factors that look like a mistake."""

import polars as pl
from reading import read


def noted(**columns):
    size = len(columns["gene"])
    return read(
        pl.DataFrame({"cell": ["x", "w", "x", "w", "x"][:size], "y": range(size)} | columns)
    ).notes


def test_levels_that_nearly_agree_are_named():
    (note,) = noted(gene=["TP53", "B", "tp53 ", "TP53", "B"])
    assert note == (
        "gene has levels that differ only by case or by space around them, such as 'TP53' and "
        "'tp53 ': they are fitted as levels of their own."
    )
    assert noted(gene=["TP53", "B", "TP 53", "TP53", "B"]) == ()


def test_factors_that_group_alike_are_named():
    (note,) = noted(gene=["1", "2", "1", "2", "1"])
    assert note.startswith("gene and cell group the rows alike: ")
    assert noted(gene=["1", "2", "1", "2", "2"]) == ()
    assert noted(gene=["1", "2", "3", "2", "1"]) == ()
