import numpy as np
import pytest
from arviz_stats.base import array_stats

from crossed_jax.sampling import ess as effective_sample_size
from crossed_jax.sampling.ess import TAILS, by_blocks, rank_diagnostics


def arviz(draws):
    """Give R-hat, bulk and tail ESS by ArviZ."""
    each = np.moveaxis(draws, -1, 0)
    with np.errstate(all="ignore"):
        return (
            array_stats.rhat(each, method="rank"),
            array_stats.ess(each, method="bulk"),
            array_stats.ess(each, method="tail", prob=TAILS),
        )


def autoregressive(rng, correlation, shape):
    noise = rng.normal(size=shape)
    values = np.empty(shape)
    values[:, 0] = noise[:, 0]
    for t in range(1, shape[1]):
        values[:, t] = correlation * values[:, t - 1] + (1 - correlation**2) ** 0.5 * noise[:, t]
    return values


def repeated(rng, shape):
    """Draws that stay where they are four times in ten, as rejected proposals do."""
    values = rng.normal(size=shape)
    stay = rng.uniform(size=shape[:2]) < 0.4
    for t in range(1, shape[1]):
        values[stay[:, t], t] = values[stay[:, t], t - 1]
    return values


KINDS = {
    "independent": lambda rng, shape: rng.normal(size=shape),
    "heavy tails": lambda rng, shape: rng.standard_cauchy(size=shape),
    "autocorrelated": lambda rng, shape: autoregressive(rng, 0.9, shape),
    "antithetic": lambda rng, shape: autoregressive(rng, -0.6, shape),
    "apart": lambda rng, shape: rng.normal(size=shape) + np.arange(shape[0])[:, None, None],
    "spread apart": lambda rng, shape: (
        rng.normal(size=shape) * (1 + np.arange(shape[0])[:, None, None])
    ),
    "drifting": lambda rng, shape: rng.normal(size=shape) + np.linspace(0, 3, shape[1])[:, None],
    "repeated": repeated,
    "rounded": lambda rng, shape: rng.normal(size=shape).round(1),
    "far from zero": lambda rng, shape: 1e9 + rng.normal(size=shape),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(4, 250, 20), (2, 101, 20), (1, 300, 20), (128, 40, 3)])
def test_all_three_are_arviz_s(kind, shape):
    draws = KINDS[kind](np.random.default_rng(0), shape)
    for ours, theirs in zip(rank_diagnostics(draws), arviz(draws), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("num_chains", [1, 2, 4])
@pytest.mark.parametrize("num_draws", range(1, 24))
def test_few_draws_are_arviz_s(num_chains, num_draws):
    draws = np.random.default_rng(num_draws).normal(size=(num_chains, num_draws, 50))
    ours, theirs = rank_diagnostics(draws), arviz(draws)
    assert np.isnan(ours.ess_bulk).all() == (num_draws < 4)
    assert np.isnan(ours.r_hat).all() == (num_draws < 4 or num_chains == 1)
    np.testing.assert_allclose(ours.r_hat, theirs[0], rtol=1e-10)
    np.testing.assert_allclose(ours.ess_bulk, theirs[1], rtol=1e-10)
    # Of an indicator over so few draws a sum of pairs can be zero, and rounding give its sign.
    agree = np.isclose(ours.ess_tail, theirs[2], rtol=1e-10, equal_nan=True)
    assert agree.mean() > 0.95


def test_constants_and_what_is_not_a_number_are_arviz_s():
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(4, 50, 9))
    draws[..., 0] = 1.5  # never moves
    draws[2, :, 1] = 0.3  # one chain does not
    draws[..., 2] = np.arange(4)[:, None]  # none does, each elsewhere
    draws[1, 7, 3] = np.nan
    draws[1, 7, 4] = np.inf
    draws[0, :, 5] = -np.inf
    draws[:3, :, 6] = np.inf  # no distance from the median
    draws[..., 7] = np.nan
    draws[:, 3:, 8] = 2.0  # nearly all equal
    ours = rank_diagnostics(draws)
    for mine, theirs in zip(ours, arviz(draws), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10)
    assert np.isnan([x[3] for x in ours]).all()
    assert np.isnan(ours.r_hat[0])
    assert ours.ess_bulk[0] == 200


def test_ties_share_their_mean_rank_wherever_a_tied_quantity_stands():
    rng = np.random.default_rng(2)
    draws = rng.normal(size=(2, 60, 12))
    draws[..., ::5] = draws[..., ::5].round()
    for ours, theirs in zip(rank_diagnostics(draws), arviz(draws), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_quantities_are_diagnosed_alone_however_they_are_stored(monkeypatch):
    draws = np.random.default_rng(3).normal(size=(3, 50, 31))
    whole = rank_diagnostics(draws)
    stored = np.asfortranarray(draws)
    before = stored.copy()
    monkeypatch.setattr(effective_sample_size, "BLOCK_BYTES", 8 * 150 * 4)
    for one, other in zip(whole, rank_diagnostics(stored), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    np.testing.assert_array_equal(stored, before)


def test_no_quantities_are_no_numbers():
    assert all(values.shape == (0,) for values in rank_diagnostics(np.empty((4, 100, 0))))


def test_blocks_may_be_written_to_and_stay_in_order():
    draws = np.arange(2 * 3 * 100_000.0).reshape(2, 3, -1)
    expected = draws.sum((0, 1))

    def compute(block):
        assert block.flags.c_contiguous
        total = block.sum((1, 2))
        block[:] = np.nan
        return total[None]

    np.testing.assert_array_equal(by_blocks(draws, compute)[0], expected)
    np.testing.assert_array_equal(draws.sum((0, 1)), expected)
