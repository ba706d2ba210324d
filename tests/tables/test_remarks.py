"""What is remarked on factors that look like a mistake, and on guides that were not read."""

import polars as pl
import pytest
from reading import read

from crossed_jax.tables.remarks import guides_are_hidden, hidden_guides


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


@pytest.mark.parametrize("name", ["sgrna", "sgRNA", "guide", "Guides", "guide_id", "gRNA sequence"])
def test_a_column_of_guides_is_found(name):
    assert hidden_guides(["lfc", "n_guides", name]) == name
    assert f"read the table with nested='{name}'." in guides_are_hidden(name)


@pytest.mark.parametrize(
    "name", ["n_guides", "nGuides", "num_sgrnas", "guide_count", "count of guides"]
)
def test_a_column_that_counts_guides_is_found(name):
    assert hidden_guides(["lfc", name]) == name
    assert f"column {name} says that values are means over guides" in guides_are_hidden(name)


def test_other_columns_are_not_taken_for_guides():
    assert (
        hidden_guides(["guidance", "misguided", "gene", "n", "rna_seq", "sgrna_lfc", "days"])
        is None
    )


@pytest.mark.parametrize("kind", ["frame", "csv", "parquet"])
def test_a_table_tells_its_column_of_guides(tmp_path, kind):
    frame = pl.DataFrame(
        {
            "gene": ["a", "b", "c", "a", "b", "c"],
            "cell": ["x", "x", "x", "w", "w", "w"],
            "guide": ["1", "2", "3", "4", "5", "6"],
            "y": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        }
    )
    table = frame
    if kind != "frame":
        table = tmp_path / f"table.{kind}"
        getattr(frame, f"write_{kind}")(table)
    assert read(table).guide_column == "guide"
    assert read(frame.drop("guide")).guide_column is None
