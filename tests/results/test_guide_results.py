"""A fit with guides: names, tables, refusals; and the command line's."""

import json

import numpy as np
import polars as pl
import pytest
import xarray as xr
from command_line import assert_refused, crossed_jax, fit
from guide_screen import guide_rows, guide_screen

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.models.model import resolved

pytestmark = pytest.mark.usefixtures("optimized")
SETTINGS = {"num_chains": 2, "num_warmup": 150, "num_draws": 150}
CHAINS = ("--chains", 2, "--warmup", 150, "--draws", 150)


@pytest.fixture(scope="module")
def tree():
    return cj.fit(guide_screen(), model="screen", **SETTINGS)


def test_guides_have_effects_and_parts_have_their_names(tree):
    posterior = tree["posterior"]
    assert posterior["guide_effect"].dims == ("chain", "draw", "guide")
    assert posterior["guide"].values[0] == "gene0 0"
    assert posterior["gene_interaction_share"].dims == ("chain", "draw", "gene")
    for name in ("guide_sd", "gene_logit_share_sd", "nested_share", "interaction_share"):
        assert posterior[name].dims == ("chain", "draw")
        assert np.isfinite(posterior[name]).all()
    assert json.loads(tree.attrs["parts"])["nested"] == "guide"
    assert 0.0 < float(tree.attrs["quadrature_error"]) < 0.01
    assert not tree["sample_stats"]["diverging"].any()


def test_what_was_simulated_is_found(tree):
    """SDs within four posterior SDs of what the table was simulated with."""
    parameters = {row["parameter"]: row for row in cj.parameters(tree).to_dicts()}
    for name, truth in (("guide_sd", 0.3), ("gene_sd", 0.6), ("sigma", 0.5), ("nested_share", 0.3)):
        row = parameters[name]
        assert abs(row["mean"] - truth) < 4.0 * row["sd"], name


def test_interactions_have_a_row_for_each_gene_and_line(tree):
    found = cj.interactions(tree)
    assert len(found) == 24 * 6
    assert found["lfsr"].is_between(0.0, 0.5).all()
    assert (found["sd"] > 0).all()
    assert found["n"].sum() == len(guide_rows())


def test_a_model_names_the_units():
    model = cj.Model(slopes="line", noise_by=("gene", "line"), interaction=True, nested="guide")
    assert resolved(model, guide_screen()) == resolved("screen", guide_screen())


def test_guides_that_were_not_read_are_refused():
    table = cj.read_table(guide_rows(), response="y", factors=("gene", "line"))
    with pytest.raises(InputError, match="read the table with nested='guide'"):
        cj.fit(table, model=cj.Model(nested="guide"), **SETTINGS)


def test_guides_that_are_left_out_are_remarked_on_where_there_is_an_interaction():
    table = cj.read_table(guide_rows(), response="y", factors=("gene", "line"))
    _, notes = resolved("screen", table)
    assert "read the table with nested='guide'" in notes[-1]
    assert resolved("screen", guide_screen())[1] == resolved("additive", table)[1] == ()


def test_guides_tell_their_part_of_an_interaction(tree):
    """Of one cell from the rows, and of all whether the z's go with the interactions."""
    data = guide_screen()
    found = cj.unit_evidence(tree, data)
    cells = cj.interactions(tree)
    assert found.select("gene", "line").equals(cells.select("gene", "line"))
    z = [np.array(text.split(), float) for text in found["guide_z"]]
    assert [len(of_cell) for of_cell in z] == found["guide_seen"].to_list()
    agreeing = [
        (np.signbit(of_cell) == np.signbit(mean)).sum()  # rounded, -0.00 has its sign
        for of_cell, mean in zip(z, cells["mean"], strict=True)
    ]
    assert agreeing == found["guide_agreeing"].to_list()
    assert np.corrcoef([of_cell.mean() for of_cell in z], cells["mean"] / cells["sd"])[0, 1] > 0.8

    p = tree["posterior"].mean(("chain", "draw"))
    at = p.sel(gene="gene5", line="line2", guide="gene5 1")
    rows = guide_rows().filter(gene="gene5", line="line2", guide="1")["y"]
    of_guide = at["gene_effect"] + at["guide_effect"]
    residual = rows.mean() - float(
        at["intercept"] + at["line_effect"] + at["line_slope"] * of_guide
    )
    sd = at["sigma"] * np.exp(at["line_log_noise_sd"] + at["gene_log_noise_sd"])
    nested = at["nested_share"]
    rest = (1.0 - at["gene_interaction_share"]) * (nested + (1.0 - nested) / len(rows))
    wanted = residual / float(sd * np.sqrt(rest))
    cell = cells.with_row_index().filter(gene="gene5", line="line2")["index"][0]
    assert np.abs(z[cell] - wanted).min() < 0.006


def test_evidence_of_another_table_is_refused(tree):
    rows = guide_rows()
    for table, nested in ((rows, None), (rows.filter(pl.col("gene") != "gene3"), "guide")):
        other = cj.read_table(table, response="y", factors=("gene", "line"), nested=nested)
        with pytest.raises(InputError, match="other levels in this table than in the fit"):
            cj.unit_evidence(tree, other)


def test_the_command_line_fits_guides(tmp_path, tree):
    guide_rows().write_csv(tmp_path / "guides.csv")
    outcome = fit(
        tmp_path / "guides.csv",
        tmp_path / "out",
        *CHAINS,
        *("--model", "screen", "--nested", "guide", "--figures"),
        response="y",
        factors="gene,line",
    )
    assert outcome.code in (0, 3), outcome.err
    found = pl.read_parquet(tmp_path / "out" / "interactions.parquet")
    wanted = cj.interactions(tree)
    np.testing.assert_allclose(found["mean"], wanted["mean"], rtol=1e-6, atol=1e-9)
    hits = pl.read_csv(tmp_path / "out" / "hits.csv")
    assert hits.columns == [*wanted.columns, "guide_seen", "guide_agreeing", "guide_z"]
    assert len(hits) == (wanted["s_value"] < 0.05).sum() > 0
    told = json.loads((tmp_path / "out" / "run.json").read_text())["figures_left_out"]
    assert told == {}
    assert (tmp_path / "out" / "figures" / "posterior_predictive.png").exists()
    of_one = hits.with_columns(guide_z=pl.lit("+1.50 -0.30"))
    of_one[:1].with_columns(guide_z=pl.lit("+1.50")).vstack(of_one).write_csv(
        tmp_path / "out" / "hits.csv"
    )
    written = crossed_jax("report", tmp_path / "out")
    assert written.code == 0, written.err
    (tmp_path / "out" / "hits.csv").write_text("gene,line\n1,2\n")
    assert_refused(crossed_jax("report", tmp_path / "out"), "hits.csv' cannot be read")


def test_an_extended_run_is_one_longer_run(tmp_path, tree):
    shorter, longer = (
        cj.fit(guide_screen(), model="screen", checkpoint=tmp_path, **SETTINGS | {"num_draws": n})
        for n in (70, 150)
    )
    for group in ("posterior", "interactions", "effect_moments", "seen"):
        xr.testing.assert_identical(longer[group].to_dataset(), tree[group].to_dataset())
    first = tree["posterior"].to_dataset().isel(draw=slice(70))
    xr.testing.assert_identical(first, shorter["posterior"].to_dataset())
