"""Units nested in the levels of a factor, such as guides of genes."""

import polars as pl
import pytest

import crossed_jax as cj
from crossed_jax.errors import InputError

FACTORS = ("gene", "line")


def rows(guides: dict[str, list[str]]) -> pl.DataFrame:
    """Two rows of each guide in each of two lines."""
    return pl.DataFrame(
        [
            {"gene": gene, "line": line, "guide": guide, "lfc": 0.1 * place + 0.3 * replicate}
            for gene, own in guides.items()
            for place, guide in enumerate(own)
            for line in ("a", "b")
            for replicate in range(2)
        ]
    )


def read(table: pl.DataFrame) -> cj.CrossedData:
    return cj.read_table(table, response="lfc", factors=FACTORS, nested="guide")


def test_guides_belong_to_their_genes():
    data = read(rows({"A": ["g1", "g2"], "B": ["g3"], "C": ["g4", "g5"]}))
    assert data.nested.units.levels == ("g1", "g2", "g3", "g4", "g5")
    assert data.nested.parent == 0
    assert data.nested.parent_of_unit.tolist() == [0, 0, 1, 2, 2]
    assert data.factor_names == FACTORS


def test_labels_that_start_again_are_told_apart():
    data = read(rows({"A": ["1", "2"], "B": ["1", "2"], "C": ["1", "2", "3"]}))
    assert data.nested.units.levels == ("A 1", "A 2", "B 1", "B 2", "C 1", "C 2", "C 3")
    assert data.nested.parent_of_unit.tolist() == [0, 0, 1, 1, 2, 2, 2]


def test_a_guide_of_two_genes_is_named():
    table = rows({"A": ["g1", "g2"], "B": ["g3", "g1"], "C": ["g4", "g5"]})
    with pytest.raises(InputError, match="guide 'g1' belongs to two levels of gene, 'A' and 'B'"):
        read(table)


def test_a_single_guide_for_each_gene_is_refused():
    with pytest.raises(InputError, match="each level of gene has a single guide"):
        read(rows({"A": ["g1"], "B": ["g2"], "C": ["g3"]}))


def test_guides_without_a_response_are_left_out():
    table = rows({"A": ["g1", "g2"], "B": ["g3", "g4"], "C": ["g5", "g6"]})
    data = read(table.with_columns(lfc=pl.when(pl.col("guide") != "g2").then("lfc")))
    assert data.nested.units.levels == ("g1", "g3", "g4", "g5", "g6")
    assert "guide" in data.notes[-1]


def test_the_table_differs_by_its_guides():
    table = rows({"A": ["g1", "g2"], "B": ["g3", "g4"], "C": ["g5", "g6"]})
    without = cj.read_table(table, response="lfc", factors=FACTORS)
    assert read(table).digest() != without.digest()


@pytest.mark.parametrize(
    ("nested", "message"),
    [("gene", "asked for twice"), ("sgrna", "has no column"), (["guide"], "name of a column")],
)
def test_columns_that_cannot_be_nested_are_refused(nested, message):
    table = rows({"A": ["g1", "g2"], "B": ["g3", "g4"], "C": ["g5", "g6"]})
    with pytest.raises(InputError, match=message):
        cj.read_table(table, response="lfc", factors=FACTORS, nested=nested)
