r"""The collapsed form of a balanced table: all effects integrated out in closed form.

When every combination of levels was seen equally often the factors' contrasts are orthogonal.
With :math:`r_k = N/L_k` rows per level, :math:`d^k` the deviations of the levels' means from the
grand mean, :math:`\mathrm{SS}_k = r_k \lVert d^k \rVert^2`, SSE the rest, and :math:`\lambda_k =
\sigma^2 + r_k \sigma_k^2`, :math:`\lambda_0 = \sigma^2 + N s_0^2 + \sum_k r_k \sigma_k^2`,

.. math::
    -2 \log p(y \mid \sigma_1, \dots, \sigma_K, \sigma) =
        \Big(N - 1 - \sum_k (L_k - 1)\Big) \log 2\pi\sigma^2 + \mathrm{SSE}/\sigma^2
        + \sum_k \big[(L_k - 1) \log 2\pi\lambda_k + \mathrm{SS}_k / \lambda_k\big]
        + \log 2\pi\lambda_0 + N (\bar y - m_0)^2 / \lambda_0 ,

which costs the same whatever the size of the table. Given the SDs each zero-sum effect is
:math:`h_k d^k` plus zero-sum noise of SD :math:`\sigma \sigma_k / \sqrt{\lambda_k}` per contrast,
with :math:`h_k = r_k \sigma_k^2 / \lambda_k`, independent of everything else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from crossed_jax.models.collapsed.parameterization import LogSDs, SDs, collapsed_parameterization
from crossed_jax.models.parameterization import Parameterization
from crossed_jax.models.priors import Priors
from crossed_jax.models.random import fill_standard_normal
from crossed_jax.models.sd_coordinate import anchor_positions
from crossed_jax.statistics.cells import Cells
from crossed_jax.statistics.point_estimate import Estimate
from crossed_jax.types import Array

NUMBERS_AT_ONCE = 2**21


class ModelData(NamedTuple):
    """Sufficient statistics and priors; the size of the table does not appear.

    Attributes
    ----------
    num_rows, mean, residual
        N, the grand mean, and SSE: scalars.
    squares
        Sum of squares of each factor, shape (factors,).
    num_levels
        Shape (factors,), as floats.
    priors, estimate, anchors
        As for the other forms; the estimate's effects are left out.
    """

    num_rows: Array
    mean: Array
    residual: Array
    squares: Array
    num_levels: Array
    priors: Priors
    estimate: Estimate
    anchors: Array


def log_density(position: LogSDs, model_data: ModelData) -> Array:
    """Log posterior density of the log SDs, all effects integrated out, up to a constant."""
    variance = jnp.exp(2.0 * position.log_sigma)
    between = model_data.num_rows / model_data.num_levels * jnp.exp(2.0 * position.log_factor_sds)
    sum_of_means = model_data.priors.sum_of_means
    contrasts = model_data.num_levels - 1.0

    def minus_twice(freedom: Array, total: Array, squares: Array) -> Array:
        return freedom * jnp.log(total) + squares / total

    log_likelihood = -0.5 * (
        minus_twice(model_data.num_rows - 1.0 - contrasts.sum(), variance, model_data.residual)
        + minus_twice(contrasts, variance + between, model_data.squares).sum()
        + minus_twice(
            jnp.asarray(1.0),
            variance + model_data.num_rows * sum_of_means.scale**2 + between.sum(),
            model_data.num_rows * (model_data.mean - sum_of_means.loc) ** 2,
        )
    )
    return log_likelihood + model_data.priors.log_scales(*position)


PARAMETERIZATION = collapsed_parameterization(log_density)


@dataclass(frozen=True)
class Balanced:
    """A balanced table with its effects integrated out."""

    model_data: ModelData
    deviations: tuple[np.ndarray, ...]
    parameterization: Parameterization = PARAMETERIZATION

    def given(self, sds: SDs) -> "EffectsGivenSDs":
        """Condition on draws of the SDs, leading dimensions (chains, draws)."""
        return EffectsGivenSDs(self.model_data, self.deviations, sds)


@dataclass(frozen=True)
class EffectsGivenSDs:
    """The effects' conditional posterior given each of many draws of the SDs."""

    model_data: ModelData
    deviations: tuple[np.ndarray, ...]
    sds: SDs

    def draw(self, seed: np.random.SeedSequence, effects: Sequence[Any] | None) -> np.ndarray:
        """Draw intercept and effects, exactly.

        Parameters
        ----------
        seed
            Of the draws.
        effects
            For each factor, where its effects are put, shape (S, levels); None to draw the
            intercept alone.

        Returns
        -------
        ndarray
            The intercept, shape (S,).
        """
        sigma2, sd2 = self._variances()
        prior = self.model_data.priors.sum_of_means
        precision = 1.0 / (float(prior.scale) ** 2 + (sd2 / self.model_data.num_levels).sum(-1))
        weight = self.model_data.num_rows / sigma2
        mean = (weight * self.model_data.mean + precision * float(prior.loc)) / (weight + precision)

        intercept_seed, *seeds = seed.spawn(1 + len(self.deviations))
        intercept = fill_standard_normal(intercept_seed, np.empty(sigma2.shape))
        intercept /= np.sqrt(weight + precision)
        intercept += mean
        if effects is not None:
            for k, (put, effect_seed) in enumerate(zip(effects, seeds, strict=True)):
                self._draw_factor(effect_seed, k, put)
        return intercept

    def _draw_factor(self, seed: np.random.SeedSequence, k: int, put: Any) -> None:
        deviation = self.deviations[k]
        shrinkage, variance = self._shrinkage(k)
        number = len(shrinkage)
        at_once = min(number, max(1, NUMBERS_AT_ONCE // len(deviation)))
        room = np.empty((at_once, len(deviation)))
        starts = range(0, number, at_once)
        for start, part_seed in zip(starts, seed.spawn(len(starts)), strict=True):
            part = slice(start, min(number, start + at_once))
            drawn = room[: part.stop - part.start]
            fill_standard_normal(part_seed, drawn)
            for rows, h, v in _row_blocks(drawn, shrinkage[part], variance[part]):
                rows[:] = h * deviation + np.sqrt(v) * (rows - rows.mean(1, keepdims=True))
            put[part] = drawn

    def moments(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Posterior mean and SD of each effect, averaged exactly over the draws of the SDs."""
        moments = []
        for k, deviation in enumerate(self.deviations):
            shrinkage, variance = self._shrinkage(k)
            noise = (1.0 - 1.0 / len(deviation)) * variance.mean()
            moments.append(
                (shrinkage.mean() * deviation, np.sqrt(noise + shrinkage.var() * deviation**2))
            )
        return moments

    @property
    def num_draws(self) -> int:
        """Of the SDs."""
        return np.size(self.sds.sigma)

    def conditionals(
        self, factor: int, draws: np.ndarray, sd: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Give means and SDs of a factor's effects given some draws, shape (draws, levels)."""
        shrinkage, variance = (values[draws, None] for values in self._shrinkage(factor))
        contrast = 1.0 - 1.0 / len(sd)
        sds = np.sqrt(contrast * variance)
        return shrinkage * self.deviations[factor], np.broadcast_to(sds, (len(draws), len(sd)))

    def approximation(self, moments: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        """Nothing is approximated."""
        del moments
        return {}

    def _variances(self) -> tuple[np.ndarray, np.ndarray]:
        """Shapes (S,) and (S, factors), all chains' draws in a row."""
        sigma2 = np.asarray(self.sds.sigma).ravel() ** 2
        return sigma2, np.asarray(self.sds.factor_sds).reshape(len(sigma2), -1) ** 2

    def _shrinkage(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """h_k, and the variance of a contrast's noise, of each draw."""
        sigma2, sd2 = self._variances()
        between = float(self.model_data.num_rows) / len(self.deviations[k]) * sd2[..., k]
        return between / (sigma2 + between), sigma2 * sd2[..., k] / (sigma2 + between)


def _row_blocks(values: np.ndarray, *columns: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Cut draws into blocks of rows that fit the processor's cache; columns as column vectors."""
    step = max(1, 100_000 // values.shape[1])
    for start in range(0, len(values), step):
        rows = slice(start, start + step)
        yield values[rows], *(column[rows, None] for column in columns)


def collapse(cells: Cells, priors: Priors, point: Estimate) -> Balanced:
    """Reduce a balanced table to its sums of squares."""
    num_rows = cells.counts.sum()
    mean = (cells.counts @ cells.means) / num_rows
    residual = cells.means - mean
    deviations = []
    for k, levels in enumerate(cells.num_levels):
        deviation = cells.level_sums(k, cells.counts * residual) / (num_rows / levels)
        deviations.append(deviation)
    residual = cells.residuals(mean, deviations)
    squares = [num_rows / len(d) * (d @ d) for d in deviations]
    model_data = ModelData(
        num_rows=num_rows,
        mean=mean,
        residual=cells.sum_squares_within + cells.counts @ residual**2,
        squares=np.array(squares),
        num_levels=np.array(cells.num_levels, float),
        priors=priors,
        estimate=point._replace(effects=()),
        anchors=anchor_positions(np.array(cells.num_levels), num_rows, point),
    )
    return Balanced(model_data, tuple(deviations))
