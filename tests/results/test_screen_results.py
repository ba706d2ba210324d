"""What a fit of the screen model tells: tables, predictions, original coordinates, verdict."""

import dataclasses
import json

import numpy as np
import numpyro.distributions as dist
import polars as pl
import pytest
import xarray as xr
from example_tables import table
from polars.testing import assert_frame_equal
from screen_tables import SCREEN, SETTINGS

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.models.distributions import Normal
from crossed_jax.results.interactions import hits
from crossed_jax.results.output import write_tree
from crossed_jax.statistics.cells import cells_of
from crossed_jax.tables.crossed_data import CrossedData, Factor

CELLS = cells_of(SCREEN)
GENE, LINE = (factor.codes for factor in SCREEN.factors)


def in_other_order(data: CrossedData) -> CrossedData:
    return dataclasses.replace(data, factors=data.factors[::-1])


@pytest.fixture(scope="module")
def tree():
    return cj.fit(SCREEN, model="screen", **SETTINGS)


def posterior_of(tree):
    return tree["posterior"].to_dataset()


def fixed(tree, number, **values):
    """Take a draw again and again, with some of its values others."""
    posterior = posterior_of(tree).isel(chain=[0], draw=np.full(number, 7))
    posterior = posterior.assign_coords(draw=np.arange(number))
    posterior = posterior.assign({n: posterior[n] * 0 + value for n, value in values.items()})
    repeated = tree.copy()
    repeated["posterior"] = xr.DataTree(posterior)
    return repeated


# Draws


def test_the_table_is_ragged():
    assert set(CELLS.counts) == {1.0, 2.0}
    assert len(CELLS.counts) < 30 * 6


def test_reported_effects_and_logarithms_sum_to_zero(tree):
    posterior = posterior_of(tree)
    for name, level in (("gene_effect", "gene"), ("line_effect", "line")):
        np.testing.assert_allclose(posterior[name].sum(level), 0.0, atol=1e-12)
    np.testing.assert_allclose(posterior["line_log_noise_sd"].sum("line"), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.log(posterior["line_slope"]).sum("line"), 0.0, atol=1e-12)
    share = posterior["interaction_share"]
    assert ((share > 0) & (share < 1)).all()


def test_moments_of_effects_are_those_of_their_draws(tree):
    """Means within four standard errors of the draws, SDs within four of theirs."""
    found = cj.effects(tree)
    ess = found["ess_bulk"].to_numpy()
    drawn = (posterior_of(tree)[f"{factor}_effect"] for factor in ("gene", "line"))
    drawn = np.concatenate([each.stack(i=("chain", "draw")).values for each in drawn])
    z = (found["mean"].to_numpy() - drawn.mean(1)) / (drawn.std(1) / np.sqrt(ess))
    assert np.abs(z).max() < 4
    z = np.log(found["sd"].to_numpy() / drawn.std(1)) * np.sqrt(2.0 * np.minimum(ess, 300))
    assert np.abs(z).max() < 5


# Tables


def test_effects_have_slopes_and_noise_of_the_factors_that_have_them(tree):
    found = cj.effects(tree)
    own = [f"{name}{end}" for name in ("slope", "noise_sd") for end in ("", "_lower", "_upper")]
    assert found.columns[-6:] == own
    gene, line = (found.filter(factor=name) for name in ("gene", "line"))
    assert gene.select(own[:3]).null_count().sum_horizontal().item() == 3 * 30
    posterior = posterior_of(tree)
    names = ("gene", "line")
    noise = {f: posterior["sigma"] * np.exp(posterior[f"{f}_log_noise_sd"]) for f in names}
    for of_factor, name, draws, level in (
        (line, "slope", posterior["line_slope"], "line"),
        (line, "noise_sd", noise["line"], "line"),
        (gene, "noise_sd", noise["gene"], "gene"),
    ):
        flat = draws.transpose("chain", "draw", level).values.reshape(-1, draws.sizes[level])
        np.testing.assert_allclose(of_factor[name], flat.mean(0), rtol=1e-12)
        for end, probability in (("lower", 0.025), ("upper", 0.975)):
            np.testing.assert_allclose(
                of_factor[f"{name}_{end}"], np.quantile(flat, probability, axis=0), rtol=1e-2
            )
    assert line["slope"].to_numpy().prod() == pytest.approx(1.0, rel=0.2)


