"""Draws that are written as they are drawn."""

import pytest
import xarray as xr
from command_line import CHAINS, contents, crossed_jax, draws_in, fit

BRIEFLY = ("--warmup", 600, "--draws", 400, "--quiet")


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held")
    crossed_jax("simulate", "--genes", 30, "--out", folder / "screen.csv")
    assert fit(folder / "screen.csv", folder / "out", *BRIEFLY).code == 0
    return folder


@pytest.mark.parametrize("why", ["asked for", "too many for memory"])
def test_a_streamed_fit_writes_what_a_fit_does(held, tmp_path, monkeypatch, why):
    options = BRIEFLY
    if why == "asked for":
        options = (*options, "--stream")
    else:
        monkeypatch.setattr("crossed_jax.sampling.memory._available_memory", lambda: 800_000)
    assert fit(held / "screen.csv", tmp_path / "out", *options).code == 0
    expected, streamed = contents(held / "out"), contents(tmp_path / "out")
    assert set(streamed) == set(expected)
    assert streamed["effects.csv"] == expected["effects.csv"]
    xr.testing.assert_identical(draws_in(tmp_path / "out"), draws_in(held / "out"))


def test_a_streamed_fit_is_resumed(screen, tmp_path):
    options = (*CHAINS, "--parameterization", "sum_to_zero", "--no-figures", "--quiet")
    checkpoint = tmp_path / "run"
    streaming = (*options, "--stream", "--checkpoint", checkpoint)
    fit(screen, tmp_path / "out", *streaming, "--draws", 100)
    crossed_jax("resume", checkpoint, "--extend", 100, "--quiet")
    fit(screen, tmp_path / "longer", *options, "--draws", 200)
    xr.testing.assert_identical(draws_in(tmp_path / "out"), draws_in(tmp_path / "longer"))
