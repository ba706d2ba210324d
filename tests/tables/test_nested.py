"""Units nested in the levels of a factor, such as guides of genes."""

import polars as pl
import pytest

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.models.model import resolved
from crossed_jax.tables.simulated_table import screen_frame

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


def test_a_single_guide_for_each_gene_is_refused_by_the_screen_model():
    data = read(rows({"A": ["g1"], "B": ["g2"], "C": ["g3"]}))
    with pytest.raises(InputError, match="each level of gene has a single guide"):
        resolved("screen", data)


def test_labels_that_would_be_the_same_are_refused():
    with pytest.raises(InputError, match="two levels of guide would be called 'A 1 1'"):
        read(rows({"A": ["1", "1 1"], "A 1": ["1", "1 1"]}))


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


def with_samples(labels: list[str]) -> cj.CrossedData:
    """Two rows of each of five genes in each of two lines, of the samples so named."""
    table = pl.DataFrame(
        [
            {"gene": f"g{gene}", "line": line, "sample": labels[2 * place + k], "lfc": 0.1 * gene}
            for gene in range(5)
            for place, line in enumerate(("a", "b"))
            for k in range(2)
        ]
    )
    table = table.with_columns(lfc=pl.col("lfc") + 0.01 * pl.int_range(pl.len()).sqrt())
    return cj.read_table(table, response="lfc", factors=FACTORS, sample="sample")


def test_samples_belong_to_the_factor_of_fewer_levels():
    data = with_samples(["s1", "s2", "s3", "s4"])
    assert data.samples.parent == 1
    assert data.samples.units.levels == ("s1", "s2", "s3", "s4")
    assert data.samples.parent_of_unit.tolist() == [0, 0, 1, 1]
    assert data.nested is None
    assert "sample nested in line" in repr(data)
    started_again = with_samples(["A", "B", "A", "B"])
    assert started_again.samples.units.levels == ("a A", "a B", "b A", "b B")


def test_a_sample_of_two_lines_is_refused():
    with pytest.raises(InputError, match="sample 's1' belongs to two levels of line, 'a' and 'b'"):
        with_samples(["s1", "s2", "s1", "s4"])


def test_a_sample_that_is_its_line_is_left_out():
    parts, notes = resolved("screen", with_samples(["s1", "s1", "s2", "s2"]))
    assert parts.sample is None
    assert "without effects of sample: each level of line has a single one." in notes[-1]


def test_labels_tell_what_units_are_nested_in():
    """Though there are fewer genes than lines; and the genes are integrated out."""
    frame = screen_frame(cj.simulate_screen(num_genes=3, num_guides=2, sample_sd=0.1))
    frame = frame.with_columns(
        sample=pl.col("cell_line").cast(str) + "_" + pl.col("replicate").cast(str)
    )
    data = cj.read_table(
        frame, response="logfc", factors=("cell_line", "gene"), nested="guide", sample="sample"
    )
    assert (data.nested.parent, data.samples.parent) == (1, 0)
    assert resolved("screen", data)[0].genes == 1
    assert "guide nested in gene, sample nested in cell_line" in repr(data)
    again = frame.with_columns(other=pl.col("sample") + "x")
    with pytest.raises(InputError, match="are both nested in cell_line"):
        cj.read_table(
            again, response="logfc", factors=("cell_line", "gene"), nested="other", sample="sample"
        )


def test_units_that_a_model_has_no_effects_of_are_remarked_on():
    data = with_samples(["s1", "s2", "s3", "s4"])
    assert "no effects of sample" in resolved("additive", data)[1][0]
    assert resolved("screen", data)[1] != resolved("additive", data)[1]


def test_samples_need_two_factors_and_a_name():
    table = rows({"A": ["g1", "g2"], "B": ["g3", "g4"]})
    for factors, sample, message in (
        (("gene", "line", "guide"), "lfc2", "this has 3: leave sample out"),
        (FACTORS, 3.5, "sample is 3.5: give the name of a column"),
    ):
        with pytest.raises(InputError, match=message):
            cj.read_table(table, response="lfc", factors=factors, sample=sample)
