"""Everything the README tells people to run, run; and its tables, as the results have them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from command_line import crossed_jax

from benchmarks.render import READMES, render

pytestmark = pytest.mark.usefixtures("optimized")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def fenced(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


COMMANDS = [line for block in fenced("sh") for line in block.splitlines() if line]
OURS = [c.split("uv run ", 1)[1] for c in COMMANDS if "crossed-jax" in c]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder like the clone as far as the commands look, to write into."""
    path = tmp_path_factory.mktemp("readme")
    (path / "crossed_jax").symlink_to(ROOT / "crossed_jax")
    return path


def run(arguments, folder):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        arguments,
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_two_commands_come_first_and_ci_runs_the_second():
    assert COMMANDS[:2] == ["pip install uv && uv run crossed-jax demo", "uv run pytest"]
    assert "\nuv run pytest\n" in (ROOT / ".ci" / "run").read_text()
    assert all("crossed-jax" in command for command in COMMANDS[2:])


def test_the_first_command_succeeds(folder):
    done = run(shlex.split(OURS[0]), folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", OURS[1:])
def test_commands_succeed(command, folder, monkeypatch):
    monkeypatch.chdir(folder)
    program, *arguments = shlex.split(command)
    assert program == "crossed-jax"
    with jax.enable_x64(False):
        done = crossed_jax(*arguments)
    assert done.code == 0, done.err


@pytest.mark.parametrize("example", fenced("python"))
def test_python_examples_run(example, folder):
    done = run([sys.executable, "-c", example], folder)
    assert done.returncode == 0, done.stderr
    assert "Converged." in done.stdout or "diagnose" not in example


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_tables_are_those_of_the_committed_results(path):
    text = path.read_text()
    assert render(text) == text


def test_pictures_exist():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path
