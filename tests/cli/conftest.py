"""A folder where nothing may be sampled, and a screen of the post's size."""

import pytest
from command_line import GOOD, crossed_jax


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with a good table, where nothing may be sampled."""

    def sampled(*_, **__):
        raise AssertionError("bad input was sampled")

    monkeypatch.setattr("crossed_jax.fitting.sample", sampled)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "mine.parquet").write_text("mine")
    return tmp_path


@pytest.fixture(scope="session")
def screen(tmp_path_factory):
    path = tmp_path_factory.mktemp("screen") / "screen.csv"
    assert crossed_jax("simulate", "--seed", 1, "--out", path).code == 0
    return path
