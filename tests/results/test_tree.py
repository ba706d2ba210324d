"""Tests of the result: its names and labels, and the original coordinates against theory."""

import json

import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr
from example_tables import table, unbalanced
from truth import dense_design, log_marginal

import crossed_jax.results.tree
from crossed_jax.errors import InputError
from crossed_jax.models.priors import Priors, describe_priors, post_priors
from crossed_jax.results.original_coordinates import original_coordinates
from crossed_jax.results.record import describe_table
from crossed_jax.results.tree import factor_names, to_datatree
from crossed_jax.sampling.chunks import Statistics
from crossed_jax.tables.crossed_data import CrossedData, Factor
from crossed_jax.tables.names import check_names

DATA = table(
    np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]),
    np.array([0, 0, 1, 1, 2, 2, 2]),
    np.array([0, 1, 0, 1, 0, 1, 1]),
    names=("gene", "line"),
)
LEVELS = (3, 2)


def statistics(shape):
    counts = np.zeros(shape, np.int64)
    flags = np.zeros(shape, bool)
    return Statistics(*[np.zeros(shape)] * 4, counts, counts, flags, flags)


def quantities(shape, levels, *, sds, intercept=0.5, original=False, seed=0):
    """Give draws with constant SDs and intercept, and any zero-sum effects."""
    rng = np.random.default_rng(seed)
    effects = [rng.normal(size=(*shape, size)) for size in levels]
    effects = tuple(effect - effect.mean(-1, keepdims=True) for effect in effects)
    drawn = {
        "intercept": np.broadcast_to(intercept, shape),
        "sigma": np.full(shape, 0.3),
        "{factor}_effect": effects,
    }
    if sds is not None:
        drawn["{factor}_sd"] = tuple(np.broadcast_to(sd, shape) for sd in sds)
    if original:
        drawn["{factor}_mean"] = tuple(rng.normal(size=(len(levels), *shape)))
        drawn["{factor}_intercept"] = tuple(effect + 1 for effect in effects)
    return drawn


def tree_of(draws, data=DATA, parameterization="sum_to_zero", priors=None, moments=None):
    described = describe_priors(priors or post_priors(len(data.factors)), data, "post")
    attributes = {"parameterization": parameterization, "priors": described, "seed": 7}
    attributes |= describe_table(data, ())
    return to_datatree(draws, statistics(draws["intercept"].shape), attributes, data, moments)


# to_datatree


def test_posterior_has_the_names_of_the_model():
    posterior = tree_of(quantities((2, 5), LEVELS, sds=(0.5, 2.0)))["posterior"]
    dims = {name: draws.dims for name, draws in posterior.data_vars.items()}
    each = ("chain", "draw")
    assert dims == {
        "intercept": each,
        "gene_effect": (*each, "gene"),
        "gene_sd": each,
        "line_effect": (*each, "line"),
        "line_sd": each,
        "sigma": each,
    }


def test_draws_are_under_their_own_names():
    draws = quantities((2, 5), LEVELS, sds=(0.5, 2.0), original=True)
    posterior = tree_of(draws, parameterization="original")["posterior"]
    for k, factor in enumerate(("gene", "line")):
        np.testing.assert_array_equal(posterior[f"{factor}_effect"], draws["{factor}_effect"][k])
        np.testing.assert_array_equal(posterior[f"{factor}_sd"], draws["{factor}_sd"][k])
        np.testing.assert_array_equal(posterior[f"{factor}_mean"], draws["{factor}_mean"][k])
        intercepts = draws["{factor}_intercept"][k]
        np.testing.assert_array_equal(posterior[f"{factor}_intercept"], intercepts)


def test_levels_chains_and_draws_are_labelled():
    tree = tree_of(quantities((2, 5), LEVELS, sds=(0.5, 2.0)))
    for group in ("posterior", "constant_data"):
        assert tree[group]["gene"].values.tolist() == ["gene0", "gene1", "gene2"]
        assert tree[group]["line"].values.tolist() == ["line0", "line1"]
    for group in ("posterior", "sample_stats"):
        assert tree[group]["chain"].values.tolist() == [0, 1]
        assert tree[group]["draw"].values.tolist() == [0, 1, 2, 3, 4]


def test_a_form_without_factor_sds_has_none():
    posterior = tree_of(quantities((2, 5), LEVELS, sds=None))["posterior"]
    assert set(posterior.data_vars) == {"intercept", "gene_effect", "line_effect", "sigma"}


def test_statistics_have_the_names_of_arviz():
    tree = tree_of(quantities((2, 5), LEVELS, sds=(0.5, 2.0)))
    kinds = {name: draws.dtype.kind for name, draws in tree["sample_stats"].data_vars.items()}
    assert kinds == {
        "lp": "f",
        "energy": "f",
        "acceptance_rate": "f",
        "step_size": "f",
        "n_steps": "i",
        "tree_depth": "i",
        "diverging": "b",
        "reached_max_treedepth": "b",
    }


