"""Whole fits: real tables against quadrature and reference estimates, the post's data, errors."""

import json

import numpy as np
import numpyro.distributions as dist
import polars as pl
import pytest
from arviz_stats.base import array_stats
from example_tables import SHARED, balanced, table
from scipy.interpolate import CubicSpline
from truth import log_sd_grid, posterior_by_quadrature, standardized_errors

import crossed_jax as cj
from crossed_jax.demo import identified
from crossed_jax.models.distributions import Exponential, Normal
from crossed_jax.models.priors import Priors, post_priors, scaled_priors
from crossed_jax.results.convergence import convergence

HALF = dist.HalfNormal(1.0)
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


def test_a_bounded_prior_of_an_sd_agrees_with_quadrature():
    data = balanced((12, 10), 2, sds=(0.5, 0.5), sigma=0.3, seed=1)
    priors = Priors((Normal(0.0, 5.0),) * 2, (dist.Uniform(0.0, 2.0), Exponential(1.0)), HALF)
    tree = cj.fit(data, priors=priors, seed=1)
    assert cj.diagnose(tree).converged
    truth = posterior_by_quadrature(
        data,
        priors,
        [np.arange(-1.6, np.log(2.0), 0.1), np.arange(-2, 1.2, 0.15), np.arange(-1.5, -0.8, 0.05)],
    )
    errors = standardized_errors(cj.original_coordinates(tree, seed=2), truth)
    assert max(errors.values()) < 4.5, errors


def test_chains_start_and_stay_within_a_support():
    """The data ask for an SD of two, and starts are scattered widely about what is nearest."""
    data = balanced((6, 10), 2, sds=(1.0, 0.5), sigma=0.3, seed=1)
    priors = Priors((Normal(0.0, 5.0),) * 2, (dist.Uniform(0.0, 0.6), Exponential(1.0)), HALF)
    tree = cj.fit(data, priors=priors, num_warmup=600, num_draws=50)
    assert np.isfinite(tree["sample_stats"]["lp"]).all()
    assert float(tree["posterior"]["a_sd"].max()) <= 0.6


@needs_shared
def test_penicillin_is_near_reml(penicillin_fit):
    """Posterior means of well-informed quantities; the SD of 6 samples differs by its prior."""
    reml = reference("Penicillin", "diameter")
    posterior = penicillin_fit["posterior"]
    assert float(posterior["intercept"].mean()) == pytest.approx(reml["fixef_(Intercept)"], abs=0.1)
    assert float(posterior["sigma"].mean()) == pytest.approx(reml["sd_Residual"], rel=0.03)
    assert float(posterior["plate_sd"].mean()) == pytest.approx(reml["sd_plate"], rel=0.08)
    assert float(posterior["sample_sd"].median()) == pytest.approx(reml["sd_sample"], rel=0.15)


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


@pytest.fixture(scope="module")
def post():
    return cj.simulate_screen(seed=0).data


def test_the_posts_data_without_the_ridge(post):
    tree = cj.fit(
        post, parameterization="sum_to_zero", num_chains=2, num_warmup=1000, num_draws=4000
    )
    diagnosis = cj.diagnose(tree)
    assert diagnosis.converged
    assert diagnosis.divergences <= 8
    assert diagnosis.max_tree_depth_hits == 0
    statistics = convergence(tree, identified(tree))
    assert min(float(x.min()) for x in statistics.ess_bulk.data_vars.values()) > 5000


def test_the_posts_data_on_the_ridge(post):
    tree = cj.fit(post, parameterization="original", num_chains=2, num_warmup=600, num_draws=500)
    diagnosis = cj.diagnose(tree)
    assert not diagnosis.converged
    assert diagnosis.ridge is not None
    assert diagnosis.max_tree_depth_hits > 100
    assert any("sum_to_zero" in reason for reason in diagnosis.reasons)


def disagreement(first, second):
    """Largest difference of the means of identified quantities, in Monte Carlo standard errors."""
    worst = 0.0
    for name in identified(first):
        means, squares = [], []
        for tree in (first, second):
            draws = tree["posterior"][name].transpose("chain", "draw", ...).to_numpy()
            means.append(draws.mean((0, 1)))
            squares.append(array_stats.mcse(draws, chain_axis=0, draw_axis=1) ** 2)
        error = np.sqrt(squares[0] + squares[1])
        worst = max(worst, float(np.max(np.abs(means[0] - means[1]) / error)))
    return worst