def test_parameters_are_all_single_numbers(tree):
    found = cj.parameters(tree)
    assert found["parameter"].to_list() == [
        "intercept",
        *("gene_sd", "gene_log_noise_sd_sd"),
        *("line_sd", "line_log_slope_sd", "line_log_noise_sd_sd"),
        *("sigma", "interaction_share"),
    ]
    posterior = posterior_of(tree)
    expected = [float(posterior[name].mean()) for name in found["parameter"]]
    np.testing.assert_allclose(found["mean"], expected, rtol=1e-12)
    assert found.null_count().sum_horizontal().item() == 0


def test_shares_of_variance_sum_to_one(tree):
    found = cj.variance_components(tree)
    assert found["component"].to_list() == ["gene", "line", "interaction", "sigma"]
    assert found["share_of_variance"].sum() == pytest.approx(1.0, abs=1e-12)
    posterior = posterior_of(tree)
    share, variance = posterior["interaction_share"], posterior["sigma"] ** 2
    expected = {
        "gene": posterior["gene_sd"],
        "line": posterior["line_sd"],
        "interaction": np.sqrt(share * variance),
        "sigma": np.sqrt((1.0 - share) * variance),
    }
    total = sum(sd**2 for sd in expected.values())
    for name, sd in expected.items():
        row = found.row(by_predicate=pl.col("component") == name, named=True)
        assert row["sd_mean"] == pytest.approx(float(sd.mean()), rel=1e-12)
        assert row["share_of_variance"] == pytest.approx(float((sd**2 / total).mean()), rel=1e-12)


# Interactions


def test_interactions_have_a_row_for_each_cell(tree):
    found = cj.interactions(tree)
    assert found.columns == [
        *("gene", "line", "n", "raw_residual", "mean", "sd", "lower", "upper", "lfsr", "s_value"),
    ]
    seen = pl.DataFrame(
        {"gene": SCREEN.factors[0].labels[GENE], "line": SCREEN.factors[1].labels[LINE]}
    )
    counts = seen.group_by("gene", "line").agg(pl.len().cast(pl.Int64).alias("n"))
    order = ("gene", "line")
    assert found.select("gene", "line", "n").sort(order).equals(counts.sort(order))
    assert (found["lower"] < found["mean"]).all()
    assert (found["mean"] < found["upper"]).all()
    assert (found["sd"] > 0).all()
    assert found["lfsr"].is_between(0.0, 0.5).all()
    # an interaction is shrunk from the residual of its cell, towards zero
    assert (found["mean"].abs() < found["raw_residual"].abs()).all()


def test_interactions_are_averages_over_the_draws(tree):
    """Against the conditional moments given the draws of genes as well, to Monte Carlo error."""
    posterior = posterior_of(tree)
    gene, line = (CELLS.codes[:, k] for k in (0, 1))
    share = posterior["interaction_share"].values[..., None]
    k = posterior["line_slope"].values[..., line]
    expected = posterior["intercept"].values[..., None] + posterior["line_effect"].values[..., line]
    expected = expected + k * posterior["gene_effect"].values[..., gene]
    log_noise = posterior["line_log_noise_sd"].values[..., line]
    log_noise = log_noise + posterior["gene_log_noise_sd"].values[..., gene]
    variance = (posterior["sigma"].values[..., None] * np.exp(log_noise)) ** 2
    u = share + (1.0 - share) / CELLS.counts
    residual = CELLS.means - expected
    mean = share / u * residual
    given = share * (1.0 - share) * variance / (CELLS.counts * u)
    found = cj.interactions(tree)
    ours = tree["interactions"].to_dataset()
    np.testing.assert_array_equal(ours["gene_code"], gene)
    sd = found["sd"].to_numpy()
    error = 1.0 / np.sqrt(100.0)  # draws of 300 that are worth as many as 100
    flat = mean.reshape(-1, len(gene))
    assert np.abs((found["mean"].to_numpy() - flat.mean(0)) / flat.std(0)).max() < 4.5 * error
    second = np.sqrt(given.mean((0, 1)) + flat.var(0))
    np.testing.assert_allclose(np.log(sd / second), 0.0, atol=4.5 * error)
    flat = residual.reshape(-1, len(gene))
    z = (found["raw_residual"].to_numpy() - flat.mean(0)) / flat.std(0)
    assert np.abs(z).max() < 4.5 * error


