import numpy as np
import pytest
from example_tables import balanced, table, unbalanced
from truth import dense_design

from crossed_jax.statistics.cells import blocks, cells_of, pair_counts
from crossed_jax.statistics.least_squares import decompose

RNG = np.random.default_rng(0)
CODES = np.repeat(np.arange(6), 4)
PATH = np.repeat(np.arange(200), 2)[:-1], np.repeat(np.arange(201), 2)[1:-2]

TABLES = {
    "balanced": balanced((3, 5), 2, sds=(0.5, 0.5), sigma=0.2),
    "unbalanced": unbalanced((4, 6), 30, sds=(0.5, 0.5), sigma=0.2, intercept=100.0),
    "three factors": unbalanced((3, 4, 5), 40, sds=(0.5, 1.0, 0.2), sigma=0.2),
    "a factor within another": table(
        RNG.normal(size=96), np.tile(np.arange(4), 24), *(np.arange(96) // n for n in (4, 8))
    ),
    "one factor twice": table(RNG.normal(size=24), CODES, CODES),
    "three blocks": table(RNG.normal(size=24), CODES, 2 * (CODES // 2) + np.arange(24) % 2),
    "a path": table(RNG.normal(size=798), *(np.repeat(codes, 2) for codes in PATH)),
}


def decomposition_of(data):
    cells = cells_of(data)
    return decompose(cells, pair_counts(cells), len(blocks(cells)))


def by_dense_least_squares(data, factors):
    design, slices = dense_design(data)
    columns = [np.ones((len(design), 1)), *(design[:, slices[k]] for k in factors)]
    design = np.concatenate(columns, axis=1)
    residual = data.response - design @ np.linalg.lstsq(design, data.response)[0]
    return residual @ residual, len(design) - np.linalg.matrix_rank(design)


@pytest.mark.parametrize("name", TABLES)
def test_sums_of_squares_are_those_of_dense_least_squares(name):
    data = TABLES[name]
    factors = range(len(data.factors))
    found = decomposition_of(data)
    squares, freedom = by_dense_least_squares(data, factors)
    assert found.residual.freedom == freedom
    assert found.residual.squares == pytest.approx(squares, rel=1e-9)
    for k, adjusted in zip(factors, found.adjusted, strict=True):
        without = by_dense_least_squares(data, [j for j in factors if j != k])
        assert adjusted.freedom == without[1] - freedom
        assert adjusted.squares == pytest.approx(without[0] - squares, rel=1e-9, abs=1e-9)


def test_evidence_is_the_log_likelihood_ratio_of_two_variances():
    found = decomposition_of(TABLES["balanced"])
    total = 0.0
    for k, adjusted in enumerate(found.adjusted):
        parts = np.array([adjusted, found.residual])
        both = parts.sum(0)

        def log_likelihood(squares, freedom):
            return -0.5 * freedom * np.log(squares / freedom)

        ratio = sum(log_likelihood(*part) for part in parts) - log_likelihood(*both)
        assert found.evidence[k] == pytest.approx(ratio)
        total += ratio
    assert total > 0.0


def test_there_is_no_evidence_for_a_factor_that_another_explains_or_without_residuals():
    np.testing.assert_array_equal(decomposition_of(TABLES["one factor twice"]).evidence, 0.0)
    saturated = table(RNG.normal(size=399), *PATH)
    found = decomposition_of(saturated)
    assert found.residual.freedom == 0
    np.testing.assert_array_equal(found.evidence, 0.0)