LONG = {"num_chains": 2, "num_draws": 4000, "seed": 1}


@pytest.fixture(scope="module")
def post_collapsed(post):
    return cj.fit(post, **LONG)


@pytest.mark.parametrize("form", ["sum_to_zero", "original"])
def test_forms_agree_on_the_posts_data(post, post_collapsed, form):
    assert post_collapsed.attrs["parameterization"] == "collapsed"
    assert disagreement(post_collapsed, cj.fit(post, parameterization=form, **LONG)) < 4.5


@pytest.mark.parametrize("form", ["sum_to_zero", "original"])
def test_forms_agree_on_penicillin(penicillin, penicillin_fit, form):
    other = cj.fit(penicillin, parameterization=form, priors="scaled", **LONG)
    assert disagreement(penicillin_fit, other) < 4.5


@needs_shared
def test_forms_agree_on_avana(avana, avana_sum_to_zero):
    collapsed = cj.fit(avana, seed=1)
    assert cj.diagnose(collapsed).converged
    assert max(json.loads(collapsed.attrs["interpolation_error"]).values()) < 1e-3
    # 927 quantities
    assert disagreement(collapsed, avana_sum_to_zero) < 5.0


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


def test_a_summary_of_the_effects_is_exact_and_small(post):
    tree = cj.fit(post, keep_effects="summary", seed=1)
    assert "gene_effect" not in tree["posterior"]
    drawn = cj.effects(cj.fit(post, seed=1))
    summary = cj.effects(tree)
    np.testing.assert_allclose(summary["mean"], drawn["mean"], atol=1e-12)
    np.testing.assert_allclose(summary["sd"], drawn["sd"], rtol=1e-9)
    assert summary["ess_bulk"].null_count() == len(summary)
    for needs_draws in (cj.original_coordinates, lambda t: cj.posterior_predictive(t, post)):
        with pytest.raises(cj.InputError, match="kept a summary"):
            needs_draws(tree)


def test_the_same_seed_gives_the_same_draws(post):
    first, again = (
        cj.fit(post, parameterization="sum_to_zero", num_chains=2, num_draws=50, seed=3)
        for _ in range(2)
    )
    assert first["posterior"].identical(again["posterior"])


def test_scaled_priors_do_not_mind_the_unit(post):
    """An affine change of the response changes the draws by the same, but for rounding."""
    settings = {"parameterization": "sum_to_zero", "priors": "scaled", "num_chains": 2}
    moved = table(3e4 + 1e3 * post.response, *(f.codes for f in post.factors))
    here = cj.fit(post, **settings, num_draws=1000)["posterior"]
    there = cj.fit(moved, **settings, num_draws=1000)["posterior"]
    for name, other in (("gene_effect", "a_effect"), ("sigma", "sigma")):
        ours, theirs = here[name].to_numpy(), there[other].to_numpy() / 1e3
        error = 5 * ours.std((0, 1)) * np.sqrt(2 / 1000)
        assert np.all(np.abs(ours.mean((0, 1)) - theirs.mean((0, 1))) < error)


def test_three_factors_fit():
    data = balanced((4, 5, 6), 1, sds=(1.0, 0.5, 0.2), sigma=0.1, seed=1)
    tree = cj.fit(data, parameterization="sum_to_zero", num_draws=500)
    assert cj.diagnose(tree).converged
    assert set(tree["posterior"].data_vars) >= {"a_effect", "b_effect", "c_effect", "c_sd"}