def test_s_values_are_means_of_the_rates_that_are_no_larger(tree):
    found = cj.interactions(tree)
    rates = found["lfsr"].to_numpy()
    expected = [rates[rates <= rate].mean() for rate in rates]
    np.testing.assert_allclose(found["s_value"], expected, rtol=1e-12)


def test_hits_may_be_called_together(tree):
    cells = cj.interactions(tree)
    found = hits(cells)
    assert 0 < len(found) < len(cells)
    assert found.columns == cells.columns
    assert (found["s_value"] < 0.05).all()
    assert found["lfsr"].is_sorted()
    assert found["lfsr"].mean() < 0.05
    assert len(cells.filter(pl.col("s_value") < 0.05)) == len(found)


def test_the_errors_of_interactions_are_kept(tree):
    errors = json.loads(tree.attrs["interaction_error"])
    assert 0 < errors["mean"] < 0.1
    assert 0 < errors["lfsr"] < 0.05
    assert 0 <= json.loads(tree.attrs["quadrature_error"]) < 1e-4


# Predictions

NUMBER = 4000


def rows(*pairs):
    """A table of the fit's levels, in cells given by codes."""
    gene, line = np.array(pairs, np.int32).T
    factors = tuple(
        Factor(factor.name, factor.levels, codes)
        for factor, codes in zip(SCREEN.factors, (gene, line), strict=True)
    )
    return CrossedData(np.arange(float(len(pairs))), "y", factors, num_missing=0, notes=())


def unseen():
    seen = set(map(tuple, CELLS.codes.tolist()))
    return next((g, c) for g in range(30) for c in range(6) if (g, c) not in seen)


def moments_of(tree, cells):
    """Mean and covariance of new responses, two in each cell, given the one draw that there is."""
    one = posterior_of(tree).isel(chain=0, draw=0)
    share, sigma = float(one["interaction_share"]), float(one["sigma"])
    means, blocks = [], []
    for g, c in cells:
        mean = float(one["intercept"] + one["line_effect"][c])
        mean += float(one["line_slope"][c] * one["gene_effect"][g])
        log_noise = float(one["line_log_noise_sd"][c] + one["gene_log_noise_sd"][g])
        variance = (sigma * np.exp(log_noise)) ** 2
        values = SCREEN.response[(g == GENE) & (c == LINE)]
        n = len(values)
        # of the new two and the old n together, a Normal: condition on the old
        covariance = variance * (share + (1.0 - share) * np.eye(2 + n))
        gain = np.linalg.solve(covariance[2:, 2:], covariance[2:, :2]) if n else np.zeros((0, 2))
        means += list(mean + (values - mean) @ gain)
        blocks.append(covariance[:2, :2] - covariance[:2, 2:] @ gain)
    covariance = np.zeros((2 * len(cells),) * 2)
    for i, block in enumerate(blocks):
        covariance[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block
    return np.array(means), covariance


@pytest.mark.parametrize("order", ["as fitted", "the other"])
def test_predictions_are_normal_given_what_was_seen_of_their_cells(tree, order):
    """Two new rows in each of a cell not seen, one seen once and one seen twice."""
    once, twice = (tuple(CELLS.codes[np.argmax(CELLS.counts == n)].tolist()) for n in (1, 2))
    cells = [unseen(), once, twice]
    # rows of a cell need not stand together
    data = rows(*cells, *cells)
    repeated = fixed(tree, NUMBER)
    if order == "the other":
        data = in_other_order(data)
    predicted = cj.posterior_predictive(repeated, data, seed=3)["posterior_predictive"]["y"]
    values = predicted.values[0][:, [0, 3, 1, 4, 2, 5]]
    mean, covariance = moments_of(repeated, cells)
    error = np.sqrt(np.diag(covariance) / NUMBER)
    np.testing.assert_array_less(abs(values.mean(0) - mean), 4.5 * error)
    spread = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2)
    found = np.cov(values.T)
    np.testing.assert_array_less(abs(found - covariance), 5.0 * spread / np.sqrt(NUMBER))
    assert (found[[0, 2, 4], [1, 3, 5]] > 0).all()


