"""Real tables against quadrature, reference estimates, and one form against another."""

import json

import numpy as np
import polars as pl
import pytest
from example_tables import SHARED
from truth import disagreement, posterior_by_quadrature, standardized_errors

import crossed_jax as cj
from crossed_jax.models.priors import scaled_priors

pytestmark = pytest.mark.usefixtures("optimized")
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="../shared is not beside the clone")


def reference(dataset, response):
    """REML estimates of the additive model by lme4, by parameter."""
    frame = pl.read_csv(SHARED / "reference_estimates_lme4.csv", null_values="NA")
    frame = frame.filter((pl.col("dataset") == dataset) & (pl.col("method") == "REML"))
    additive = frame.filter(
        pl.col("formula").str.starts_with(f"{response} ~ 1 + (1"),
        pl.col("formula").str.count_matches(r"\|") == 2,
    )
    return dict(additive.select("parameter", "estimate").iter_rows())


@pytest.fixture(scope="module")
def penicillin():
    return cj.penicillin()


@pytest.fixture(scope="module")
def penicillin_fit(penicillin):
    return cj.fit(penicillin, priors="scaled", num_draws=2500, seed=1)


def test_penicillin_agrees_with_quadrature(penicillin, penicillin_fit):
    diagnosis = cj.diagnose(penicillin_fit)
    assert diagnosis.converged, diagnosis
    truth = posterior_by_quadrature(
        penicillin,
        scaled_priors(penicillin),
        [np.arange(-1.1, 1.1, 0.1), np.arange(-0.5, 3.0, 0.15), np.arange(-0.95, -0.2, 0.05)],
    )
    errors = standardized_errors(cj.original_coordinates(penicillin_fit, seed=2), truth)
    # 2 x 64 moments: the largest of that many Monte Carlo errors is near 3 of their SEs
    assert max(errors.values()) < 4.5, errors


@needs_shared
def test_penicillin_is_near_reml(penicillin_fit):
    """Posterior means of well-informed quantities; the SD of 6 samples differs by its prior."""
    reml = reference("Penicillin", "diameter")
    posterior = penicillin_fit["posterior"]
    assert float(posterior["intercept"].mean()) == pytest.approx(reml["fixef_(Intercept)"], abs=0.1)
    assert float(posterior["sigma"].mean()) == pytest.approx(reml["sd_Residual"], rel=0.03)
    assert float(posterior["plate_sd"].mean()) == pytest.approx(reml["sd_plate"], rel=0.08)
    assert float(posterior["sample_sd"].median()) == pytest.approx(reml["sd_sample"], rel=0.15)


@pytest.mark.parametrize("form", ["sum_to_zero", "original"])
def test_forms_agree_on_penicillin(penicillin, penicillin_fit, form):
    other = cj.fit(
        penicillin, parameterization=form, priors="scaled", num_chains=2, num_draws=4000, seed=1
    )
    assert disagreement(penicillin_fit, other) < 4.5


@pytest.fixture(scope="module")
def avana():
    frame = pl.read_csv(SHARED / "avana_ky_screens" / "lfc_gene_by_replicate.csv.gz")
    frame = frame.filter((pl.col("library") == "Avana") & pl.col("passes_qc"))
    return cj.read_table(frame, response="lfc", factors=("gene", "cell_line"))


@pytest.fixture(scope="module")
def avana_sum_to_zero(avana):
    return cj.fit(avana, parameterization="sum_to_zero", seed=1)


@needs_shared
def test_avana_screen(avana, avana_sum_to_zero):
    assert (avana.num_rows, *(len(f.levels) for f in avana.factors)) == (75_938, 883, 41)
    assert cj.diagnose(avana_sum_to_zero).converged
    reml = reference("QCpass_chronos_Avana_gene_by_replicate", "lfc")
    posterior = avana_sum_to_zero["posterior"]
    for name in ("gene", "cell_line"):
        levels = posterior.sizes[name]
        found = float(posterior[f"{name}_sd"].mean())
        # the posterior's own width, (2 levels)^-1/2: a posterior mean is not REML's mode
        assert found == pytest.approx(reml[f"sd_{name}"], rel=1 / np.sqrt(2 * levels))
    assert float(posterior["sigma"].mean()) == pytest.approx(reml["sd_Residual"], rel=0.005)


@needs_shared
def test_forms_agree_on_avana(avana, avana_sum_to_zero):
    collapsed = cj.fit(avana, seed=1)
    assert cj.diagnose(collapsed).converged
    assert max(json.loads(collapsed.attrs["interpolation_error"]).values()) < 1e-3
    # 927 quantities
    assert disagreement(collapsed, avana_sum_to_zero) < 5.0


@needs_shared
def test_depmap_with_a_line_sd_near_zero():
    wide = pl.read_csv(
        SHARED / "depmap_24q4_subset" / "CRISPRGeneEffect.csv.gz", infer_schema_length=None
    )
    frame = wide.unpivot(index="V1", variable_name="gene", value_name="effect")
    data = cj.read_table(frame, response="effect", factors=("V1", "gene"))
    assert data.num_missing == 1_543
    tree = cj.fit(data, parameterization="sum_to_zero", seed=1)
    assert json.loads(tree.attrs["centered"]) == {"V1": False, "gene": True}
    diagnosis = cj.diagnose(tree)
    assert diagnosis.divergences == int(tree["sample_stats"]["diverging"].sum())
    assert diagnosis.converged, diagnosis
    reml = reference("depmap_24Q4_subset", "gene_effect")
    posterior = tree["posterior"]
    line_sd = posterior["V1_sd"]
    assert abs(float(line_sd.mean()) - reml["sd_cell_line"]) < 2 * float(line_sd.std())
    assert float(posterior["gene_sd"].mean()) == pytest.approx(reml["sd_gene"], rel=0.06)
    assert float(posterior["sigma"].mean()) == pytest.approx(reml["sd_Residual"], rel=0.005)


@needs_shared
def test_insteval():
    path = SHARED / "insteval" / "InstEval.csv.gz"
    data = cj.read_table(path, response="y", factors=("s", "d"))
    tree = cj.fit(data, seed=0)
    diagnosis = cj.diagnose(tree)
    assert diagnosis.converged, diagnosis
    assert max(json.loads(tree.attrs["interpolation_error"]).values()) < 1e-3
    reml = reference("InstEval", "y")
    for name, parameter in (("s_sd", "sd_s"), ("d_sd", "sd_d"), ("sigma", "sd_Residual")):
        draws = tree["posterior"][name]
        assert abs(float(draws.mean()) - reml[parameter]) < float(draws.std())
