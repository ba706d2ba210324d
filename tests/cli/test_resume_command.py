"""``crossed-jax resume``: fits that are interrupted, extended or damaged."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
import xarray as xr
from command_line import CHAINS, contents, crossed_jax, draws_in, fit

import crossed_jax as cj
from crossed_jax.files.whole import locked


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A table, its fit and its checkpoint, moved out of the way; and where they were."""
    place = tmp_path_factory.mktemp("fit")
    crossed_jax("simulate", "--out", place / "screen.csv")
    options = ("--warmup", 600, "--draws", 100, "--no-figures", "--quiet")
    fit(place / "screen.csv", place / "out", *options, "--checkpoint", place / "run")
    return shutil.move(place, tmp_path_factory.mktemp("kept")), place


@pytest.fixture
def place(fitted):
    """A table, its fit and its checkpoint as the fit left them, to be changed."""
    kept, place = fitted
    shutil.copytree(kept, place)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def checkpointed(place):
    return place / "run"


def test_resume_extends_a_finished_fit_and_keeps_its_draws(place, checkpointed):
    shorter = draws_in(place / "out")
    assert crossed_jax("resume", checkpointed, "--extend", 50, "--quiet").code in (0, 3)
    longer = draws_in(place / "out")
    assert longer.sizes["draw"] == 150
    assert longer.isel(draw=slice(100)).equals(shorter)
    assert json.loads((place / "out" / "run.json").read_text())["effects_drawn_to"] == [100, 150]
    assert crossed_jax("resume", checkpointed, "--quiet").code in (0, 3)
    xr.testing.assert_equal(draws_in(place / "out"), longer)


def test_an_extension_counts_once_it_is_accepted(place, checkpointed):
    command = (checkpointed / "command.json").read_bytes()
    table = (place / "screen.csv").read_bytes()
    crossed_jax("simulate", "--seed", 5, "--out", place / "screen.csv")
    assert crossed_jax("resume", checkpointed, "--extend", 50).code == 2
    (place / "screen.csv").write_bytes(table)
    with locked(checkpointed):
        outcome = crossed_jax("resume", checkpointed, "--extend", 50)
    assert outcome.code == 2
    assert "another run is using the checkpoint" in outcome.err
    assert (checkpointed / "command.json").read_bytes() == command


@pytest.mark.parametrize("how", ["on the command line", "in Python"])
def test_a_longer_fit_is_the_one_that_is_resumed(place, checkpointed, how):
    settings = {"response": "logfc", "factors": ("gene", "cell_line")}
    out = place / "out"
    if how == "in Python":
        data = cj.read_table(place / "screen.csv", **settings)
        cj.fit(data, num_warmup=600, num_draws=150, checkpoint=checkpointed)
    else:
        out = place / "longer"
        options = ("--warmup", 600, "--draws", 150, "--no-figures", "--quiet")
        fit(place / "screen.csv", out, *options, "--checkpoint", checkpointed)
    assert crossed_jax("resume", checkpointed, "--quiet").code in (0, 3)
    assert draws_in(out).sizes["draw"] == 150


def test_resume_says_when_there_is_nothing_to_go_on_with(tmp_path):
    outcome = crossed_jax("resume", tmp_path / "nothing")
    assert outcome.code == 2
    assert "there is no checkpoint of a fit in" in outcome.err
    assert "given as --checkpoint." in outcome.err


@pytest.mark.parametrize(
    "change", ["", "[1]", "{}", ("num_draws", "many"), ("factors", 3), ("out", "\0")]
)
def test_resume_names_a_damaged_command(checkpointed, change):
    path = checkpointed / "command.json"
    if isinstance(change, tuple):
        change = json.dumps(json.loads(path.read_text()) | dict([change]))
    path.write_text(change)
    outcome = crossed_jax("resume", checkpointed)
    assert outcome.code == 2
    assert "command.json" in outcome.err
    assert "damaged" in outcome.err


def test_resume_refuses_a_table_that_was_changed(place, checkpointed):
    crossed_jax("simulate", "--seed", 5, "--out", place / "screen.csv")
    before = contents(place / "out")
    outcome = crossed_jax("resume", checkpointed)
    assert outcome.code == 2
    assert "of another run: its table is" in outcome.err
    assert contents(place / "out") == before


def test_an_interrupted_fit_with_a_checkpoint_says_how_to_go_on(screen, tmp_path):
    command = [
        *(sys.executable, "-c", "from crossed_jax.cli.main import main; main()"),
        *("fit", str(screen), "--response", "logfc", *map(str, CHAINS)),
        *("--factors", "gene,cell_line", "--out", str(tmp_path / "out"), "--draws", "100000"),
        *("--parameterization", "original", "--checkpoint", str(tmp_path / "run")),
    ]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("*.draws")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert told == (
        f"crossed-jax: interrupted; go on with: crossed-jax resume {tmp_path / 'run'}\n"
    )
    assert not (tmp_path / "out").exists()
