"""The directory of results: what was there before, what fails on the way, what is left out."""

import errno
import os
import shutil
import subprocess
import sys

import pytest
import xarray as xr
from command_line import FILES, assert_refused, contents, fit, paths, strict_json

from crossed_jax.cli import figures, run


@pytest.fixture(scope="module")
def fitted(screen):
    out = screen.with_name("fitted")
    assert fit(screen, out, "--seed", 3, "--no-figures").code == 0
    return out


@pytest.fixture
def fitted_at_once(fitted, monkeypatch):
    """Let every fit be the one that was made."""
    with xr.open_datatree(fitted / "posterior.nc", engine="h5netcdf") as tree:
        loaded = tree.load()
    monkeypatch.setattr("crossed_jax.fitting.fit", lambda *_, **__: loaded)
    monkeypatch.setattr("crossed_jax.results.plots.save_figures", lambda *_, **__: {})


def test_no_figures_on_request(fitted):
    assert not (fitted / "figures").exists()


@pytest.mark.usefixtures("fitted_at_once")
def test_an_earlier_result_is_replaced_and_what_is_not_made_again_is_gone(screen, tmp_path):
    out = tmp_path / "out"
    assert fit(screen, out).code == 0
    (out / "effects.csv").write_text("edited")
    assert fit(screen, out, "--no-figures").code == 0
    assert paths(tmp_path) == {
        "out",
        *(f"out/{name}" for name in FILES if not name.startswith("figures")),
    }
    assert (out / "effects.csv").read_text().startswith("factor,level,")


@pytest.mark.usefixtures("fitted_at_once")
@pytest.mark.parametrize("step", ["write_tree", "write_csv", "run_record"])
def test_a_full_disk_leaves_old_results_as_they_are(screen, tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "out"
    assert fit(screen, out).code == 0
    monkeypatch.setattr(f"crossed_jax.results.output.{step}", full)
    before = contents(tmp_path)
    assert_refused(fit(screen, out), str(out), "No space left on device")
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("fitted_at_once")
def test_a_folder_of_the_output_directory_that_vanishes_is_told(screen, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()

    def vanish(*_):
        shutil.rmtree(home)
        return {}

    monkeypatch.setattr("crossed_jax.results.output.run_record", vanish)
    assert_refused(fit(screen, home / "out"), str(home / "out"), "No such file or directory")
    assert not home.exists()


@pytest.mark.usefixtures("fitted_at_once")
def test_figures_that_fail_are_told_and_all_else_is_written(screen, tmp_path, monkeypatch):
    def fail(*_, **__):
        return {"effects": RuntimeError("no\nlatex")}

    monkeypatch.setattr("crossed_jax.results.plots.save_figures", fail)
    outcome = fit(screen, tmp_path / "one", "--quiet")
    assert outcome == (0, "", "Not drawn: effects (RuntimeError: no latex).\n")
    told = strict_json(tmp_path / "one" / "run.json")["figures_left_out"]
    assert told == {"effects": "RuntimeError: no latex"}
    monkeypatch.setattr("crossed_jax.results.posterior_predictive.posterior_predictive", None)
    outcome = fit(screen, tmp_path / "all", "--quiet")
    assert outcome.code == 0
    assert outcome.err.startswith("Not drawn: figures (TypeError: ")
    assert outcome.err.count("\n") == 1
    assert strict_json(tmp_path / "all" / "run.json")["figures_left_out"].keys() == {"figures"}
    for out in ("one", "all"):
        assert {name for name in FILES if "figures" not in name} == paths(tmp_path / out)


@pytest.mark.usefixtures("fitted_at_once")
def test_of_many_rows_some_are_predicted(screen, tmp_path, monkeypatch):
    drawn = {}

    def look(tree, folder, predicted):
        drawn["rows"] = predicted["posterior_predictive"]["logfc"].sizes["row"]
        return {}

    monkeypatch.setattr(figures, "MOST_ROWS", 40)
    monkeypatch.setattr("crossed_jax.results.plots.save_figures", look)
    assert fit(screen, tmp_path / "out", "--quiet") == (0, "", "")
    assert drawn == {"rows": 40}


def test_figures_are_drawn_whatever_the_backend_and_style(screen, tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: nowhere\n")
    ended = subprocess.run(
        [
            *(sys.executable, "-c", "from crossed_jax.cli.main import main; main()", "fit", screen),
            *("--response=logfc", "--factors=gene,cell_line", f"--out={tmp_path / 'out'}"),
            *("--warmup=600", "--draws=1000", "--quiet"),
        ],
        env=os.environ | {"MPLBACKEND": "nowhere", "MATPLOTLIBRC": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert paths(tmp_path / "out") == FILES
    assert strict_json(tmp_path / "out" / "run.json")["figures_left_out"] == {}


@pytest.mark.usefixtures("fitted_at_once")
def test_an_interrupt_after_the_results_were_written_does_not_say_they_were_not(
    screen, tmp_path, monkeypatch
):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_tell", interrupt)
    assert fit(screen, tmp_path / "out") == (130, "", "crossed-jax: interrupted.\n")
    assert (tmp_path / "out" / "run.json").exists()


@pytest.mark.usefixtures("fitted_at_once")
def test_a_name_cannot_steer_the_terminal(screen, tmp_path):
    outcome = fit(screen, tmp_path / "\x1b[2J")
    assert outcome.code == 0
    assert r"\x1b[2J." in outcome.err
    assert "\x1b" not in outcome.err
