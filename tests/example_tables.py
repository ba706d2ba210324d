"""Small crossed tables for the tests."""

from pathlib import Path

import numpy as np

from crossed_jax.models.noise import NOISES
from crossed_jax.models.parameterization import ModelData
from crossed_jax.models.parts import model_data_of
from crossed_jax.models.priors import Priors
from crossed_jax.statistics.cells import Cells, blocks, cells_of, pair_counts
from crossed_jax.statistics.least_squares import decompose
from crossed_jax.statistics.point_estimate import Estimate, estimate
from crossed_jax.tables.crossed_data import CrossedData, Factor

SHARED = Path(__file__).parents[2] / "shared" / "data"


def table(response: np.ndarray, *codes: np.ndarray, names: tuple[str, ...] = ()) -> CrossedData:
    """Wrap arrays; every level up to the largest code must occur."""
    names = names or tuple("abcdef"[: len(codes)])
    factors = tuple(
        Factor(name, tuple(f"{name}{i}" for i in range(int(code.max()) + 1)), code.astype(np.int32))
        for name, code in zip(names, codes, strict=True)
    )
    return CrossedData(np.asarray(response, float), "y", factors, num_missing=0, notes=())


def balanced(
    num_levels: tuple[int, ...],
    replicates: int,
    *,
    sds: tuple[float, ...],
    sigma: float,
    seed: int = 0,
    intercept: float = 0.5,
) -> CrossedData:
    """Simulate a complete table with equal replicates."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*map(np.arange, num_levels), np.arange(replicates), indexing="ij")
    codes = [g.ravel() for g in grid[:-1]]
    return _simulate(rng, codes, num_levels, sds, sigma, intercept)


def unbalanced(
    num_levels: tuple[int, ...],
    num_rows: int,
    *,
    sds: tuple[float, ...],
    sigma: float,
    seed: int = 0,
    intercept: float = 0.5,
) -> CrossedData:
    """Simulate rows at random combinations of levels, each level at least once."""
    rng = np.random.default_rng(seed)
    codes = [
        rng.permutation(np.concatenate([np.arange(n), rng.integers(0, n, num_rows - n)]))
        for n in num_levels
    ]
    return _simulate(rng, codes, num_levels, sds, sigma, intercept)


def _simulate(
    rng: np.random.Generator,
    codes: list[np.ndarray],
    num_levels: tuple[int, ...],
    sds: tuple[float, ...],
    sigma: float,
    intercept: float,
) -> CrossedData:
    response = intercept + rng.normal(0.0, sigma, len(codes[0]))
    for code, size, sd in zip(codes, num_levels, sds, strict=True):
        response += rng.normal(0.0, sd, size)[code]
    return table(response, *codes)


def estimate_of(cells: Cells) -> Estimate:
    """Estimate everything, as `fit` does."""
    pairs = pair_counts(cells)
    return estimate(cells, pairs, decompose(cells, pairs, len(blocks(cells))))


def model_data_for(
    data: CrossedData,
    priors: Priors,
    centering: tuple[bool | None, ...] | None = None,
    noise: str = "normal",
) -> ModelData:
    """Give what the forms that sample effects are given."""
    cells = cells_of(data)
    part = NOISES[noise]
    priors = priors._replace(others={**part.priors, **priors.others})
    wanted = centering or (None,) * len(data.factors)
    return model_data_of(data, cells, priors, estimate_of(cells), part, wanted)