def test_either_order_of_a_table_predicts_the_same(tree):
    one, two = (
        cj.posterior_predictive(tree, data, num_draws=5)["posterior_predictive"]["y"].values
        for data in (SCREEN, in_other_order(SCREEN))
    )
    np.testing.assert_array_equal(one, two)


def test_without_interaction_predictions_are_independent(tree):
    parts = json.loads(tree.attrs["parts"]) | {"interaction": False}
    without = fixed(tree, NUMBER)
    without.attrs["parts"] = json.dumps(parts)
    del without["interactions"]
    posterior = posterior_of(without).drop_vars("interaction_share")
    without["posterior"] = xr.DataTree(posterior)
    data = rows((3, 2), (3, 2))
    values = cj.posterior_predictive(without, data)["posterior_predictive"]["y"].values[0]
    assert abs(np.corrcoef(values.T)[0, 1]) < 4.5 / np.sqrt(NUMBER)


# The prior's

PRIORS = cj.Priors(
    (Normal(1.0, 0.3), Normal(-0.5, 0.4)),
    (dist.LogNormal(np.log(0.7), 1e-6), dist.LogNormal(np.log(0.5), 1e-6)),
    dist.LogNormal(np.log(0.4), 1e-6),
    {
        "line_log_slope_sd": dist.LogNormal(np.log(0.3), 1e-6),
        "line_log_noise_sd_sd": dist.LogNormal(np.log(0.2), 1e-6),
        "gene_log_noise_sd_sd": dist.LogNormal(np.log(0.25), 1e-6),
        "interaction_share": dist.Beta(4e8, 6e8),
    },
)


@pytest.fixture(scope="module")
def prior_tree():
    return cj.prior_predictive(
        xr.DataTree(), SCREEN, model="screen", priors=PRIORS, num_draws=NUMBER, seed=5
    )


def test_prior_draws_have_the_variances_of_their_priors(prior_tree):
    prior = prior_tree["prior"].to_dataset().isel(chain=0)
    slopes = 0.3**2 * (1.0 - 1.0 / 6.0)
    variances = {
        "gene_intercept": 0.7**2,
        "gene_effect": 0.7**2 * (1.0 - 1.0 / 30.0),
        "line_intercept": 0.5**2 + 0.3**2 + 0.4**2,
        "line_mean": 0.3**2 + 0.4**2,
        "line_log_noise_sd": 0.2**2 * (1.0 - 1.0 / 6.0),
        "gene_log_noise_sd": 0.25**2,
    }
    drawn = {name: prior[name] for name in variances} | {"log slope": np.log(prior["line_slope"])}
    for name, variance in (variances | {"log slope": slopes}).items():
        values = drawn[name].values.reshape(NUMBER, -1)
        np.testing.assert_allclose(
            values.var(0), variance, rtol=5.0 * np.sqrt(2.0 / NUMBER), err_msg=name
        )
    np.testing.assert_allclose(prior["gene_intercept"].mean(), 0.0, atol=0.02)
    np.testing.assert_allclose(prior["line_intercept"].mean(), 0.5, atol=0.05)


