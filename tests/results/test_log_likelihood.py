"""Log-densities of rows and cells left out, against dense normals and scipy; and who is refused."""

import dataclasses
import json
import warnings

import arviz_stats
import numpy as np
import pytest
import xarray as xr
from heavy_noise import with_heavy_noise
from scipy import stats
from screen_tables import SCREEN, few_draws, in_other_order, simulated
from synthetic_tree import synthetic_tree
from unit_screen import TABLE, moments

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.models.model import parts_of
from crossed_jax.models.screen.left_out import scores
from crossed_jax.results import log_likelihood
from crossed_jax.results.log_likelihood import in_blocks
from crossed_jax.results.screen_predictions import cells_of_rows, codes_of, draws_by_name
from crossed_jax.tables.crossed_data import CrossedData, Factor
from crossed_jax.types import LeftOut


def values(tree: xr.DataTree, data: CrossedData, by: LeftOut) -> np.ndarray:
    """By draw, all chains one after the other."""
    group = cj.log_likelihood(tree, data, by=by)["log_likelihood"].to_dataset()
    return group[data.response_name].stack(sample=("chain", "draw")).values.T


def cells(data: CrossedData) -> list[np.ndarray]:
    """Rows of each, in the order of their codes."""
    codes = np.stack([factor.codes for factor in data.factors], -1)
    cell = np.unique(codes, axis=0, return_inverse=True)[1]
    return [np.flatnonzero(cell == one) for one in range(cell.max() + 1)]


def test_rows_and_cells_with_guides_and_samples_are_those_of_dense_normals(
    unit_fit: xr.DataTree,
) -> None:
    _, line, guide, sample = (factor.codes for factor in TABLE.factors_and_units)
    by_row, by_cell = values(unit_fit, TABLE, "row"), values(unit_fit, TABLE, "cell")
    draws = unit_fit["posterior"].to_dataset().stack(sample=("chain", "draw"))
    assert by_row.shape == (draws.sizes["sample"], TABLE.num_rows)
    for i in range(len(by_row)):
        for number, rows in enumerate(cells(TABLE)):
            mean, covariance = moments(draws.isel(sample=i), guide[rows], line[rows], sample[rows])
            mean, covariance = mean[: len(rows)], covariance[: len(rows), : len(rows)]
            whole = stats.multivariate_normal(mean, covariance).logpdf(TABLE.response[rows])
            np.testing.assert_allclose(by_cell[i, number], whole, rtol=1e-10)
            for place, row in enumerate(rows):
                others = np.delete(np.arange(len(rows)), place)
                rest = 0.0
                if len(others):
                    of_others = covariance[np.ix_(others, others)]
                    rest = stats.multivariate_normal(mean[others], of_others).logpdf(
                        TABLE.response[rows[others]]
                    )
                np.testing.assert_allclose(by_row[i, row], whole - rest, rtol=1e-8, atol=1e-10)


def test_scores_are_distances_from_what_others_of_the_cell_say(unit_fit: xr.DataTree) -> None:
    """At the means of all quantities, in SDs of a dense normal given the others."""
    at = unit_fit["posterior"].to_dataset().mean(("chain", "draw"))
    parts = parts_of(unit_fit.attrs, TABLE.factor_names)
    means = {str(name): values.values[None, None] for name, values in at.items()}
    (drawn,) = draws_by_name(means, parts, TABLE.factor_names)
    codes = codes_of(TABLE, parts, slice(None))
    found = scores(drawn, cells_of_rows(codes, parts, None, TABLE.factor_names), TABLE.response)
    _, line, guide, sample = (factor.codes for factor in TABLE.factors_and_units)
    for rows in cells(TABLE):
        mean, covariance = moments(at, guide[rows], line[rows], sample[rows])
        precision = np.linalg.inv(covariance[: len(rows), : len(rows)])
        left = precision @ (TABLE.response[rows] - mean[: len(rows)])
        np.testing.assert_allclose(found[rows], left / np.sqrt(np.diag(precision)), rtol=1e-8)
    assert json.loads(unit_fit.attrs["adequacy"])["beyond_3_sd"] == (np.abs(found) > 3.0).mean()


def test_cells_have_the_levels_of_their_rows(unit_fit: xr.DataTree) -> None:
    group = cj.log_likelihood(unit_fit, TABLE, by="cell")["log_likelihood"].to_dataset()
    for factor in TABLE.factors:
        of_cells = [factor.levels[factor.codes[rows[0]]] for rows in cells(TABLE)]
        assert group[factor.name].values.tolist() == of_cells


@pytest.mark.parametrize("nu", [None, 3.7])
def test_additive_rows_are_those_of_scipy_and_cells_their_sums(nu: float | None) -> None:
    tree, data = additive()
    noise = stats.norm if nu is None else stats.t(nu)
    if nu is not None:
        tree = with_heavy_noise(tree, nu)
    posterior = tree["posterior"].to_dataset().stack(sample=("chain", "draw"))
    expected = posterior["intercept"].values[:, None]
    for factor in data.factors:
        effect = posterior[f"{factor.name}_effect"].transpose("sample", ...).values
        expected = expected + effect[:, factor.codes]
    sigma = posterior["sigma"].values[:, None]
    wanted = noise.logpdf((data.response - expected) / sigma) - np.log(sigma)
    np.testing.assert_allclose(values(tree, data, "row"), wanted, rtol=1e-10)
    sums = np.stack([wanted[:, rows].sum(-1) for rows in cells(data)], -1)
    np.testing.assert_allclose(values(tree, data, "cell"), sums, rtol=1e-10)


