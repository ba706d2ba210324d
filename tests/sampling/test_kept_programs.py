import os
import shutil
import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest
from example_tables import balanced

import crossed_jax as cj
from crossed_jax.sampling import kept_programs as programs
from crossed_jax.sampling import nuts

DATA = balanced((3, 4), 2, sds=(1, 1), sigma=0.5)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """What one fit keeps, moved out of the way; where it was; and the fit's draws."""
    folder = tmp_path_factory.mktemp("programs")
    with pytest.MonkeyPatch.context() as patched, jax.enable_x64(True):
        patched.setenv("CROSSED_JAX_CACHE", str(folder))
        patched.setattr(programs, "_in_use", {})
        drawn = draws()
    return shutil.move(folder, tmp_path_factory.mktemp("filled") / "programs"), folder, drawn


@pytest.fixture
def first(filled):
    return filled[2]


@pytest.fixture
def folder(filled, monkeypatch):
    """The directory as the fit left it, in what is as good as another process."""
    kept, folder, _ = filled
    shutil.copytree(kept, folder)  # to the same place, which is a part of what names a program
    monkeypatch.setenv("CROSSED_JAX_CACHE", str(folder))
    monkeypatch.setattr(programs, "_in_use", {})
    yield folder
    shutil.rmtree(folder)


def draws(**settings):
    settings = {"num_warmup": 50, "num_draws": 20} | settings
    return cj.fit(DATA, **settings)["posterior"]["sigma"].to_numpy()


def kept(folder):
    """A collapsed fit keeps two programs: the modes' and the sampler's."""
    return sorted(folder.rglob("*.stablehlo"))


def test_a_kept_program_is_not_traced_again_and_gives_the_same_draws(folder, first, monkeypatch):
    assert len(kept(folder)) == 2
    jax.clear_caches()
    monkeypatch.setattr(nuts, "_advance", None)  # tracing would call it
    np.testing.assert_array_equal(draws(), first)


def test_tables_of_other_sizes_share_the_program_of_the_balanced_form(folder):
    draws()
    larger = balanced((5, 9), 3, sds=(1, 1), sigma=0.5)
    cj.fit(larger, num_warmup=60, num_draws=20)
    assert len(kept(folder)) == 2


def test_other_forms_and_depths_have_programs_of_their_own(folder):
    draws()
    draws(max_tree_depth=5)
    draws(parameterization="sum_to_zero")
    assert len(kept(folder)) == 4


def test_other_devices_and_another_configuration_of_jax_have_programs_of_their_own():
    def name():
        return programs._name(nuts.advance, {}, [], jax.tree.structure(()))

    changes = (
        partial(jax.default_matmul_precision, "highest"),
        partial(jax.threefry_partitionable, False),
        partial(jax.numpy_rank_promotion, "raise"),
        partial(jax.default_device, jax.devices()[0]),
        partial(jax.set_mesh, jax.make_mesh((1,), ("x",))),
    )
    names = {name()}
    for change in changes:
        with change():
            names.add(name())
    assert len(names) == 1 + len(changes)
    assert name() in names


def test_draws_do_not_depend_on_the_callers_default_of_random_bits(first, monkeypatch):
    monkeypatch.setenv("CROSSED_JAX_CACHE", "off")
    with jax.threefry_partitionable(not jax.config.jax_threefry_partitionable):
        np.testing.assert_array_equal(draws(), first)


@pytest.mark.parametrize("debugging", [jax.disable_jit, jax.debug_nans, jax.debug_infs])
def test_nothing_is_kept_while_jax_is_debugged(folder, debugging):
    with debugging(True):
        assert programs.kept_program(nuts.advance, {}, (), None).func is nuts.advance


def test_a_damaged_compilation_is_made_again(folder, first):
    paths = list(folder.rglob("jit_call-*-cache"))
    assert len(paths) == 2
    for path in paths:
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="persistent compilation cache"):
        again = draws()
    np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("damage", [b"", b"short", b"\x00" * 5000])
def test_a_damaged_program_is_traced_again(folder, first, damage):
    paths = kept(folder)
    for path in paths:
        path.write_bytes(damage)
    np.testing.assert_array_equal(draws(), first)
    assert all(path.read_bytes() != damage for path in paths)


def test_caches_are_not_used_when_turned_off(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSED_JAX_CACHE", "off")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    draws(max_tree_depth=6)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CROSSED_JAX_CACHE", str(tmp_path / "file" / "below"))
    assert draws(max_tree_depth=4).shape == (4, 20)


def test_the_callers_own_settings_are_left_alone(folder):
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in names]
    draws()
    assert [getattr(jax.config, name) for name in names] == before


def test_functions_of_the_callers_own_are_not_kept():
    with pytest.raises(TypeError):
        programs._describe(lambda x: x)


def test_the_order_in_which_a_process_lists_a_prior_s_parameters_changes_nothing(tmp_path):
    script = """
import numpyro.distributions as dist
import crossed_jax as cj
means = (dist.Normal(0.0, 5.0),) * 2
priors = cj.Priors(means, (dist.Gamma(2.0, 30.0),) * 2, dist.Exponential(1.0))
tree = cj.fit(cj.simulate_screen().data, priors=priors, num_warmup=50, num_draws=20)
print(float(tree["posterior"]["gene_sd"].mean()))
"""
    printed = []
    for seed in ("1", "8"):  # of which the second lists them the other way round
        environment = os.environ | {"PYTHONHASHSEED": seed, "CROSSED_JAX_CACHE": str(tmp_path)}
        command = [sys.executable, "-c", script]
        printed.append(subprocess.check_output(command, env=environment))
    assert printed[0] == printed[1]


def test_processes_may_fill_one_cache_at_once_and_name_a_program_alike(tmp_path):
    script = """
import sys
import numpy as np
import crossed_jax as cj
tree = cj.fit(cj.penicillin(), priors="scaled", num_warmup=20, num_draws=8)
np.save(sys.argv[1], tree["posterior"]["sigma"])
"""
    cache = tmp_path / "cache"
    environment = os.environ | {"CROSSED_JAX_CACHE": str(cache)}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script, tmp_path / f"{i}.npy"],
            env=environment | {"PYTHONHASHSEED": str(i)},
        )
        for i in range(2)
    ]
    assert [run.wait(timeout=240) for run in runs] == [0, 0]
    np.testing.assert_array_equal(*(np.load(tmp_path / f"{i}.npy") for i in range(2)))
    assert len(list(cache.rglob("*.stablehlo"))) == 2
    assert len(list(cache.rglob("jit_call-*-cache"))) == 2
    assert not list(cache.rglob("*.part"))
