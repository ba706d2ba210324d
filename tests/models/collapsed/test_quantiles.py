import numpy as np
import pytest
from example_tables import balanced, unbalanced
from scipy.special import ndtr
from scipy.stats import norm

import crossed_jax as cj
from crossed_jax.models.collapsed import quantiles
from crossed_jax.models.collapsed.quantiles import (
    PROBABILITIES,
    effect_quantiles,
    mixture_quantiles,
)


@pytest.mark.parametrize(
    "log_spread", [0.0, 1.0, 4.0], ids=["Normals alike", "heavy tails", "a spike at zero"]
)
def test_quantiles_invert_the_distribution(log_spread):
    rng = np.random.default_rng(0)
    sds = np.exp(log_spread * rng.normal(size=(200, 7)))
    means = rng.normal(size=(200, 7)) * sds
    found = mixture_quantiles(means, sds, PROBABILITIES)
    near = 2e-5 * np.sqrt((sds**2).mean(0) + means.var(0))[:, None]

    def distribution(points):
        return ndtr((points - means[:, :, None]) / sds[:, :, None]).mean(0)

    assert np.all(distribution(found - near) <= PROBABILITIES)
    assert np.all(distribution(found + near) >= PROBABILITIES)


def test_a_mixture_of_one_is_a_normal_and_of_points_is_their_point():
    found = mixture_quantiles(np.array([[2.0, 0.0]]), np.array([[3.0, 0.0]]), PROBABILITIES)
    np.testing.assert_allclose(found[0], norm(2.0, 3.0).ppf(PROBABILITIES), atol=1e-4)
    np.testing.assert_allclose(found[1], 0.0, atol=1e-100)


class Simulated:
    """Effects given SDs that move little, as those of many levels do."""

    num_draws = 2_000

    def __init__(self, num_levels):
        rng = np.random.default_rng(0)
        self.shrinkage = rng.normal(1.0, 0.02, (self.num_draws, 1))
        self.center = rng.normal(size=num_levels)

    def conditionals(self, factor, draws, sd):
        shrinkage = self.shrinkage[draws]
        return shrinkage * self.center, 0.1 * shrinkage + np.zeros_like(self.center)

    def moments(self):
        means, sds = self.conditionals(0, np.arange(self.num_draws), None)
        return [(means.mean(0), np.sqrt((sds**2).mean(0) + means.var(0)))]


def test_fewer_draws_of_many_levels_cost_little(monkeypatch):
    given = Simulated(50)
    whole = effect_quantiles(given, given.moments())[0]
    monkeypatch.setattr(quantiles, "NUMBERS_AT_ONCE", 0)
    part = effect_quantiles(given, given.moments())[0]
    kept = np.abs(PROBABILITIES - 0.5) < 0.4951  # up to intervals of 99%
    errors = np.abs(part - whole)[:, kept] / given.moments()[0][1][:, None]
    assert 0.0 < errors.max() < 0.05


@pytest.mark.parametrize(
    "data",
    [
        balanced((3, 4), 1, sds=(0.3, 0.3), sigma=0.4),
        unbalanced((5, 3), 14, sds=(0.3, 0.3), sigma=0.4),
    ],
    ids=["balanced", "unbalanced"],
)
def test_intervals_of_a_summary_are_those_of_the_draws(data):
    """As Normal intervals the ends of these tiny tables would be 0.4 SDs off."""
    settings = {"num_draws": 2_000, "seed": 2}
    kept, summary = (
        cj.effects(cj.fit(data, keep_effects=keep, **settings)) for keep in ("draws", "summary")
    )
    for end in ("lower", "upper"):
        assert ((summary[end] - kept[end]) / kept["sd"]).abs().max() < 0.15
