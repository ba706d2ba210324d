import numpy as np
import pytest
from example_tables import balanced, table, unbalanced
from scipy import sparse

from crossed_jax.statistics.cells import blocks, cells_of, crosstab, to_dense


@pytest.mark.parametrize("num_levels", [(4, 6), (40, 300), (3, 4, 5)])
def test_cells_keep_counts_means_and_squares(num_levels):
    data = unbalanced(num_levels, 400, sds=(1.0,) * len(num_levels), sigma=0.3, intercept=1e4)
    cells = cells_of(data)
    rows = list(zip(*(f.codes.tolist() for f in data.factors), strict=True))
    assert [tuple(c) for c in cells.codes.tolist()] == sorted(set(rows))
    within = 0.0
    for code, count, mean in zip(cells.codes.tolist(), cells.counts, cells.means, strict=True):
        values = data.response[[row == tuple(code) for row in rows]]
        assert count == len(values)
        assert mean == pytest.approx(values.mean(), rel=1e-14)
        within += np.sum((values - values.mean()) ** 2)
    assert cells.sum_squares_within == pytest.approx(within, rel=1e-9)


def test_balanced_and_complete():
    whole = balanced((3, 5), 2, sds=(1, 1), sigma=1)
    assert cells_of(whole).balanced
    codes = [f.codes for f in whole.factors]
    one_replicate_short = table(whole.response[1:], *(c[1:] for c in codes))
    assert cells_of(one_replicate_short).complete
    assert not cells_of(one_replicate_short).balanced
    one_cell_short = table(whole.response[2:], *(c[2:] for c in codes))
    assert not cells_of(one_cell_short).complete


@pytest.mark.parametrize(
    ("num_levels", "num_rows", "dense"),
    [((5, 5), 15, True), ((200, 200), 600, False), ((6, 7, 40), 900, True), ((90, 70, 9), 640, 0)],
)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_crosstab_counts_pairs(num_levels, num_rows, dense, order):
    data = unbalanced(num_levels, num_rows, sds=(1,) * len(num_levels), sigma=1)
    pairs = crosstab(cells_of(data), *order)
    assert isinstance(pairs, np.ndarray) == dense
    expected = np.zeros([num_levels[k] for k in order])
    np.add.at(expected, tuple(data.factors[k].codes for k in order), 1)
    np.testing.assert_array_equal(to_dense(pairs), expected)


def test_crosstab_of_many_cells_in_few_pairs_is_sparse():
    a = np.repeat(np.arange(30), 20)
    data = table(np.arange(600.0), a, (a + 1) % 30, np.tile(np.arange(20), 30))
    pairs = crosstab(cells_of(data), 0, 1)
    assert isinstance(pairs, sparse.csr_array)
    np.testing.assert_array_equal(pairs.toarray(), 20 * np.roll(np.eye(30), 1, axis=1))


def test_blocks_finds_levels_that_share_no_row():
    a = np.array([0, 0, 1, 1, 2, 2, 2, 3])
    b = np.array([0, 1, 0, 1, 2, 3, 4, 4])
    found = blocks(cells_of(table(np.arange(8.0), a, b)))
    assert [[codes.tolist() for codes in block] for block in found] == [
        [[2, 3], [2, 3, 4]],
        [[0, 1], [0, 1]],
    ]


def test_one_block_when_connected():
    assert len(blocks(cells_of(balanced((3, 4, 2), 1, sds=(1, 1, 1), sigma=1)))) == 1