def test_prior_draws_fit_together(prior_tree):
    prior = prior_tree["prior"].to_dataset()
    mean = prior["gene_intercept"].mean("gene")
    whole = prior["line_intercept"] + prior["line_slope"] * mean
    np.testing.assert_allclose(prior["gene_effect"], prior["gene_intercept"] - mean, atol=1e-12)
    np.testing.assert_allclose(prior["intercept"], whole.mean("line"), atol=1e-12)
    np.testing.assert_allclose(prior["line_effect"], whole - whole.mean("line"), atol=1e-12)


def test_prior_responses_have_the_variance_of_the_model(prior_tree):
    """Per row: fourth moments are a sample's own, as products of Normals are heavier than one."""
    values = prior_tree["prior_predictive"]["y"].values[0]
    slope = np.exp(2.0 * 0.3**2 * (1.0 - 1.0 / 6.0))
    noise = 0.4**2 * np.exp(2.0 * (0.2**2 * (1.0 - 1.0 / 6.0) + 0.25**2))
    expected = 0.3**2 + 0.4**2 + 0.5**2 + 0.7**2 * slope + noise
    squares = (values - 0.5) ** 2
    error = squares.std(0) / np.sqrt(NUMBER)
    assert (abs(squares.mean(0) - expected) / error).max() < 4.5
    first, second = np.flatnonzero((GENE[0] == GENE) & (LINE[0] == LINE))[:2]
    products = (values[:, first] - 0.5) * (values[:, second] - 0.5)
    error = products.std() / np.sqrt(NUMBER)
    assert abs(products.mean() - (expected - 0.6 * noise)) < 4.5 * error


def test_prior_of_a_fit_is_named_as_its_posterior(tree):
    extended = cj.prior_predictive(tree, SCREEN, num_draws=10)
    posterior = cj.original_coordinates(tree)["posterior"].to_dataset()
    prior = extended["prior"].to_dataset()
    assert set(prior.data_vars) == set(posterior.data_vars)
    for name, values in prior.data_vars.items():
        assert values.dims == posterior[name].dims


def test_prior_of_a_fit_wants_its_factors(tree):
    names = ("gene", "plate")
    other = table(SCREEN.response, GENE, LINE, names=names)
    with pytest.raises(InputError, match="the table has the factors gene, plate, but the fit gene"):
        cj.prior_predictive(tree, other)


def test_prior_goes_by_the_noise_that_a_model_names(tree):
    student = cj.Model(noise="student_t")
    prior = cj.prior_predictive(xr.DataTree(), SCREEN, model=student, num_draws=5)["prior"]
    assert "nu" in prior
    with pytest.raises(InputError, match="the screen model cannot have student_t noise"):
        cj.prior_predictive(xr.DataTree(), SCREEN, model="screen", noise="student_t")


# Original coordinates


