"""Chains over several devices and processes; each in a process of its own, as JAX wants it."""

import os
import socket
import subprocess
import sys
from importlib import resources
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import crossed_jax as cj
from crossed_jax.sampling.devices import available_devices, spread

FIT = """
def fit(method, **settings):
    settings = {{"num_chains": {chains}, "num_draws": 100}} | settings
    tree = cj.fit(
        cj.penicillin(), parameterization="{form}", priors="scaled", num_warmup=200,
        chain_method=method, **settings,
    )
    return tree["posterior"]["sigma"].to_numpy()
"""

DEVICES = """
import jax
import numpy as np
import crossed_jax as cj
jax.config.update("jax_num_cpu_devices", {number})
{fit}
found = {{method: fit(method) for method in ("vectorized", "sequential", "parallel")}}
for method in ("sequential", "parallel"):
    np.testing.assert_allclose(found[method], found["vectorized"], rtol=1e-9)

from crossed_jax.sampling import nuts

from crossed_jax.sampling import kept_programs as programs
programs._in_use.clear()
jax.clear_caches()
nuts._advance = None  # tracing would call it: the program for these devices was kept
np.testing.assert_array_equal(fit("parallel"), found["parallel"])
"""

DEFAULT_DEVICE = """
import jax
import numpy as np
import crossed_jax as cj
from crossed_jax.sampling import kept_programs as programs
from crossed_jax.sampling import chunks as sampler
jax.config.update("jax_num_cpu_devices", 2)
{fit}
ran_on = set()
copied = sampler.on_host
def spy(array, **rows):
    ran_on.update(array.devices())
    return copied(array, **rows)
sampler.on_host = spy

first, second = jax.devices()
expected = fit("sequential")
assert ran_on == {{first}}
for kept in ("in the process", "on disk"):
    ran_on.clear()
    with jax.default_device(second):
        np.testing.assert_array_equal(fit("auto"), expected)
    assert ran_on == {{second}}, kept
    programs._in_use.clear()
    jax.clear_caches()
"""

PROCESSES = """
import sys
import jax
import numpy as np
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
import crossed_jax as cj
assert jax.device_count() == 4
leads = jax.process_index() == 0
{fit}
for method in ("parallel", "vectorized", "sequential"):
    # the second goes on with the first; only the first process has the disk
    folder = f"{{sys.argv[3]}}/{{method}}" if leads else "/dev/null/nothing"
    for num_draws in (60, 100):
        found = fit(method, num_draws=num_draws, checkpoint=folder)
    np.save(f"{{sys.argv[3]}}/{{method}}-{{sys.argv[2]}}.npy", found)
try:
    fit("sequential", num_draws=100, checkpoint=folder, seed=1)
except cj.InputError as error:
    assert "of another run" in str(error)
else:
    raise AssertionError("another run's checkpoint was taken")
"""

MAIN = "from crossed_jax.cli.main import main; main()"


def program(text, form, chains=4, **values):
    fit = FIT.format(form=form, chains=chains)
    return [sys.executable, "-c", text.format(fit=fit, **values)]


@pytest.mark.parametrize(("form", "number"), [("collapsed", 2), ("sum_to_zero", 4)])
def test_draws_do_not_depend_on_how_chains_share_the_devices(form, number):
    subprocess.run(program(DEVICES, form, number=number), check=True)


def test_a_fit_runs_on_the_callers_default_device(tmp_path):
    environment = os.environ | {"CROSSED_JAX_CACHE": str(tmp_path)}
    subprocess.run(program(DEFAULT_DEVICE, "collapsed"), check=True, env=environment)


def test_the_callers_default_device_is_the_one_that_is_used():
    everywhere = jax.devices("cpu")
    for asked, expected in (("cpu", everywhere), (everywhere[-1], everywhere[-1:])):
        with jax.default_device(asked):
            assert available_devices() == expected


def pretend_devices(monkeypatch, processes, each):
    """Have JAX list so many devices of each process, and a mesh be the array of its devices."""
    devices = [
        SimpleNamespace(process_index=process, platform="cpu", name=f"{process}.{number}")
        for process in range(processes)
        for number in range(each)
    ]
    monkeypatch.setattr(jax, "devices", lambda kind: devices)
    monkeypatch.setattr("crossed_jax.sampling.devices.Mesh", lambda devices, axes: devices)


@pytest.mark.parametrize(
    ("processes", "each", "chains", "chosen"),
    [(2, 2, 4, 4), (2, 2, 2, 2), (2, 2, 3, 3), (2, 2, 1, None), (4, 1, 2, None), (2, 4, 6, 6)],
)
def test_each_process_has_some_of_the_chains_or_all(monkeypatch, processes, each, chains, chosen):
    pretend_devices(monkeypatch, processes, each)
    mesh, _ = spread("parallel", chains)
    if chosen is None:
        assert mesh is None
    else:
        assert mesh.shape == (chosen, 1)
        assert len({device.name for device in mesh.ravel()}) == chosen
        assert {device.process_index for device in mesh.ravel()} == set(range(processes))


@pytest.mark.parametrize(
    ("processes", "each", "chains", "shape"),
    [(1, 4, 4, (4, 1)), (1, 4, 2, (2, 2)), (2, 2, 1, (1, 4)), (1, 6, 4, (4, 1)), (4, 1, 2, (2, 2))],
)
def test_devices_without_a_chain_share_the_data_of_one(monkeypatch, processes, each, chains, shape):
    pretend_devices(monkeypatch, processes, each)
    mesh, _ = spread("auto", chains, can_share=True)
    assert mesh.shape == shape
    assert {device.process_index for device in mesh.ravel()} == set(range(processes))


def test_two_processes_draw_what_one_does_and_go_on_with_a_checkpoint(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    both = [
        subprocess.Popen(
            [*program(PROCESSES, "collapsed", chains=2), address, str(i), str(tmp_path)]
        )
        for i in range(2)
    ]
    try:
        assert [process.wait(timeout=240) for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
    settings = {"num_chains": 2, "num_warmup": 200, "num_draws": 100, "chain_method": "sequential"}
    alone = cj.fit(cj.penicillin(), priors="scaled", **settings)["posterior"]["sigma"]
    for method in ("parallel", "vectorized", "sequential"):
        for i in range(2):
            found = np.load(tmp_path / f"{method}-{i}.npy")
            np.testing.assert_allclose(found, alone, rtol=1e-9)


@pytest.mark.parametrize(
    ("platforms", "told"),
    [
        ("cuda", "JAX finds no device of the kind 'cuda'"),
        ("bogus", "JAX finds no device of the kind 'bogus' (Unable to initialize backend 'bogus'"),
    ],
)
def test_a_kind_of_device_that_is_not_there_is_told_in_one_line(tmp_path, platforms, told):
    if platforms == "cuda" and any(device.platform == "gpu" for device in jax.devices()):
        pytest.skip("there is a GPU")
    table = resources.files("crossed_jax") / "tables" / "examples" / "penicillin.csv"
    given = ["--response", "diameter", "--factors", "plate,sample", "--out", tmp_path / "out"]
    run = subprocess.run(
        [sys.executable, "-c", MAIN, "fit", table, *given],
        check=False,
        env=os.environ | {"JAX_PLATFORMS": platforms},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stderr.startswith(f"crossed-jax: {told}")
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
