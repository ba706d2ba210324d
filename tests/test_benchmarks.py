"""The benchmark's own arithmetic, and a small run of it: shape and gate, never times."""

import argparse
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import crossed_jax as cj
from benchmarks import gpu, measures, process, render, run, summary, tables
from benchmarks.entries import ENTRIES, QUICK, chosen
from benchmarks.problems import PROBLEMS, prepare
from benchmarks.truth import truth_of

ROOT = Path(__file__).parents[1]


def parsed(module, *arguments):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The post's problem with its truth."""
    folder = prepare(PROBLEMS["post"], work=tmp_path_factory.mktemp("work"))
    truth_of(folder, by_quadrature=True)
    return folder


@pytest.fixture(scope="module")
def truth(folder):
    return truth_of(folder, by_quadrature=True)


@pytest.fixture(scope="module")
def spec(folder):
    return json.loads((folder / "spec.json").read_text())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What ``run --quick`` writes."""
    folder = tmp_path_factory.mktemp("results")
    run.main(parsed(run, "--quick", "--results", folder))
    return folder


def test_a_quick_run_has_the_shape_of_a_result_and_passes_the_gate(results):
    (path,) = results.iterdir()
    found = json.loads(path.read_text())
    assert [each["entry"] for each in found["runs"]] == list(QUICK)
    for each in found["runs"]:
        assert each["gate"]["agrees"], each["gate"]
        assert {"import", "build", "compile", "warmup", "sample", "process"} <= set(each["seconds"])
        assert 0 < each["identified"]["min_ess_bulk"] <= each["identified"]["median_ess_bulk"]
        assert each["all"]["min_ess_bulk"] <= each["identified"]["min_ess_bulk"]
        assert each["counts"]["gradients"] >= each["draws"] == 2000
        assert each["peak_memory"] > 2**20
        assert each["versions"]["python"]
    assert str(ROOT) not in path.read_text()


def test_a_quick_run_can_be_rendered(results, tmp_path):
    from benchmarks.figures import draw_all

    table = tables.speed_table("post", results)
    assert table.count("\n") == 1 + len(QUICK)
    assert all(name in table for name in QUICK)
    assert "1 of 1" in table
    assert "numpyro" in tables.verdict("post", results)
    assert tables.seconds_table("post", results).startswith("| sampler |")
    (drawn,) = draw_all(results, tmp_path)
    assert drawn.stat().st_size > 1000


def test_quadrature_knows_its_error_and_has_the_data_in_it(folder, truth, spec):
    assert np.max(truth.mean_error / truth.sd) < 1e-6
    assert np.max(truth.sd_error / truth.sd) < 1e-6
    # ninety rows of noise 0.05 place the effects well: the least-squares values, hardly shrunk
    arrays = np.load(folder / "input.npz")
    response, gene = arrays["response"], arrays["codes"][0]
    deviations = [response[gene == g].mean() - response.mean() for g in range(3)]
    genes = [truth.names.index(f"gene_effect[{g}]") for g in range(3)]
    np.testing.assert_allclose(truth.mean[genes], deviations, atol=0.01)
    assert truth.mean[0] == pytest.approx(response.mean(), abs=1e-3)
    assert len(truth.names) == 2 + 2 + sum(spec["num_levels"])


def test_quadrature_agrees_with_the_collapsed_parameterization(folder, truth, spec):
    data = cj.read_table(folder / "table.csv", response="logfc", factors=("gene", "cell_line"))
    tree = cj.fit(data, seed=4, num_draws=2000)
    posterior = tree["posterior"]
    draws = {"sigma": posterior["sigma"].to_numpy(), "intercept": posterior["intercept"].to_numpy()}
    for factor in spec["factors"]:
        draws[f"{factor}_sd"] = posterior[f"{factor}_sd"].to_numpy()
        draws[f"{factor}_level"] = posterior[f"{factor}_effect"].to_numpy()
    assert measures.agreement(measures.identified(draws, spec), truth)["agrees"]


def test_the_gate_turns_a_wrong_posterior_away_and_a_right_one_not(truth):
    rng = np.random.default_rng(0)
    draws = truth.mean + truth.sd * rng.standard_normal((4, 2000, len(truth.mean)))
    assert measures.agreement(draws, truth)["agrees"]
    wider = truth.mean + 1.1 * (draws - truth.mean)
    assert not measures.agreement(wider, truth)["agrees"]
    shifted = draws.copy()
    shifted[..., 3] += 0.1 * truth.sd[3]
    gate = measures.agreement(shifted, truth)
    assert not gate["agrees"]
    assert gate["of"]["mean"] == truth.names[3]


def test_identified_quantities_do_not_see_what_is_moved_between_factors(spec):
    rng = np.random.default_rng(1)
    draws = {
        "sigma": rng.random((2, 5)),
        "gene_sd": rng.random((2, 5)),
        "cell_line_sd": rng.random((2, 5)),
        "gene_level": rng.standard_normal((2, 5, 3)),
        "cell_line_level": rng.standard_normal((2, 5, 10)),
    }
    shift = rng.standard_normal((2, 5, 1))
    moved = draws | {
        "gene_level": draws["gene_level"] + shift,
        "cell_line_level": draws["cell_line_level"] - shift,
    }
    known = measures.identified(draws, spec)
    np.testing.assert_allclose(known, measures.identified(moved, spec), atol=1e-12)
    np.testing.assert_allclose(known[..., 4:7].sum(-1), 0, atol=1e-12)


def test_recovered_coordinates_add_up_and_have_the_librarys_moments(folder, spec):
    data = cj.read_table(folder / "table.csv", response="logfc", factors=("gene", "cell_line"))
    tree = cj.fit(data, seed=4, num_draws=4000)
    posterior = tree["posterior"]
    draws = {
        "intercept": posterior["intercept"].to_numpy(),
        "sigma": posterior["sigma"].to_numpy(),
        "gene_sd": posterior["gene_sd"].to_numpy(),
        "cell_line_sd": posterior["cell_line_sd"].to_numpy(),
        "gene_level": posterior["gene_effect"].to_numpy(),
        "cell_line_level": posterior["cell_line_effect"].to_numpy(),
    }
    own = measures.original(draws, spec, seed=1)
    total = own[..., 2:5].mean(-1) + own[..., 5:].mean(-1)
    np.testing.assert_allclose(total, draws["intercept"])
    library = cj.original_coordinates(tree, seed=2)["posterior"]
    for k, factor in enumerate(("gene", "cell_line")):
        theirs = library[f"{factor}_mean"].to_numpy()
        assert own[..., k].std() == pytest.approx(theirs.std(), rel=0.05)
        assert own[..., k].mean() == pytest.approx(theirs.mean(), abs=0.2)


def test_a_wrong_posterior_has_no_speed(tmp_path):
    good = {
        "entry": ENTRIES[0].name,
        "seed": 0,
        "cold": True,
        "load": 0.0,
        "peak_memory": 2**30,
        "seconds": {"warmup": 1.0, "sample": 1.0, "process": 4.0, "compile": 2.0},
        "counts": {"gradients": 10, "divergences": 0, "max_tree_depth_hits": 0},
        "identified": {"min_ess_bulk": 100.0, "max_r_hat": 1.0},
        "gate": {"agrees": True, "bound": 4.0, "largest_z": {"mean": 1.0, "sd": 1.0}},
    }
    wrong = good["gate"] | {"agrees": False, "largest_z": {"mean": 9.0, "sd": 1.0}}
    bad = good | {"entry": ENTRIES[2].name, "gate": wrong}
    missing = {"entry": "lme4 REML", "error": "not installed: there is no Rscript"}
    written = {"date": "2000-01-01", "runs": [good, bad, missing], "problem": {"num_rows": 90}}
    (tmp_path / "post-20000101T000000.json").write_text(json.dumps(written))
    first, second, third = summary.rows("post", tmp_path)
    assert first.spread(summary.speed).median == 50.0
    assert tables.speeds(first, summary.speed) == "50"
    assert tables.speeds(second, summary.speed) == ""
    table = tables.speed_table("post", tmp_path)
    assert "disagrees with the truth: up to 9.0" in table
    assert "lme4 REML: not installed: there is no Rscript" in table
    assert third.runs == []
    # a later run of one entry replaces its row alone
    later = {"date": "2000-01-02", "runs": [good | {"peak_memory": 1}], "problem": {"num_rows": 90}}
    (tmp_path / "post-20000102T000000.json").write_text(json.dumps(later))
    assert [row.date for row in summary.rows("post", tmp_path)] == [
        "2000-01-02",
        "2000-01-01",
        "2000-01-01",
    ]


def test_time_to_enough_draws_scales_sampling_alone():
    each = {
        "seconds": {"process": 10.0, "warmup": 1.0, "sample": 2.0},
        "identified": {"min_ess_bulk": 800.0},
    }
    assert summary.seconds_to_enough(each) == pytest.approx(9.0)
    assert summary.work_to_enough(each) == pytest.approx(2.0)


def test_readme_places_must_name_tables_that_there_are():
    with pytest.raises(ValueError, match="which there is not"):
        render.render("<!-- table: demo -->\n<!-- end -->\n<!-- table: nonsense -->\n<!-- end -->")
    with pytest.raises(ValueError, match="no place for a table"):
        render.render("nothing")
    with pytest.raises(ValueError, match="several places"):
        render.render("<!-- table: demo -->\n<!-- end -->\n" * 2)


def test_a_peer_that_fails_is_told_without_this_machines_paths(tmp_path):
    entry = ENTRIES[0]._replace(script="crossed_jax_fit.py")
    settings = {"out": str(tmp_path / "out"), "problem": str(tmp_path / "nowhere")}
    with pytest.raises(process.PeerError, match=r"spec\.json") as caught:
        process.run(entry, sys.executable, settings, tmp_path / "cache", 60.0)
    assert str(tmp_path) not in str(caught.value)
    assert process.tail("at https://somewhere.org/simple/x") == "at (address)"


def test_a_peer_that_takes_too_long_is_stopped(tmp_path, folder):
    entry = ENTRIES[0]
    settings = {"out": str(tmp_path / "out"), "problem": str(folder), "form": "collapsed"}
    with pytest.raises(process.PeerError, match="stopped after 0 s"):
        process.run(entry, sys.executable, settings, tmp_path / "cache", 0.05)


def test_every_peer_is_a_script_that_is_there_and_says_what_it_needs():
    for entry in ENTRIES:
        text = (process.PEERS / entry.script).read_text()
        assert entry.in_project or text.startswith("# /// script\n"), entry.script
    assert {entry.name for entry in chosen(["numpyro"], "insteval")} == {
        "numpyro zero-sum, parallel"
    }
    with pytest.raises(SystemExit, match="no peer begins with 'nobody'"):
        chosen(["nobody"], "post")


def test_the_ladder_of_chains_climbs_on_the_cpu(tmp_path, capsys):
    small = ("--genome-genes", 20, "--genome-lines", 3, "--warmup", 600, "--draws", 20)
    arguments = parsed(
        gpu,
        *("--table", "post", "genome", "--form", "collapsed", "--chains", 4, 8),
        *(*small, "--results", tmp_path),
    )
    found = json.loads(gpu.main(arguments).read_text())
    assert set(found["tables"]) == {"post", "genome"}
    for table in found["tables"].values():
        assert [fit["chains"] for fit in table["fits"]] == [4, 8]
        assert all(fit["min_ess_bulk"] > 0 for fit in table["fits"])
    assert jax.devices()[0].platform != "cpu" or "no accelerator" in capsys.readouterr().out


def test_one_device_agrees_with_itself(folder):
    data = cj.read_table(folder / "table.csv", response="logfc", factors=("gene", "cell_line"))
    cpu = jax.devices("cpu")[0]
    settings = gpu.FEW | {"num_draws": 20}
    rows = [gpu.measure(data, "sum_to_zero", cpu, 4, settings)]
    found = gpu.compare(data, "sum_to_zero", rows, [cpu, cpu])
    assert found["float64_agrees"]
    assert found["largest_z_of_means"] == 0.0
    assert found["accelerator_wins_from_chains"] is None
