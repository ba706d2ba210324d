"""``crossed-jax fit --model screen`` and its parts by name: files, refusals, resume."""

import json

import polars as pl
import pytest
import xarray as xr
from command_line import (
    FILES,
    assert_refused,
    contents,
    crossed_jax,
    draws_in,
    fit,
    paths,
    strict_json,
)
from guide_screen import guide_rows, guide_screen
from screen_tables import SCREEN, SETTINGS, simulated, starts_as_draws

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.models.model import resolved

CHAINS = tuple(
    word for name, number in SETTINGS.items() for word in (f"--{name.removeprefix('num_')}", number)
)
OWN = {
    "interactions.parquet",
    "hits.csv",
    *(
        f"figures/{name}.png"
        for name in ("slopes_and_noise", "volcano", "interactions", "waterfall")
    ),
}


def write(data, path):
    levels = {factor.name: factor.labels[factor.codes] for factor in data.factors}
    pl.DataFrame(levels | {data.response_name: data.response}).write_csv(path)
    return path


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    return write(SCREEN, tmp_path_factory.mktemp("screen") / "screen.csv")


def fit_screen(table, out, *options):
    return fit(table, out, *CHAINS, *options, response="y", factors="gene,line")


@pytest.fixture
def _not_sampled(monkeypatch):
    monkeypatch.setattr("crossed_jax.fitting.sample", starts_as_draws)


@pytest.fixture(scope="module")
def fitted(screen):
    out = screen.with_name("out")
    return out, fit_screen(screen, out, "--model", "screen")


def test_a_fit_of_the_screen_model_writes_its_files(fitted):
    out, outcome = fitted
    assert outcome.code in (0, 3), outcome.err
    assert outcome.err.endswith(f"Results are in {out}.\n")
    assert paths(out) == FILES | OWN
    run = strict_json(out / "run.json")
    assert run["model"] == "screen"
    assert run["parts"] == {
        "integrated_out": "gene",
        "slopes": "line",
        "noise_by": ["gene", "line"],
        "interaction": True,
    }
    assert run["figures_left_out"] == {}
    assert run["interaction_error"].keys() == {"mean", "lfsr"}
    assert run["seconds"].keys() >= {"estimate", "warmup", "sample", "effects", "interactions"}


def test_the_tables_that_are_written_are_those_of_the_tree(fitted):
    out, _ = fitted
    with xr.open_datatree(out / "posterior.nc", engine="h5netcdf") as tree:
        cells = cj.interactions(tree)
        own = {
            "slope",
            "slope_lower",
            "slope_upper",
            "noise_sd",
            "noise_sd_lower",
            "noise_sd_upper",
        }
        assert own <= set(cj.effects(tree).columns)
        for name, table in (
            ("effects.csv", cj.effects(tree)),
            ("parameters.csv", cj.parameters(tree)),
            ("variance_components.csv", cj.variance_components(tree)),
        ):
            assert pl.read_csv(out / name).columns == table.columns
            assert len(pl.read_csv(out / name)) == len(table)
    written = pl.read_parquet(out / "interactions.parquet")
    assert written.equals(cells)
    hits = pl.read_csv(out / "hits.csv")
    assert hits.columns == written.columns
    assert len(hits) == len(written.filter(pl.col("s_value") < 0.05))
    assert "interaction_share" in pl.read_csv(out / "parameters.csv")["parameter"]


@pytest.mark.parametrize(
    ("options", "slopes", "noise_by", "interaction"),
    [
        (("--slopes", "line"), "line", [], False),
        (("--noise-by", "line,gene"), None, ["gene", "line"], False),
        (("--noise-by", "gene", "--noise-by", "line"), None, ["gene", "line"], False),
        (("--interaction",), None, [], True),
        (("--slopes", "line", "--noise-by", "line", "--no-interaction"), "line", ["line"], False),
        (("--model", "screen", "--no-interaction"), "line", ["gene", "line"], False),
        (("--model", "screen", "--slopes", "line"), "line", ["gene", "line"], True),
    ],
)
def test_flags_choose_parts(screen, tmp_path, monkeypatch, options, slopes, noise_by, interaction):
    asked = []

    def stop(data, *, model, **_):
        asked.append(cj.Model() if model == "additive" else model)
        raise cj.InputError("stopped")

    monkeypatch.setattr("crossed_jax.fitting.fit", stop)
    assert fit_screen(screen, tmp_path / "out", *options).code == 2
    (model,) = asked
    if model == "screen":
        model = cj.Model("line", ("gene", "line"), True)
    assert (model.slopes, model.interaction) == (slopes, interaction)
    assert sorted(model.noise_by) == noise_by


