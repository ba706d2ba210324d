"""Tables of every kind of design, and their collapsed forms."""

from functools import cache

import numpy as np
import numpyro.distributions as dist
from example_tables import balanced, estimate_of, unbalanced
from truth import dense_design

from crossed_jax.models.collapsed.back_substitution import EffectsGivenSDs
from crossed_jax.models.collapsed.block_products import block_products
from crossed_jax.models.collapsed.collapse import (
    collapse,
    collapse_any_design,
)
from crossed_jax.models.collapsed.parameterization import SDs
from crossed_jax.models.priors import Priors
from crossed_jax.statistics.cells import cells_of

TABLES = {
    "balanced": balanced((3, 5), 2, sds=(0.5, 0.5), sigma=0.2),
    "unbalanced": unbalanced((7, 4), 40, sds=(0.5, 0.5), sigma=0.2),
    "three factors": unbalanced((3, 9, 5), 60, sds=(0.5, 1.0, 0.2), sigma=0.3),
    "balanced, three factors": balanced((3, 4, 5), 1, sds=(0.5, 1.0, 0.2), sigma=0.3),
    "a dense block": unbalanced((40, 30), 400, sds=(0.5, 0.3), sigma=0.4),
    "a sparse dense block": unbalanced((60, 50), 240, sds=(0.5, 0.3), sigma=0.4),
    "a dense block and a border": unbalanced((40, 30, 3), 500, sds=(0.5, 0.3, 0.4), sigma=0.4),
    "a dense block of two": unbalanced((40, 30, 28), 500, sds=(0.5, 0.3, 0.4), sigma=0.4),
    "a dense block with an SD of zero": unbalanced((50, 40), 300, sds=(0.5, 0.0), sigma=0.4),
}
WITHOUT_DENSE_BLOCK = ["balanced", "unbalanced", "three factors", "balanced, three factors"]
BALANCED = ["balanced", "balanced, three factors"]


def priors_for(data):
    number = len(data.factors)
    means = tuple(dist.Normal(0.3 - k, 2.0 + k) for k in range(number))
    return Priors(means, (dist.HalfNormal(1.0),) * number, dist.Exponential(1.5))


@cache
def any_design(name):
    data = TABLES[name]
    cells = cells_of(data)
    return data, collapse_any_design(cells, priors_for(data), estimate_of(cells))


def linear_maps(data):
    """Intercept and effects as matrices on (factor means, all levels' intercepts)."""
    _, slices = dense_design(data)
    skip = len(slices)
    size = skip + slices[-1].stop
    intercept = np.zeros((1, size))
    effects = []
    for levels in slices:
        columns = slice(skip + levels.start, skip + levels.stop)
        number = levels.stop - levels.start
        intercept[0, columns] = 1 / number
        matrix = np.zeros((number, size))
        matrix[:, columns] = np.eye(number) - 1 / number
        effects.append(matrix)
    return intercept, effects


def given_at(name, factor_sds):
    """Condition on chosen SDs of shape (draws, factors), in a box that just holds them."""
    data = TABLES[name]
    cells, priors = cells_of(data), priors_for(data)
    sds = SDs(factor_sds[None], np.full((1, len(factor_sds)), 0.4))
    box = EffectsGivenSDs(block_products(cells), None, sds).box
    return collapse(cells, priors, estimate_of(cells), box).given(sds)