def test_unconnected_blocks_are_fitted_and_told():
    a, b = np.repeat([0, 0, 1, 1, 2, 2], 4), np.repeat([0, 1, 0, 1, 2, 3], 4)
    response = np.random.default_rng(0).normal(size=24) + a
    tree = cj.fit(table(response, a, b), num_warmup=600, num_draws=200)
    (note,) = json.loads(tree.attrs["notes"])
    assert "2 unconnected blocks (2 a x 2 b; 1 a x 2 b)" in note
    assert note in cj.diagnose(tree).warnings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameterization": "flat"}, "unknown parameterization 'flat'"),
        ({"priors": "vague"}, "unknown priors 'vague'"),
        ({"parameterization": []}, r"unknown parameterization \[\]"),
        ({"num_chains": 0}, "number of chains is 0: give a whole number, 1 or more"),
        ({"num_warmup": 0}, "number of warm-up steps is 0"),
        ({"num_draws": 3}, "number of draws is 3: give a whole number, 4 or more"),
        ({"num_draws": 1e2}, "number of draws is 100.0: give a whole number"),
        ({"num_draws": True}, "number of draws is True"),
        ({"num_chains": "4"}, "number of chains is '4'"),
        ({"num_warmup": None}, "number of warm-up steps is None"),
        ({"max_tree_depth": 0}, "maximum tree depth is 0"),
        ({"seed": None}, "the seed is None"),
        ({"seed": np.arange(2)}, r"the seed is array\(\[0, 1\]\)"),
        ({"target_accept": "0.8"}, "target acceptance rate is '0.8': give a number"),
        ({"report": 5}, "report is 5"),
        ({"checkpoint": 5}, "checkpoint is 5: give a path"),
        ({"checkpoint": "a\0b"}, "checkpoint is 'a.x00b': give a path"),
        ({"stream_to": b"draws.nc"}, "stream_to is b'draws.nc': give a path"),
        ({"stream_to": "."}, "it is a directory; name a file"),
        ({"priors": []}, r"unknown priors \[\]"),
        ({"target_accept": 1.0}, "between 0 and 1"),
        ({"target_accept": float("nan")}, "between 0 and 1"),
        ({"centered": {"gene": True}}, "choose parameterization='sum_to_zero'"),
        (
            {"centered": {"gene": True}, "parameterization": "design_matrix"},
            "the design_matrix form samples no effects that could be centered",
        ),
        ({"centered": "gene"}, "centered is 'gene': give True or False by factor"),
        (
            {"centered": {"gene": "no"}, "parameterization": "sum_to_zero"},
            "centered is 'no' for 'gene': give True or False",
        ),
        (
            {"centered": {"guide": True}, "parameterization": "sum_to_zero"},
            "cannot center 'guide'",
        ),
        ({"keep_effects": "some"}, "choose draws or summary"),
        ({"keep_effects": "summary", "parameterization": "original"}, "only the collapsed form"),
        ({"num_draws": 10**9}, "draws of each chain need .* or fewer"),
        ({"seed": -1}, "the seed is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(post, settings, message, monkeypatch):
    monkeypatch.setattr("crossed_jax.fitting.sample", None)  # nothing is run
    with pytest.raises(cj.InputError, match=message):
        cj.fit(post, **settings)


def test_numbers_of_numpy_are_settings_like_pythons(post, tmp_path):
    plain = {
        **{"num_chains": 2, "num_warmup": 600, "num_draws": 40, "seed": 3, "max_tree_depth": 10},
        **{"target_accept": 0.75, "centered": {"gene": True}, "parameterization": "sum_to_zero"},
    }
    numpys = {name: np.asarray(value)[()] for name, value in plain.items() if name != "centered"}
    numpys |= {"num_draws": np.asarray(40), "parameterization": np.str_("sum_to_zero")}
    numpys |= {"centered": {np.str_("gene"): np.True_}, "checkpoint": tmp_path / "run"}
    expected, found = cj.fit(post, **plain), cj.fit(post, **numpys)
    assert found["posterior"].identical(expected["posterior"])
    for name in ("num_draws", "seed", "target_accept", "centered"):
        assert found.attrs[name] == expected.attrs[name]


@pytest.mark.parametrize(
    ("taken", "message"),
    [
        (lambda tree, data: cj.fit(pl.DataFrame()), "fit takes a table .* not a DataFrame"),
        (lambda tree, data: cj.fit(cj.simulate_screen()), "a Simulation: give its attribute data"),
        (lambda tree, data: cj.effects(5), "effects takes the tree that fit returns, .* int"),
        (lambda tree, data: cj.effects(data), "this CrossedData is none"),
        (lambda tree, data: cj.effects(tree["posterior"]), "this DataTree is none"),
        (lambda tree, data: cj.variance_components("posterior.nc"), "xarray.open_datatree"),
        (lambda tree, data: cj.original_coordinates(None), "this NoneType is none"),
        (lambda tree, data: cj.original_coordinates(tree, seed=-1), "the seed is -1"),
        (lambda tree, data: cj.posterior_predictive(data, tree), "this CrossedData is none"),
        (lambda tree, data: cj.posterior_predictive(tree, 5), "predictive takes a table"),
        (lambda tree, data: cj.posterior_predictive(tree, data, num_draws=0), "draws is 0"),
        (lambda tree, data: cj.posterior_predictive(tree, data, seed="a"), "the seed is 'a'"),
        (lambda tree, data: cj.prior_predictive(None, data), "takes a tree, not a NoneType"),
        (lambda tree, data: cj.prior_predictive(tree, None), "predictive takes a table"),
        (lambda tree, data: cj.prior_predictive(tree, data, num_draws=1e2), "draws is 100.0"),
        (lambda tree, data: cj.effects(tree, "95%"), "the interval is '95%': give a number"),
    ],
)
def test_what_a_function_does_not_take_is_told(post, few_draws, taken, message):
    with pytest.raises(cj.InputError, match=message):
        taken(few_draws, post)


@pytest.fixture(scope="module")
def few_draws(post):
    return cj.fit(post, num_chains=2, num_warmup=600, num_draws=40)


def test_a_response_without_noise_is_refused():
    a, b = np.indices((3, 4)).reshape(2, -1)
    with pytest.raises(cj.InputError, match="no noise"):
        cj.fit(table(1e3 + 0.1 * a + np.sqrt(b), a, b))


def test_a_path_without_noise_is_refused():
    a, b = np.repeat(np.arange(300), 2)[:-1], np.repeat(np.arange(301), 2)[1:-2]
    response = np.random.default_rng(0).normal(size=(2, 301))
    with pytest.raises(cj.InputError, match="no noise"):
        cj.fit(table(*(np.repeat(x, 2) for x in (response[0][a] + response[1][b], a, b))))


def test_as_many_effects_as_rows_are_fitted_and_told():
    a, b = np.repeat(np.arange(3), 2)[:-1], np.repeat(np.arange(4), 2)[1:-2]
    data = table(np.random.default_rng(0).normal(size=5), a, b)
    tree = cj.fit(data, num_warmup=600, num_draws=200)
    assert "as many effects as rows" in cj.diagnose(tree).warnings[-1]


BLOCKS = np.repeat(np.arange(2), 12)
WITHIN = np.tile(np.arange(12) // 3, 2)
TWICE = np.repeat(np.arange(6), 4)
MAY_BE_ZERO = {
    "two levels": lambda rng: crossed(rng, *np.indices((2, 8, 2)).reshape(3, -1)[:2], (0.2, 0.5)),
    "two blocks": lambda rng: crossed(rng, BLOCKS, 4 * BLOCKS + WITHIN, (0.5, 0.5)),
    "one factor twice": lambda rng: crossed(rng, TWICE, TWICE, (0.5, 0.5)),
}


def crossed(rng, a, b, sds):
    effects = [sd * rng.normal(size=code.max() + 1)[code] for sd, code in zip(sds, (a, b))]  # noqa: B905
    return table(sum(effects) + 0.3 * rng.normal(size=len(a)), a, b)


@pytest.mark.parametrize("design", MAY_BE_ZERO)
def test_sum_to_zero_draws_reach_down_to_an_sd_of_zero(design):
    """Centred, as their levels' reliability has it, the lower tail was half missing."""
    data = MAY_BE_ZERO[design](np.random.default_rng(6))
    grids = [np.arange(-12.0, 4.2, 0.25)] * 2 + [np.arange(-3.5, 1.2, 0.1)]
    mass = log_sd_grid(data, post_priors(2), grids)
    tree = cj.fit(data, parameterization="sum_to_zero", num_draws=4000, target_accept=0.95, seed=1)
    for axis, name in enumerate(("a_sd", "b_sd")):
        density = mass.sum(tuple({0, 1, 2} - {axis})) / 0.25
        # it may rise steeply between two nodes, where sums of rectangles err by a tenth
        below = CubicSpline(grids[axis], density).antiderivative()
        tenth = grids[axis][np.searchsorted(below(grids[axis]), 0.1)]
        low = np.log(tree["posterior"][name].to_numpy()) < tenth
        error = array_stats.mcse(low.astype(float), chain_axis=0, draw_axis=1, method="mean")
        assert abs(low.mean() - below(tenth)) < 4 * error, name
