"""``crossed-jax demo``."""

import polars as pl
from command_line import FILES, crossed_jax, paths

import crossed_jax as cj


def test_demo_lays_the_forms_side_by_side(tmp_path, monkeypatch):
    def briefly(data, **options):
        return cj.fit(data, **options | {"num_warmup": 600, "num_draws": 100})

    monkeypatch.setattr("crossed_jax.demo.fit", briefly)
    outcome = crossed_jax("demo", "--out", tmp_path / "demo")
    assert (outcome.code, outcome.err) == (0, "")
    forms = {"collapsed", "sum_to_zero", "design_matrix", "original"}
    assert paths(tmp_path / "demo") == {
        ".crossed_jax.json",
        "screen.csv",
        "comparison.csv",
        *(f"{form}.nc" for form in forms),
        *(name for name in FILES if name.startswith("figures")),
    }
    comparison = pl.read_csv(tmp_path / "demo" / "comparison.csv")
    assert set(comparison["form"][1:]) == forms
    for form in comparison["form"]:
        assert form in outcome.out
    assert outcome.out.endswith(f"are in {tmp_path / 'demo'}.\n")