def additive() -> tuple[xr.DataTree, CrossedData]:
    tree, _ = synthetic_tree({"gene": 3, "cell_line": 4}, chains=2, draws=60)
    constant = tree["constant_data"].to_dataset()
    factors = tuple(
        Factor(name, tuple(constant[name].values), constant[f"{name}_code"].values)
        for name in ("gene", "cell_line")
    )
    response = tree["observed_data"]["logfc"].values
    return tree, CrossedData(response, "logfc", factors, num_missing=0, notes=())


@pytest.mark.parametrize("by", ["row", "cell"])
def test_blocks_are_parts_of_the_whole(
    by: LeftOut, screen_fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down to one cell a block."""
    whole = screen_fit_values(screen_fit, SCREEN, by)
    few = few_draws(screen_fit)
    for number in (1, 500):
        monkeypatch.setattr(log_likelihood, "NUMBERS_IN_BLOCK", number)
        blocks = list(in_blocks(few, SCREEN, by))
        assert len(blocks) > 5
        places = np.concatenate([place for place, _ in blocks])
        assert sorted(places) == list(range(whole.shape[1]))
        found = np.concatenate([block for _, block in blocks], -1)[..., np.argsort(places)]
        np.testing.assert_allclose(found.reshape(whole.shape), whole, rtol=1e-12)


def screen_fit_values(tree: xr.DataTree, data: CrossedData, by: LeftOut) -> np.ndarray:
    return values(few_draws(tree), data, by)


def test_the_order_of_the_factors_is_the_tables(screen_fit: xr.DataTree) -> None:
    few, other = few_draws(screen_fit), in_other_order(SCREEN)
    np.testing.assert_allclose(values(few, other, "row"), values(few, SCREEN, "row"), rtol=1e-12)
    found, wanted = (
        cj.log_likelihood(few, data, by="cell")["log_likelihood"]
        .to_dataset()
        .set_index(cell=["gene", "line"])
        .sortby("cell")["y"]
        for data in (other, SCREEN)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_arviz_compares_what_is_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a fit and of one whose sigma is too large: all that ArviZ gives, row by row."""
    tree, data = additive()
    wide = tree.copy()
    doubled = tree["posterior"].to_dataset().assign(sigma=lambda posterior: 2 * posterior.sigma)
    wide["posterior"] = xr.DataTree(doubled)
    monkeypatch.setattr(log_likelihood, "NUMBERS_IN_BLOCK", 120 * 7)
    for by in ("row", "cell"):
        found = cj.compare({"as it is": tree, "wide": wide}, data, by=by)
        assert found["model"].to_list() == ["as it is", "wide"]
        assert found["rank"].to_list() == [1, 2]
        assert set(found["left_out"]) == {by}
        for row, fitted in zip(found.to_dicts(), (tree, wide), strict=True):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Pareto k
                one = arviz_stats.loo(cj.log_likelihood(fitted, data, by=by), pointwise=True)
            assert row["number"] == one.n_data_points == (36 if by == "row" else 12)
            np.testing.assert_allclose(
                [row["elpd"], row["se"], row["p"]], [one.elpd, one.se, one.p], rtol=1e-9
            )
            assert row["bad_k"] == (one.pareto_k > one.good_k).sum()


def test_the_true_model_of_a_screen_is_told(screen_fit: xr.DataTree) -> None:
    settings = {"num_warmup": 300, "num_draws": 150, "num_chains": 2}
    found = cj.compare({"additive": cj.fit(SCREEN, **settings), "screen": screen_fit}, SCREEN)
    assert found["model"].to_list() == ["screen", "additive"]
    assert found["elpd_diff"][1] < -4.0 * found["dse"][1]


def test_who_is_not_the_fitted_table_is_refused(screen_fit: xr.DataTree) -> None:
    other = dataclasses.replace(SCREEN, response=SCREEN.response + 0.1)
    with pytest.raises(InputError, match="levels of gene have other rows in this table"):
        cj.log_likelihood(screen_fit, other)
    with pytest.raises(InputError, match="gene has other levels in this table than in the fit"):
        cj.log_likelihood(screen_fit, simulated(2, 20, 6, 2))
    factors = (*SCREEN.factors, dataclasses.replace(SCREEN.factors[0], name="day"))
    with pytest.raises(InputError, match="the table has the factors gene, line, day, but the fit"):
        cj.log_likelihood(screen_fit, dataclasses.replace(SCREEN, factors=factors))
    called = dataclasses.replace(SCREEN, response_name="cell")
    with pytest.raises(InputError, match="the response is called 'cell', as what is left out"):
        cj.log_likelihood(screen_fit, called, by="cell")
    with pytest.raises(InputError, match="by is 'column': choose 'row' or 'cell'"):
        cj.log_likelihood(screen_fit, SCREEN, by="column")


def test_what_cannot_be_compared_is_told(screen_fit: xr.DataTree) -> None:
    with pytest.raises(InputError, match="compare takes fits by name, and 1 is none"):
        cj.compare({1: screen_fit, "1": screen_fit}, SCREEN)
    for given in ({"one": screen_fit}, screen_fit, [screen_fit, screen_fit]):
        with pytest.raises(InputError, match="compare takes two fits or more by name"):
            cj.compare(given, SCREEN)
    summary, _ = synthetic_tree(
        {"gene": 3, "cell_line": 4}, parameterization="collapsed", keep_effects="summary"
    )
    with pytest.raises(InputError, match="kept a summary of the effects"):
        cj.compare({"a": summary, "b": summary}, additive()[1])


def test_what_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, data = additive()
    monkeypatch.setattr(log_likelihood, "most_draws_in_memory", lambda number: 119)
    with pytest.raises(InputError, match="log-densities of 36 rows given 120 draws do not fit"):
        cj.log_likelihood(tree, data)
