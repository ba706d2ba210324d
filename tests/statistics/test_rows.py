"""Layouts of rows against plain sums over them, and what a gradient through them compiles to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_tables import balanced, table, unbalanced

from crossed_jax.models.student_t import log_excess
from crossed_jax.statistics.rows import FEW_LENGTHS, MOST_PADDING, rows_of


def without(data, number, seed=0):
    """Leave rows out at random; few enough that every level stays."""
    kept = np.random.default_rng(seed).permutation(data.num_rows)[number:]
    return table(data.response[kept], *(factor.codes[kept] for factor in data.factors))


def heavy_level(num_levels, num_rows):
    """One level of the leading factor holds half of the rows."""
    rng = np.random.default_rng(3)
    lead = np.concatenate([np.arange(num_levels), np.zeros(num_rows - num_levels, int)])
    return table(rng.normal(size=num_rows), lead, np.arange(num_rows) % 4)


SIZES = {"sds": (0.5, 0.5), "sigma": 0.2}
TABLES = {
    "rectangle": balanced((7, 4), 2, **SIZES),
    "rectangle, the second leads": balanced((3, 8), 2, **SIZES),
    "rectangle with gaps": without(balanced((12, 4), 2, **SIZES), 5),
    "ragged": unbalanced((9, 5), 40, **SIZES),
    "ragged, one line to a length": heavy_level(6, 40),
    "ragged, of many lengths": unbalanced((60, 4), 2000, **SIZES, seed=2),
    "sparse": unbalanced((80, 60), 170, **SIZES),
    "three factors": unbalanced((3, 6, 5), 40, sds=(0.5, 1.0, 0.2), sigma=0.2),
    "three factors, rectangle": balanced((3, 6, 4), 2, sds=(0.5, 1.0, 0.2), sigma=0.2),
}


def random_effects(data, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(), tuple(rng.normal(size=len(factor.levels)) for factor in data.factors)


def of_rows(data, intercept, effects):
    """Residuals of the table's rows as they come."""
    expected = sum(e[f.codes] for e, f in zip(effects, data.factors, strict=True))
    return data.response - intercept - expected


def blanked(rows, entries):
    """Entries of all blocks, zero where there is no row."""
    return [
        entry if block.present is None else entry * block.present
        for block, entry in zip(rows.blocks, entries, strict=True)
    ]


@pytest.mark.parametrize("name", TABLES)
def test_residuals_are_those_of_the_rows(name):
    data = TABLES[name]
    rows = rows_of(data)
    intercept, effects = random_effects(data)
    found = []
    for block, residual in zip(rows.blocks, rows.residuals(intercept, effects), strict=True):
        there = np.ones(residual.shape) if block.present is None else block.present
        found.append(np.asarray(residual)[there > 0])
    found = np.concatenate(found)
    assert rows.num_rows == data.num_rows == len(found)
    expected = of_rows(data, intercept, effects)
    np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=1e-13)


@pytest.mark.parametrize("name", TABLES)
def test_level_sums_are_those_of_the_rows(name):
    data = TABLES[name]
    rows = rows_of(data)
    intercept, effects = random_effects(data)
    scores = blanked(rows, [r**3 for r in rows.residuals(intercept, effects)])
    found = rows.level_sums(scores)
    cubes = of_rows(data, intercept, effects) ** 3
    for sums, factor in zip(found, data.factors, strict=True):
        np.testing.assert_allclose(sums, np.bincount(factor.codes, cubes), atol=1e-11)


def test_complete_tables_and_nearly_complete_ones_are_rectangles():
    for name, gaps in (("rectangle", False), ("rectangle with gaps", True)):
        (block,) = rows_of(TABLES[name]).blocks
        assert all(code.shape == (1, block.response.shape[1]) for code in block.codes)
        assert (block.present is not None) == gaps
        assert block.response.size <= MOST_PADDING * TABLES[name].num_rows


def test_ragged_lines_are_padded_to_few_lengths_and_by_little():
    data = TABLES["ragged, of many lengths"]
    rows = rows_of(data)
    lengths = [block.response.shape[1] for block in rows.blocks]
    assert len(np.unique(np.bincount(data.factors[0].codes))) > FEW_LENGTHS >= len(lengths)
    assert sum(b.response.size for b in rows.blocks) <= MOST_PADDING * data.num_rows
    levels = np.concatenate([block.levels for block in rows.blocks])
    np.testing.assert_array_equal(np.sort(levels), np.arange(60))


def scatters(function, *arguments):
    """Whether a program scatters before the compiler spells it as a loop."""
    return "stablehlo.scatter" in jax.jit(function).lower(*arguments).as_text()


@pytest.mark.parametrize("name", TABLES)
def test_a_gradient_gathers_and_does_not_scatter(name):
    data = TABLES[name]
    rows = rows_of(data)
    intercept, effects = random_effects(data)
    gradient = jax.grad(log_excess, argnums=(1, 2, 3))
    assert not scatters(gradient, rows, intercept, effects, jnp.asarray(0.3))

    def as_written(effects):
        return sum(jnp.log1p(r**2).sum() for r in rows.residuals(intercept, effects))

    assert scatters(jax.grad(as_written), effects)
