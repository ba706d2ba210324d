import numpy as np
import pytest
from example_tables import balanced, estimate_of, unbalanced
from truth import dense_design

import crossed_jax as cj
from crossed_jax.statistics.cells import blocks, cells_of, pair_counts
from crossed_jax.statistics.least_squares import decompose
from crossed_jax.statistics.point_estimate import backfit, variance_components


def variances_of(data):
    cells = cells_of(data)
    pairs = pair_counts(cells)
    residual = decompose(cells, pairs, len(blocks(cells))).residual
    return variance_components(cells, pairs, residual)


def test_balanced_variances_are_the_anova_ones():
    data = balanced((5, 8), 3, sds=(1.0, 0.5), sigma=0.3, intercept=100.0)
    y = data.response.reshape(5, 8, 3)
    fitted = y.mean((1, 2))[:, None] + y.mean((0, 2)) - y.mean()
    within = np.sum((y - fitted[:, :, None]) ** 2) / (y.size - 5 - 8 + 1)
    a = (24 * y.mean((1, 2)).var(ddof=1) - within) / 24
    b = (15 * y.mean((0, 2)).var(ddof=1) - within) / 15
    factor_sds, sigma = variances_of(data)
    np.testing.assert_allclose(factor_sds, np.sqrt([a, b]), rtol=1e-9)
    assert sigma == pytest.approx(np.sqrt(within), rel=1e-9)


@pytest.mark.parametrize("num_levels", [(200, 300), (100, 80, 60)])
def test_variances_are_near_the_truth_of_a_large_unbalanced_table(num_levels):
    sds = (1.0, 0.5, 0.8)[: len(num_levels)]
    data = unbalanced(num_levels, 20_000, sds=sds, sigma=0.7)
    factor_sds, sigma = variances_of(data)
    # the SE of a log SD is (2 levels)^-1/2: at most 0.08 here, and four of them are allowed
    np.testing.assert_allclose(np.log(factor_sds), np.log(sds), atol=4 / np.sqrt(2 * 60))
    assert sigma == pytest.approx(0.7, rel=0.03)


def test_a_variance_the_data_cannot_see_is_small_and_positive():
    data = balanced((4, 50), 2, sds=(1.0, 0.0), sigma=1.0, seed=3)
    factor_sds, sigma = variances_of(data)
    assert 0.0 < factor_sds[1] < sigma


@pytest.mark.parametrize("seed", [13, 18, 25, 30])
def test_sigma_of_a_small_sparse_table_is_what_the_residuals_show(seed):
    """Henderson's equations give these a residual variance below zero."""
    data = cj.simulate_screen(
        num_genes=4, num_cell_lines=5, num_replicates=(1, 2), missing=0.3, noise_sd=0.4, seed=seed
    ).data
    design, _ = dense_design(data)
    residual = data.response - design @ np.linalg.lstsq(design, data.response)[0]
    freedom = len(design) - np.linalg.matrix_rank(design)
    factor_sds, sigma = variances_of(data)
    assert sigma == pytest.approx(np.sqrt(residual @ residual / freedom))
    assert np.all(factor_sds > 0.1 * sigma / np.sqrt(len(design)))


@pytest.mark.parametrize("ratios", [(0.5, 2.0), (0.0, 0.0)])
def test_backfit_solves_the_mixed_model_equations(ratios):
    data = unbalanced((6, 9), 80, sds=(1.0, 1.0), sigma=0.5)
    cells = cells_of(data)
    intercept, effects = backfit(cells, pair_counts(cells), np.array(ratios), max_sweeps=2000)
    design, slices = dense_design(data)
    fitted = intercept + design @ np.concatenate(effects)
    gradient = design.T @ (data.response - fitted)
    for levels, effect, ratio in zip(slices, effects, ratios, strict=True):
        # up to the constraint's multiplier, which is the same for all levels
        remainder = gradient[levels] - ratio * effect
        np.testing.assert_allclose(
            remainder / (np.sum(design[:, levels], 0) + ratio),
            np.mean(remainder / (np.sum(design[:, levels], 0) + ratio)),
            atol=1e-6,
        )
        assert abs(effect.sum()) < 1e-9


def test_the_offset_of_the_response_changes_nothing_but_the_intercept():
    data = balanced((5, 8), 3, sds=(1.0, 0.5), sigma=0.3, intercept=0.0)
    here = estimate_of(cells_of(data))
    there = estimate_of(cells_of(data.__class__(**{**vars(data), "response": data.response + 1e6})))
    np.testing.assert_allclose(there.factor_sds, here.factor_sds, rtol=1e-7)
    assert there.intercept - here.intercept == pytest.approx(1e6, rel=1e-12)