@pytest.mark.usefixtures("_not_sampled")
def test_without_interaction_no_files_of_interactions_are_written(screen, tmp_path):
    out = tmp_path / "out"
    fit_screen(screen, out, "--slopes", "line", "--no-interaction", "--draws", 4, "--no-figures")
    expected = {name for name in FILES if not name.startswith("figures")}
    assert paths(out) == expected


def test_resume_extends_a_screen_and_keeps_its_draws(screen, tmp_path):
    out, run = tmp_path / "out", tmp_path / "run"
    options = ("--model", "screen", "--no-figures", "--quiet", "--checkpoint", run)
    fit_screen(screen, out, "--draws", 100, *options)
    shorter = draws_in(out)
    assert crossed_jax("resume", run, "--extend", 50, "--quiet").code in (0, 3)
    longer = draws_in(out)
    assert longer.sizes["draw"] == 150
    assert longer.isel(draw=slice(100)).equals(shorter)
    assert pl.read_parquet(out / "interactions.parquet").height == len(SCREEN.response) - sum(
        n - 1 for n in _cells().values()
    )


def _cells():
    gene, line = (factor.codes for factor in SCREEN.factors)
    found = {}
    for cell in zip(gene.tolist(), line.tolist(), strict=True):
        found[cell] = found.get(cell, 0) + 1
    return found


def test_resume_goes_by_the_parts_that_were_named(screen, tmp_path, monkeypatch):
    monkeypatch.setattr("crossed_jax.fitting.sample", starts_as_draws)
    out, run = tmp_path / "out", tmp_path / "run"
    options = ("--noise-by", "line", "--no-figures", "--quiet", "--checkpoint", run)
    fit_screen(screen, out, "--draws", 4, *options)
    command = json.loads((run / "command.json").read_text())
    assert (command["model"], command["slopes"], command["noise_by"]) == ("additive", "", ["line"])
    (out / "effects.csv").unlink()
    assert crossed_jax("resume", run, "--quiet").code in (0, 3)
    assert strict_json(out / "run.json")["parts"]["noise_by"] == ["line"]


REFUSED = {
    "no interaction of no screen model": (
        ("--no-interaction",),
        ["--no-interaction leaves a part of the screen model out", "add --model screen"],
    ),
    "slopes of genes": (("--slopes", "gene"), ["choose --slopes line, in which gene effects"]),
    "slopes of an unknown factor": (("--slopes", "plate"), ["'plate'", "factors are gene, line"]),
    "noise by an unknown factor": (("--noise-by", "gene,plate"), ["a part by 'plate'"]),
    "noise by nothing": (("--noise-by", "gene,"), ["--noise-by 'gene,' names a column of no name"]),
    "no factor at all": (("--noise-by", ""), ["a part by ''"]),
    "student_t noise": (
        ("--model", "screen", "--noise", "student_t"),
        ["the screen model cannot have student_t noise", "fit --model additive"],
    ),
    "student_t beside a part": (
        ("--slopes", "line", "--noise", "student_t"),
        ["student_t noise goes with the additive model alone", "--noise normal; --noise-by lets"],
    ),
    "another form": (
        ("--model", "screen", "--parameterization", "original"),
        ["cannot be had in the original form: leave out --parameterization original"],
    ),
    "another form of a part": (
        ("--interaction", "--parameterization", "sum_to_zero"),
        ["cannot be had in the sum_to_zero form: leave out --parameterization sum_to_zero"],
    ),
    "a summary": (
        ("--model", "screen", "--keep-effects", "summary"),
        ["leave out --keep-effects and --stream"],
    ),
    "streaming": (("--noise-by", "line", "--stream"), ["leave out --keep-effects and --stream"]),
}


