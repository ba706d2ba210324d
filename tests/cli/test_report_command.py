"""``crossed-jax report``: the report of a fit that is finished, or a line on why there is none."""

import base64
import shutil

import pytest
from command_line import assert_refused, contents, crossed_jax, fit, paths, strict_json

from crossed_jax.files.marker import listed, mark


@pytest.fixture(scope="module")
def bare(screen, tmp_path_factory):
    out = tmp_path_factory.mktemp("bare") / "out"
    outcome = fit(screen, out, "--seed", 3, "--no-figures", "--no-report", "--quiet")
    assert outcome == (0, "", "")
    return out


@pytest.fixture
def out(bare, tmp_path):
    return shutil.copytree(bare, tmp_path / "out")


def test_no_report_on_request(bare):
    assert not (bare / "report.html").exists()


def test_a_finished_fit_gets_its_report_with_figures(out, screen):
    before = contents(out)
    outcome = crossed_jax("report", out)
    assert outcome == (0, "", f"The report is {out / 'report.html'}.\n")
    after = contents(out)
    assert after.keys() - before.keys() == {"report.html"}
    assert {name for name in before if before[name] != after[name]} == {".crossed_jax.json"}
    assert "report.html" in listed(out)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 5
    assert "✓ Converged" in page
    assert crossed_jax("report", out, "--quiet") == (0, "", "")
    assert (out / "report.html").read_text(encoding="utf-8") == page
    assert fit(screen, out, "--seed", 3, "--no-figures", "--no-report", "--quiet").code == 0
    assert paths(out) == before.keys()


def test_figures_that_a_fit_has_drawn_are_taken_and_the_others_drawn(out):
    drawn = b"\x89PNG\r\n\x1a\n" + bytes(20)
    (out / "figures").mkdir()
    (out / "figures" / "effects.png").write_bytes(drawn)
    mark(out, "results", {*listed(out), "figures/effects.png"})
    assert crossed_jax("report", out, "--quiet") == (0, "", "")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert base64.b64encode(drawn).decode() in page
    assert page.count("data:image/png") == 5


@pytest.mark.parametrize("how", ["link", "unlisted", "other kind"])
def test_pictures_that_are_not_the_fits_are_left_alone(out, tmp_path, how):
    secret = b"\x89PNG\r\n\x1a\nsecret" if how != "other kind" else b"something else"
    path = out / "figures" / "effects.png"
    path.parent.mkdir()
    if how == "link":
        (tmp_path / "secret").write_bytes(secret)
        path.symlink_to(tmp_path / "secret")
    else:
        path.write_bytes(secret)
    if how != "unlisted":
        mark(out, "results", {*listed(out), "figures/effects.png"})
    assert crossed_jax("report", out, "--quiet") == (0, "", "")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert base64.b64encode(secret).decode() not in page
    assert page.count("data:image/png") == 5


def test_why_no_figure_was_drawn_is_told_in_the_report(out, monkeypatch):
    monkeypatch.setattr("crossed_jax.results.plots.save_figures", None)
    assert crossed_jax("report", out, "--quiet") == (0, "", "")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Not drawn: effects (TypeError" in page


@pytest.mark.parametrize("missing", ["all", "posterior"])
def test_what_is_no_finished_fit_is_refused(out, missing):
    shutil.rmtree(out) if missing == "all" else (out / "posterior.nc").unlink()
    before = contents(out.parent)
    assert_refused(crossed_jax("report", out), "holds no finished fit", repr(str(out)))
    assert contents(out.parent) == before


def test_a_damaged_posterior_is_refused(out):
    (out / "posterior.nc").write_bytes((out / "posterior.nc").read_bytes()[:5000])
    assert_refused(crossed_jax("report", out), "posterior.nc", "cannot be read", "fit again")
    assert not (out / "report.html").exists()


def test_a_file_that_is_no_report_of_ours_is_left_alone(out):
    (out / "report.html").write_text("mine")
    assert_refused(crossed_jax("report", out), "report.html", "take away what is in its place")
    assert (out / "report.html").read_text() == "mine"


@pytest.mark.usefixtures("bare")
def test_a_report_that_fails_is_told_and_all_else_is_written(screen, tmp_path, monkeypatch):
    monkeypatch.setattr("crossed_jax.results.report.report", None)
    outcome = fit(screen, tmp_path / "out", "--seed", 3, "--no-figures", "--quiet")
    assert outcome.code == 0
    assert outcome.err.startswith("Not drawn: report (TypeError: ")
    assert not (tmp_path / "out" / "report.html").exists()
    run = strict_json(tmp_path / "out" / "run.json")
    assert run["figures_left_out"].keys() == {"report"}