def test_original_coordinates_are_the_models_own(tree):
    """Given SDs and slopes: (m, a, b) drawn anew from what is reported of them are as they were."""
    number, m0, s0 = 40_000, 0.4, 0.7
    sd_a, sd_b = 0.9, 0.6
    k = np.array([0.4, 2.5, 0.8, 1.25, 1.6, 0.625])
    rng = np.random.default_rng(0)
    m = rng.normal(m0, s0, number)
    a, b = rng.normal(0.0, sd_a, (number, 4)), rng.normal(0.0, sd_b, (number, 6))
    whole = m[:, None] + b + k * a.mean(1, keepdims=True)
    level_mean = a.mean(1, keepdims=True)
    shape = (1, number)
    posterior = xr.Dataset(
        {
            "intercept": (("chain", "draw"), whole.mean(1).reshape(shape)),
            "gene_effect": (("chain", "draw", "gene"), (a - level_mean)[None]),
            "line_effect": (
                ("chain", "draw", "line"),
                (whole - whole.mean(1, keepdims=True))[None],
            ),
            "line_slope": (("chain", "draw", "line"), np.broadcast_to(k, (1, number, 6))),
            "gene_sd": (("chain", "draw"), np.full(shape, sd_a)),
            "line_sd": (("chain", "draw"), np.full(shape, sd_b)),
        }
    )
    fake = xr.DataTree.from_dict({"/": xr.Dataset(attrs=tree.attrs), "posterior": posterior})
    loc = {"gene": {"loc": 0.1, "scale": 0.5}, "line": {"loc": m0 - 0.1}}
    loc["line"]["scale"] = (s0**2 - 0.5**2) ** 0.5
    fake.attrs["priors"] = json.dumps({"factor_means": loc})
    found = cj.original_coordinates(fake, seed=1)["posterior"].isel(chain=0)
    again = found["gene_intercept"].mean("gene").values
    known = whole, a - level_mean
    drawn = np.column_stack([again, found["line_mean"], found["line_intercept"], *known])
    truth = np.column_stack([a.mean(1), m, m[:, None] + b, *known])
    error = truth.std(0) * np.sqrt(2.0 / number)
    assert (abs(drawn.mean(0) - truth.mean(0)) / error).max() < 4.5
    found, expected = np.cov(drawn.T), np.cov(truth.T)
    spread = np.sqrt(np.outer(np.diag(expected), np.diag(expected)) + expected**2)
    assert (abs(found - expected) / (spread * np.sqrt(2.0 / number))).max() < 4.5
    # what the reported determine, exactly
    np.testing.assert_allclose(drawn[:, 2:8] + k * drawn[:, :1], whole, rtol=1e-12, atol=1e-12)


def test_original_coordinates_add_up_to_what_is_reported(tree):
    extended = cj.original_coordinates(tree, seed=4)
    posterior = posterior_of(extended)
    mean = posterior["gene_intercept"].mean("gene")
    whole = posterior["line_intercept"] + posterior["line_slope"] * mean
    reported = posterior["intercept"] + posterior["line_effect"]
    np.testing.assert_allclose(whole, reported, atol=1e-12)
    np.testing.assert_allclose(
        posterior["gene_intercept"] - mean, posterior["gene_effect"], atol=1e-12
    )
    assert "line_mean" in posterior
    assert "gene_mean" not in posterior
    again = cj.original_coordinates(tree, seed=4)
    xr.testing.assert_identical(extended["posterior"].to_dataset(), again["posterior"].to_dataset())
    xr.testing.assert_identical(tree["posterior"]["intercept"], extended["posterior"]["intercept"])


# The verdict, files, other units


def test_the_verdict_is_of_all_that_was_drawn(tree):
    diagnosis = cj.diagnose(tree)
    assert diagnosis.divergences == int(tree["sample_stats"]["diverging"].sum())
    assert np.isfinite([diagnosis.max_r_hat, diagnosis.min_ess_bulk, diagnosis.min_ess_tail]).all()
    assert diagnosis.max_r_hat < 1.1
    assert diagnosis.ridge is None
    json.dumps(diagnosis.to_dict(), allow_nan=False)


def test_a_coarse_quadrature_is_told(tree):
    coarse = tree.copy()
    coarse.attrs["quadrature_error"] = "0.2"
    diagnosis = cj.diagnose(coarse)
    assert not diagnosis.converged
    assert any("fit a model without noise by that factor" in each for each in diagnosis.reasons)