def test_the_table_travels_with_the_draws():
    tree = tree_of(quantities((2, 5), LEVELS, sds=(0.5, 2.0)))
    constant = tree["constant_data"]
    np.testing.assert_array_equal(tree["observed_data"]["y"], DATA.response)
    np.testing.assert_array_equal(constant["gene_code"], DATA.factors[0].codes)
    np.testing.assert_array_equal(constant["gene_n"], [2, 2, 3])
    np.testing.assert_allclose(constant["gene_raw_mean"], [1.5, 6.0, 112 / 3])
    np.testing.assert_array_equal(constant["line_n"], [3, 4])
    np.testing.assert_allclose(constant["line_raw_mean"], [7.0, 106 / 4])


def test_rows_of_a_large_table_are_not_kept_but_its_levels_are(monkeypatch):
    monkeypatch.setattr(crossed_jax.results.tree, "MAX_ROWS_KEPT", 6)
    tree = tree_of(quantities((2, 5), LEVELS, sds=(0.5, 2.0)))
    assert not tree["observed_data"].data_vars
    assert set(tree["constant_data"].data_vars) == {
        f"{factor}_{what}" for factor in ("gene", "line") for what in ("n", "raw_mean")
    }


def test_a_long_label_does_not_widen_the_others(tmp_path):
    levels = (*(f"g{i}" for i in range(17_999)), "x" * 10_000)
    codes = np.arange(36_000) % 18_000
    factors = (Factor("gene", levels, codes), Factor("line", ("é", "w"), codes % 2))
    data = CrossedData(np.arange(36_000.0), "y", factors, num_missing=0, notes=())
    tree = tree_of(quantities((1, 4), (18_000, 2), sds=(0.5, 2.0)), data)
    for group in ("posterior", "constant_data"):
        assert tree[group]["gene"].nbytes < 1e6
        assert tree[group].sel(gene="g7")["line"].values.tolist() == ["é", "w"]


def test_labels_come_back_from_a_file(tmp_path):
    tree = tree_of(quantities((2, 5), LEVELS, sds=(0.5, 2.0)))
    tree.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "a.nc", engine="h5netcdf") as found:
        xr.testing.assert_identical(found.load(), tree)
        assert found["posterior"].sel(gene="gene1")["gene_effect"].shape == (2, 5)


def test_every_name_of_a_factor_is_reserved():
    draws = quantities((2, 5), LEVELS, sds=(0.5, 2.0), original=True)
    tree = tree_of(
        draws, parameterization="original", moments=[(np.ones(3),) * 2, (np.ones(2),) * 2]
    )
    used = {name for group in tree.children for name in tree[group].variables}
    of_gene = {name for name in used if str(name).startswith("gene")}
    assert of_gene >= {"gene", "gene_effect", "gene_n", "gene_code", "gene_raw_mean"}
    for name in of_gene - {"gene"}:
        with pytest.raises(InputError, match=f"'{name}' in the results, which belongs to"):
            check_names("y", ("gene", name))
        with pytest.raises(InputError, match=f"'{name}' in the results, which belongs to"):
            check_names("y", (name, "gene"))


def test_attributes_are_text_and_others_are_json():
    tree = tree_of(quantities((2, 5), LEVELS, sds=(0.5, 2.0)))
    assert tree.attrs["response"] == "y"
    assert tree.attrs["parameterization"] == "sum_to_zero"
    assert (json.loads(tree.attrs["seed"]), json.loads(tree.attrs["notes"])) == (7, [])
    assert json.loads(tree.attrs["priors"])["factor_means"]["line"] == {"loc": 0.0, "scale": 5.0}
    assert factor_names(tree) == ["gene", "line"]


# The original coordinates

NUM_DRAWS = 50_000
LEVELS_3 = (3, 2, 4)
SDS_3 = np.array([0.5, 3.0, 1.2])
PRIORS_3 = Priors(
    factor_means=(dist.Normal(1.0, 0.5), dist.Normal(-2.0, 4.0), dist.Normal(0.3, 1.5)),
    factor_sds=(dist.Exponential(1.0),) * 3,
    sigma=dist.Exponential(1.0),
)
DATA_3 = unbalanced(LEVELS_3, 12, sds=tuple(SDS_3), sigma=0.3)


def assert_moments(draws, mean, covariance):
    """Hold the moments of independent Normal draws, shape (draws, p), against the truth."""
    variance = np.diag(covariance)
    error = np.abs(draws.mean(0) - mean) / np.sqrt(variance / len(draws))
    assert error.max() < 5
    se = np.sqrt((np.outer(variance, variance) + covariance**2) / len(draws))
    assert (np.abs(np.cov(draws.T) - covariance) / se).max() < 5


def columns(posterior, *names):
    """Lay variables side by side, one row a draw."""
    draws = [posterior[name].to_numpy() for name in names]
    return np.concatenate([d.reshape(d.shape[0] * d.shape[1], -1) for d in draws], axis=1)


def names_of(what):
    return [f"{factor.name}_{what}" for factor in DATA_3.factors]


