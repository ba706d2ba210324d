"""``crossed-jax compare``: one table of several models, whole or not at all."""

import polars as pl
import pytest
from command_line import assert_refused, contents, crossed_jax, strict_json
from screen_tables import SCREEN

import crossed_jax as cj
from crossed_jax.cli.compare import _print

CHAINS = ("--chains", 2, "--warmup", 300, "--draws", 1000)


@pytest.fixture
def screen(tmp_path):
    levels = {factor.name: factor.labels[factor.codes] for factor in SCREEN.factors}
    path = tmp_path / "screen.csv"
    pl.DataFrame(levels | {"y": SCREEN.response}).write_csv(path)
    return path


def compare(table, *options):
    out = table.with_name("out")
    return crossed_jax(
        *("compare", table, "--response", "y", "--factors", "gene,line", "--out", out, *CHAINS),
        *options,
    )


def test_it_is_what_python_gives(screen):
    done = compare(screen, "--models", "additive,student_t", "--by", "cell", "--seed", 2)
    assert done.code == 0, done.err
    out = screen.with_name("out")
    names = {".crossed_jax.json", "comparison.csv", "diagnostics.json", "run.json"}
    assert set(contents(out)) == names
    data = cj.read_table(screen, response="y", factors=("gene", "line"))
    settings = {"num_chains": 2, "num_warmup": 300, "num_draws": 1000, "seed": 2}
    trees = {
        "additive": cj.fit(data, **settings),
        "student_t": cj.fit(data, noise="student_t", **settings),
    }
    wanted = cj.compare(trees, data, by="cell")
    found = pl.read_csv(out / "comparison.csv")
    assert found["model"].to_list() == wanted["model"].to_list()
    assert found.select(pl.exclude("model", "left_out")).to_numpy() == pytest.approx(
        wanted.select(pl.exclude("model", "left_out")).to_numpy()
    )
    for name in ("diagnostics.json", "run.json"):
        assert set(strict_json(out / name)) == set(trees)
    assert "179 cells, left out one at a time" in done.out
    assert f"{wanted['model'][1]} is {-wanted['elpd_diff'][1]:,.1f} ±" in done.out
    assert done.err == f"Results are in {out}.\n"


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ("additive", "has nothing to compare"),
        ("additive,additive", "each once"),
        ("additive,probit", "unknown model, 'probit'"),
    ],
)
def test_models_that_cannot_be_compared_are_refused(screen, models, told):
    assert_refused(compare(screen, "--models", models), told)
    assert not screen.with_name("out").exists()


def test_what_is_not_to_be_trusted_is_told_by_model(screen):
    done = compare(screen, "--models", "additive,student_t", "--warmup", 1, "--draws", 60)
    assert done.code == 3
    assert "additive: " in done.err
    assert "R-hat" in done.err


def test_too_few_draws_are_refused(screen):
    done = compare(screen, "--models", "additive,student_t", "--warmup", 1, "--draws", 10)
    assert_refused(done, "20 draws in all are too few to leave anything out")
    assert not screen.with_name("out").exists()


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ((0, 0), None),
        ((0, 3), "so few of them hardly move the sum"),
        ((0, 9), "neither its sum nor its place is to be relied on"),
    ],
)
def test_it_is_told_how_many_estimates_cannot_be_relied_on(bad, told, capsys):
    found = {
        "model": ["screen", "additive"],
        "left_out": "row",
        "number": 500,
        **{name: [1.0, 0.5] for name in ("elpd", "se", "weight")},
        "elpd_diff": [0.0, -9.0],
        "dse": [0.0, 2.0],
        "bad_k": bad,
    }
    _print(pl.DataFrame(found))
    out = " ".join(capsys.readouterr().out.split())
    assert "screen predicts a row that is left out best; additive is 9.0 ± 2.0 behind." in out
    assert ("Pareto" in out) is (told is not None)
    assert told is None or told in out
