import re

import pytest

import crossed_jax as cj
from crossed_jax.sampling import memory
from crossed_jax.sampling.memory import check_draws, check_run, most_draws_in_memory
from crossed_jax.sampling.settings import RunSettings


@pytest.fixture(autouse=True)
def _memory(monkeypatch):
    monkeypatch.setattr(memory, "_available_memory", lambda: 2**33)


@pytest.mark.parametrize("keeping", [{}, {"keep_effects": "summary"}, {"stream_to": "draws.nc"}])
@pytest.mark.parametrize(
    ("name", "number", "told"),
    [
        ("num_chains", 10**10, "10,000,000,000 chains need 47,087.7 GiB"),
        ("num_warmup", 10**12, "1,000,000,000,000 warm-up steps need 14,901.2 GiB"),
        ("num_draws", 10**20, "100,000,000,000,000,000,000 draws of each chain need"),
    ],
)
def test_a_run_too_large_for_memory_is_refused_before_it_is_begun(
    name, number, told, keeping, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(cj.InputError, match=f"^{re.escape(told)}.*or fewer.$"):
        cj.fit(cj.penicillin(), priors="scaled", **{name: number}, **keeping)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["num_chains", "num_warmup", "num_draws"])
@pytest.mark.parametrize("num_coordinates", [3, 33])
@pytest.mark.parametrize("chain_method", ["vectorized", "sequential"])
def test_what_is_told_to_fit_does(name, num_coordinates, chain_method):
    asked = RunSettings(4, 1000, 4, 0, 0.8, 10, chain_method)
    with pytest.raises(cj.InputError) as refusal:
        check_run(asked._replace(**{name: 10**15}), num_coordinates)
    most = int(re.search(r"ask for ([\d,]+) or", str(refusal.value))[1].replace(",", ""))
    check_run(asked._replace(**{name: most}), num_coordinates)
    with pytest.raises(cj.InputError):
        check_run(asked._replace(**{name: most + 1}), num_coordinates)


@pytest.mark.parametrize(
    ("parameterization", "ways"),
    [
        ("original", []),
        ("sum_to_zero", ["stream_to="]),
        ("collapsed", ["stream_to=", "keep_effects='summary'"]),
    ],
)
def test_draws_of_effects_beyond_memory_are_refused_with_the_ways_out(parameterization, ways):
    most = most_draws_in_memory(30)
    assert most == 2**33 // (16 * 30)
    check_draws(30, most, parameterization)
    with pytest.raises(cj.InputError, match=f"ask for {most:,} draws in all") as refusal:
        check_draws(30, most + 1, parameterization)
    told = [way for way in ("stream_to=", "keep_effects='summary'") if way in str(refusal.value)]
    assert told == ways
