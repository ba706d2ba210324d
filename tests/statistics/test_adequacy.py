"""Tests of the additive model: exact where they are, seldom wrong on its own tables, and strong."""

import dataclasses

import numpy as np
import pytest
from example_tables import balanced, table
from scipy import stats

import crossed_jax as cj
from crossed_jax.forms.table import prepared
from crossed_jax.models.priors import post_priors
from crossed_jax.results.adequacy import CHANCE
from crossed_jax.statistics.adequacy import Adequacy, adequacy, kurtosis_score
from crossed_jax.tables.crossed_data import CrossedData

SIZES = {"num_genes": 60, "num_cell_lines": 12, "noise_sd": 0.3}


def of(data: CrossedData) -> Adequacy:
    ready, _ = prepared(data, post_priors(len(data.factors)), 0.0)
    fit = ready.decomposition
    found = adequacy(ready.data, ready.cells, fit.effects, fit.residual.freedom)
    assert found is not None
    return found


def smallest_p(found: Adequacy) -> float:
    departures = [found.lack_of_fit, found.slopes, found.tails]
    departures += [each.departure for each in found.spread if each is not None]
    return min(each.p for each in departures if each is not None)


def squares_left(response: np.ndarray, design: np.ndarray) -> tuple[float, int]:
    """Residual sum of squares, and rank."""
    solution, _, rank, _ = np.linalg.lstsq(design, response)
    return float(((response - design @ solution) ** 2).sum()), int(rank)


def test_f_tests_are_those_of_nested_least_squares() -> None:
    data = balanced((7, 5), 2, sds=(1.0, 0.7), sigma=0.5)
    found, (gene, line) = of(data), (factor.codes for factor in data.factors)
    y = data.response
    additive = np.column_stack([np.eye(7)[gene], np.eye(5)[line]])
    every = np.eye(35)[5 * gene + line]
    (additive_left, p), (rows_left, q) = squares_left(y, additive), squares_left(y, every)
    f = (additive_left - rows_left) / (q - p) / (rows_left / (len(y) - q))
    assert found.lack_of_fit.p == pytest.approx(stats.f.sf(f, q - p, len(y) - q), rel=1e-9)

    effect = np.bincount(gene, y) / np.bincount(gene)
    sloped = np.column_stack([additive, (effect - effect.mean())[gene, None] * np.eye(5)[line]])
    means = np.bincount(5 * gene + line, y)[5 * gene + line] / 2
    (without, p), (with_slopes, r) = squares_left(means, additive), squares_left(means, sloped)
    assert r - p == 4
    f = (without - with_slopes) / 4 / (with_slopes / (35 - r))
    assert found.slopes.p == pytest.approx(stats.f.sf(f, 4, 35 - r), rel=1e-8)


@pytest.mark.parametrize("number", [30, 1_000])
def test_kurtosis_is_tested_as_scipy_does(number: int) -> None:
    values = np.random.default_rng(number).normal(size=number)
    wanted = stats.kurtosistest(values).statistic
    assert kurtosis_score(stats.kurtosis(values) + 3.0, number) == pytest.approx(wanted, rel=1e-9)


TABLES = {
    "the post's": {},
    "ragged": {"num_genes": 40, "num_cell_lines": 12, "num_replicates": (1, 3), "missing": 0.2},
    "single": {"num_genes": 24, "num_cell_lines": 6, "num_replicates": 1},
}


@pytest.mark.parametrize("name", TABLES)
def test_additive_tables_seldom_alarm(name: str) -> None:
    """In at most 5% of 200 tables, whatever is tested."""
    tables = (cj.simulate_screen(seed=seed, **TABLES[name]).data for seed in range(200))
    assert sum(smallest_p(of(data)) < CHANCE for data in tables) <= 10


DEPARTURES = {
    "lack_of_fit": {"interaction_share": 0.47},
    "slopes": {"slope_sd": 0.66},
    "genes": {"noise_sd_by_gene_sd": 0.33},
    "lines": {"noise_sd_by_line_sd": 0.45},
}


@pytest.mark.parametrize("name", DEPARTURES)
def test_departures_of_avanas_size_are_found(name: str) -> None:
    """In more than 95% of 60 tables; and by its own test, of about its size."""
    sizes = []
    for seed in range(60):
        data = cj.simulate_screen(seed=seed, num_replicates=2, **SIZES, **DEPARTURES[name]).data
        found = of(data)
        by_name = {**found._asdict(), "genes": found.spread[0], "lines": found.spread[1]}
        departure = getattr(by_name[name], "departure", by_name[name])
        sizes.append(departure.size if departure.p < CHANCE else 0.0)
    assert np.count_nonzero(sizes) > 57
    true = next(iter(DEPARTURES[name].values()))
    assert np.median(sizes) == pytest.approx(true, rel=0.25)


def test_outliers_are_heavy_tails() -> None:
    data = balanced((20, 10), 2, sds=(1.0, 0.7), sigma=0.5)
    response = data.response.copy()
    response[np.random.default_rng(0).choice(400, 8, replace=False)] += 4.0
    found = of(dataclasses.replace(data, response=response))
    assert found.tails.p < 1e-6
    assert 0.01 < found.beyond_3_sd <= 0.02


def test_tables_that_cannot_tell_are_not_asked() -> None:
    gene, line = np.indices((3, 2)).reshape(2, -1)
    found = of(table(np.random.default_rng(1).normal(size=6), gene, line))
    assert (found.lack_of_fit, found.slopes, found.tails) == (None, None, None)
    three = balanced((3, 4, 5), 2, sds=(1.0, 1.0, 1.0), sigma=1.0)
    found = of(three)
    assert found.slopes is None
    assert len(found.spread) == 3