@pytest.fixture(scope="module")
def fixed():
    """Draws with SDs and intercept that never change, original coordinates added."""
    draws = quantities((1, NUM_DRAWS), LEVELS_3, sds=SDS_3, intercept=2.5)
    return original_coordinates(tree_of(draws, DATA_3, priors=PRIORS_3), seed=1)["posterior"]


def test_level_means_sum_to_the_intercept(fixed):
    total = sum(fixed[f"{f.name}_intercept"].mean(f.name) for f in DATA_3.factors)
    np.testing.assert_allclose(total, 2.5, atol=1e-13)


def test_levels_intercepts_are_their_mean_and_the_effects(fixed):
    for factor in DATA_3.factors:
        intercept = fixed[f"{factor.name}_intercept"]
        np.testing.assert_allclose(
            intercept - intercept.mean(factor.name), fixed[f"{factor.name}_effect"], atol=1e-13
        )


def test_original_coordinates_follow_their_conditional_given_the_intercept(fixed):
    """The Normal of (mu, mean alpha) given that the mean alphas sum to the intercept."""
    s2 = np.diag([prior.scale**2 for prior in PRIORS_3.factor_means])
    joint = np.block([[s2, s2], [s2, s2 + np.diag(SDS_3**2 / LEVELS_3)]])
    loc = np.tile([prior.loc for prior in PRIORS_3.factor_means], 2)
    total = np.repeat([0.0, 1.0], 3)
    gain = joint @ total / (total @ joint @ total)
    mean = loc + gain * (2.5 - total @ loc)
    covariance = joint - np.outer(gain, total @ joint)

    level_means = [fixed[f"{f.name}_intercept"].mean(f.name).values.ravel() for f in DATA_3.factors]
    draws = np.column_stack([columns(fixed, *names_of("mean")), *level_means])
    assert_moments(draws, mean, covariance)


def test_original_coordinates_follow_the_dense_posterior():
    """Intercepts and effects drawn from the dense posterior give back its other latents."""
    _, mean, covariance = map(np.asarray, log_marginal(DATA_3, PRIORS_3, SDS_3, 0.3))
    rng = np.random.default_rng(0)
    levels = rng.multivariate_normal(
        mean[3:], covariance[3:, 3:], (1, NUM_DRAWS), method="cholesky"
    )
    _, slices = dense_design(DATA_3)
    alphas = [levels[..., which] for which in slices]
    draws = {
        "intercept": sum(alpha.mean(-1) for alpha in alphas),
        "{factor}_effect": tuple(alpha - alpha.mean(-1, keepdims=True) for alpha in alphas),
        "{factor}_sd": tuple(np.full((1, NUM_DRAWS), sd) for sd in SDS_3),
        "sigma": np.full((1, NUM_DRAWS), 0.3),
    }
    tree = original_coordinates(tree_of(draws, DATA_3, priors=PRIORS_3), seed=1)
    found = columns(tree["posterior"], *names_of("mean"), *names_of("intercept"))
    assert_moments(found, mean, covariance)


def test_same_seed_same_coordinates_and_another_seed_others():
    tree = tree_of(quantities((2, 5), LEVELS, sds=(0.5, 2.0)))
    first, again, other = (original_coordinates(tree, seed=seed) for seed in (3, 3, 4))
    xr.testing.assert_identical(first, again)
    for name in ("gene_mean", "line_mean", "gene_intercept", "line_intercept"):
        assert (first["posterior"][name].values != other["posterior"][name].values).all()


def test_coordinates_are_added_to_a_copy():
    tree = tree_of(quantities((2, 5), LEVELS, sds=(0.5, 2.0)))
    before = tree.copy(deep=True)
    extended = original_coordinates(tree)
    xr.testing.assert_identical(tree, before)
    posterior = extended["posterior"].to_dataset()
    assert posterior["gene_mean"].dims == ("chain", "draw")
    assert posterior["gene_intercept"].dims == ("chain", "draw", "gene")
    kept = list(tree["posterior"].data_vars)
    xr.testing.assert_identical(posterior[kept], tree["posterior"].to_dataset())
    assert extended.attrs == tree.attrs


@pytest.mark.parametrize("sd", [0.0, 1e-300, 1e-160])
def test_a_vanishing_sd_ties_the_level_mean_to_the_population_mean(sd):
    tree = tree_of(quantities((1, 100), LEVELS, sds=(sd, 2.0)))
    posterior = original_coordinates(tree)["posterior"]
    assert all(np.isfinite(draws).all() for draws in posterior.data_vars.values())
    np.testing.assert_allclose(
        posterior["gene_mean"], posterior["gene_intercept"].mean("gene"), atol=1e-13
    )


def test_the_original_form_is_returned_as_it_is():
    draws = quantities((2, 5), LEVELS, sds=(0.5, 2.0), original=True)
    tree = tree_of(draws, parameterization="original")
    assert original_coordinates(tree) is tree


def test_the_design_matrix_has_no_original_coordinates():
    tree = tree_of(quantities((2, 5), LEVELS, sds=None), parameterization="design_matrix")
    with pytest.raises(InputError, match=r"design_matrix .* fit with the sum_to_zero form"):
        original_coordinates(tree)