def test_a_file_gives_the_same_tables_and_predictions(tree, tmp_path):
    write_tree(tree, tmp_path / "posterior.nc")
    with xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as read:
        assert set(read.children) == set(tree.children)
        for tabulate in (cj.effects, cj.parameters, cj.variance_components, cj.interactions):
            assert_frame_equal(tabulate(read), tabulate(tree), rel_tol=1e-12, abs_tol=1e-14)
        ours, theirs = (cj.diagnose(each) for each in (tree, read))
        assert str(ours) == str(theirs)
        for extend in (
            lambda tree: cj.posterior_predictive(tree, SCREEN, num_draws=3),
            lambda tree: cj.prior_predictive(tree, SCREEN, num_draws=3),
            cj.original_coordinates,
        ):
            ours, theirs = extend(tree), extend(read)
            for group in ours.children:
                xr.testing.assert_equal(ours[group].to_dataset(), theirs[group].to_dataset())


# warm-up makes much of roundings: its step sizes follow from them
UNTUNED = SETTINGS | {"num_warmup": 1}


def test_scaled_priors_fit_any_unit_alike():
    big = dataclasses.replace(SCREEN, response=2.0**10 * SCREEN.response)
    small, large = (cj.fit(d, model="screen", priors="scaled", **UNTUNED) for d in (SCREEN, big))
    in_unit = {"intercept", "gene_effect", "line_effect", "gene_sd", "line_sd", "sigma"}
    for name, values in posterior_of(small).data_vars.items():
        unit = 2.0**10 if name in in_unit else 1.0
        np.testing.assert_allclose(
            posterior_of(large)[name], unit * values, rtol=1e-6, atol=1e-6 * unit
        )
    ours, theirs = cj.interactions(small), cj.interactions(large)
    for name in ("raw_residual", "mean", "sd", "lower", "upper"):
        np.testing.assert_allclose(theirs[name], 2.0**10 * ours[name], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(theirs["lfsr"], ours["lfsr"], atol=1e-5)


def test_a_response_far_from_zero_gives_the_same_draws():
    near = dataclasses.replace(SCREEN, response=np.round(SCREEN.response * 2.0**30) / 2.0**30)
    far = dataclasses.replace(near, response=near.response + 2.0**14)
    fits = [cj.fit(data, model="screen", priors="scaled", **UNTUNED) for data in (near, far)]
    first, second = map(posterior_of, fits)
    for name, values in first.data_vars.items():
        offset = 2.0**14 if name == "intercept" else 0.0
        np.testing.assert_allclose(second[name] - offset, values, rtol=1e-6, atol=1e-6)
    one, two = map(cj.interactions, fits)
    assert one.columns == two.columns
    for name in one.columns[2:]:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-5, atol=1e-5)
    predicted = [
        cj.posterior_predictive(tree, data, num_draws=3)["posterior_predictive"]["y"].values
        for tree, data in zip(fits, (near, far), strict=True)
    ]
    np.testing.assert_allclose(predicted[1] - 2.0**14, predicted[0], atol=1e-5)
    original = [posterior_of(cj.original_coordinates(tree)) for tree in fits]
    for name in ("line_mean", "line_intercept"):
        np.testing.assert_allclose(original[1][name] - 2.0**14, original[0][name], atol=1e-5)
    np.testing.assert_allclose(*(each["gene_intercept"] for each in original), atol=1e-5)


def test_either_order_of_the_factors_is_the_same_model(tree):
    first, second = tree, cj.fit(in_other_order(SCREEN), model="screen", **SETTINGS)
    assert second.attrs["factors"] == '["line", "gene"]'
    for group in ("posterior", "sample_stats", "effect_moments", "interactions"):
        assert set(first[group].data_vars) == set(second[group].data_vars)
    for group in ("posterior", "sample_stats", "effect_moments"):
        for name, values in first[group].data_vars.items():
            np.testing.assert_allclose(second[group][name], values, rtol=1e-9, atol=1e-9)
    columns = [n for n in cj.interactions(first).columns if n not in ("gene", "line")]
    one, two = (cj.interactions(tree).sort("gene", "line") for tree in (first, second))
    assert one["gene"].equals(two["gene"])
    np.testing.assert_allclose(one.select(columns), two.select(columns), rtol=1e-6, atol=1e-6)