@pytest.mark.parametrize(("options", "wanted"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_had_is_told_in_flags(screen, tmp_path, monkeypatch, options, wanted):
    def sampled(*_, **__):
        raise AssertionError("bad input was sampled")

    monkeypatch.setattr("crossed_jax.fitting.sample", sampled)
    assert_refused(fit_screen(screen, tmp_path / "out", *options), *wanted)
    assert contents(tmp_path) == {}


def test_a_model_of_another_name_is_told(screen, tmp_path):
    outcome = fit_screen(screen, tmp_path / "out", "--model", "hierarchical")
    assert outcome.code == 2
    assert "'hierarchical'" in outcome.err


def test_parts_that_a_table_cannot_inform_are_told(tmp_path, monkeypatch):
    """Left out with a sentence of the whole model, refused by name."""
    gene, line = (factor.codes for factor in SCREEN.factors)
    seen, rows = set(), []
    for row, cell in enumerate(zip(gene.tolist(), line.tolist(), strict=True)):
        if cell not in seen:
            seen.add(cell)
            rows.append(row)
    path = tmp_path / "single.csv"
    write(SCREEN, path)
    pl.read_csv(path)[rows].write_csv(path)
    monkeypatch.setattr("crossed_jax.fitting.sample", starts_as_draws)
    why = "interaction: replicates alone tell it from noise"
    outcome = fit_screen(path, tmp_path / "named", "--model", "screen", "--interaction")
    assert_refused(outcome, f"the table cannot inform {why}")
    assert not (tmp_path / "named").exists()
    options = ("--model", "screen", "--draws", 4, "--no-figures")
    outcome = fit_screen(path, tmp_path / "whole", *options)
    assert f"The screen model is fitted without {why}" in " ".join(outcome.err.split())


def test_noise_by_guide_goes_with_all_parts_or_with_those_named(tmp_path, monkeypatch):
    monkeypatch.setattr("crossed_jax.fitting.sample", starts_as_draws)
    table = tmp_path / "guides.csv"
    guide_rows().write_csv(table)
    options = ("--nested", "guide", "--noise-by", "gene,line,guide", "--draws", 4, "--no-report")
    outcome = fit_screen(table, tmp_path / "named", *options, "--no-figures")
    assert outcome.code in (0, 3), outcome.err
    named = pl.read_csv(tmp_path / "named" / "parameters.csv")["parameter"]
    assert "guide_log_noise_sd_sd" in named.to_list()
    parts = strict_json(tmp_path / "named" / "run.json")["parts"]
    assert parts["noise_by"] == ["gene", "line", "guide"]
    assert not parts["slopes"]
    assert not parts["interaction"]
    outcome = fit_screen(table, tmp_path / "none", "--noise-by", "gene,guide")
    assert_refused(outcome, "the model has a part by 'guide': the factors are gene, line")

    asked = []

    def refused(data, *, model, **_):
        asked.append(resolved(model, data)[0])
        raise InputError("enough")

    monkeypatch.setattr("crossed_jax.fitting.fit", refused)
    fit_screen(table, tmp_path / "whole", *options, "--model", "screen")
    parts, _ = resolved("screen", guide_screen())
    assert asked == [parts._replace(guide_noise=True)]


def test_without_interaction_it_is_told_what_else_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("crossed_jax.fitting.sample", starts_as_draws)
    few = write(simulated(2, 12, 2, 2), tmp_path / "few.csv")
    options = ("--model", "screen", "--no-interaction", "--draws", 4, "--no-figures")
    outcome = fit_screen(few, tmp_path / "out", *options)
    told = " ".join(outcome.err.split())
    for part in ("slopes", "noise"):
        assert f"The screen model is fitted without {part} by line" in told
