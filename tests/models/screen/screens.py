"""Screen models of small tables."""

from crossed_jax.models.distributions import Exponential, LogitNormal, Normal
from crossed_jax.models.screen.model_data import screen_data
from crossed_jax.models.screen.parameterization import OfSDs, ScreenData, ScreenPriors
from crossed_jax.models.screen.parts import Parts
from crossed_jax.statistics.cells import cells_of
from crossed_jax.tables.crossed_data import CrossedData

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
