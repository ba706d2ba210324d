"""Screen models of small tables."""

from unittest import mock

import numpy as np
from screen_tables import simulated

import crossed_jax as cj
from crossed_jax.models.distributions import Exponential, LogitNormal, Normal
from crossed_jax.models.screen import strata
from crossed_jax.models.screen.model_data import screen_data
from crossed_jax.models.screen.parameterization import OfSDs, ScreenData, ScreenPriors
from crossed_jax.models.screen.parts import Parts
from crossed_jax.statistics.cells import cells_of
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.types import ChainMethod

NO_PARTS = Parts(0, *(False,) * 4)


def priors_of(parts: Parts) -> ScreenPriors:
    has = (parts.slopes, parts.line_noise, parts.gene_noise)
    sds = (
        Exponential(rate) if part else None for rate, part in zip((1.1, 0.9, 1.2), has, strict=True)
    )
    share = LogitNormal(0.1, 1.5) if parts.interaction else None
    return ScreenPriors(
        Normal(0.3, 5.0), Exponential(0.8), Exponential(1.5), OfSDs(Exponential(1.0), *sds), share
    )


def screen_of(data: CrossedData, parts: Parts) -> ScreenData:
    return screen_data(data, cells_of(data), parts, priors_of(parts))[1]


def draws_in_blocks(chain_method: ChainMethod) -> np.ndarray:
    """All draws of two chains, genes in several blocks, of which one device may have fewer."""
    with mock.patch.object(strata, "BLOCK_BYTES", 8 * 5 * 6):
        tree = cj.fit(
            simulated(0, 25, 5, 2),
            model=cj.Model("line", ("gene", "line")),
            num_chains=2,
            num_warmup=5,
            num_draws=20,
            chain_method=chain_method,
        )
    draws = tree["posterior"].to_dataset()
    return np.concatenate([draws[name].to_numpy().ravel() for name in draws.data_vars])


def less_one_and_alone(number: int) -> list[tuple[bool, ...]]:
    """Say which of so many parts are there: all but one, all, each alone, and none.

    Of any two parts there are both, each alone, and neither.
    """
    less_one = [tuple(i != k for i in range(number)) for k in range(number + 1)]
    return less_one + [tuple(i == k for i in range(number)) for k in range(number + 1)]
