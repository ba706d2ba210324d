"""Checkpoints that are written often, and one to begin with."""

import shutil

import pytest
from runs import fit

from crossed_jax.sampling import chunks as sampler


@pytest.fixture
def often_saved(monkeypatch):
    monkeypatch.setattr(sampler, "SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr(sampler, "SECONDS_BETWEEN_REPORTS", 0.05)


@pytest.fixture(scope="session")
def four_draws(tmp_path_factory):
    folder = tmp_path_factory.mktemp("four") / "run"
    fit(folder, num_draws=4)
    return folder


@pytest.fixture
def checkpoint(four_draws, tmp_path):
    """A checkpoint of four draws, to be changed."""
    return shutil.copytree(four_draws, tmp_path / "run")
