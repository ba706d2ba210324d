r"""Effects of any table given draws of its SDs, drawn exactly.

Backwards through the elimination of :mod:`crossed_jax.models.collapsed.elimination`, for one draw
of the SDs, with :math:`\omega = (-w, 1)`, :math:`A = L^{-1}` the inverse Cholesky factor of S, and
:math:`L_B` that of the border's matrix M (:mod:`crossed_jax.models.collapsed.border`):

.. math::
    w &= E L_B^{-\top}\big(L_B^{-1} v + \sigma z_B\big) && \text{border, the intercept first} \\
    b &= Y\omega + \sigma F A^\top z_c, \quad Y = F S^{-1} F T && \text{dense block} \\
    a &= D\,(R_1\,\omega - N b) + \sigma \sqrt{D}\, z_1 && \text{eliminated}

and then the mean of each factor's effects goes to the intercept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossed_jax.models.collapsed import effect_moments
from crossed_jax.models.collapsed.conditional import Conditional
from crossed_jax.models.collapsed.interpolation_error import interpolation_error
from crossed_jax.models.random import fill_standard_normal

DRAWS_AT_ONCE = 500


@dataclass(frozen=True)
class EffectsGivenSDs(Conditional):
    """Effects given each of many draws of the SDs: their draws and moments."""

    def moments(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Posterior mean and SD of each effect, averaged exactly over the draws of the SDs."""
        return effect_moments.moments(self)

    def conditionals(
        self, factor: int, draws: np.ndarray, sd: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Give means and SDs of a factor's effects, whose posterior SDs are `sd`, at some draws."""
        return effect_moments.conditionals(self, factor, draws, sd)

    def approximation(self, moments: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        """Measure what is interpolated; see `interpolation_error`."""
        return interpolation_error(self, moments)

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
        products, number = self.products, len(self.sigma)
        border_seed, *seeds = seed.spawn(1 + -(-number // DRAWS_AT_ONCE))
        border = self._draw_border(border_seed)
        intercept = np.empty(number)
        at_once = min(number, DRAWS_AT_ONCE)
        room = [np.empty((at_once, len(products.rows))) for _ in range(2)]
        for index, chunk_seed in enumerate(seeds):
            part = slice(index * DRAWS_AT_ONCE, min(number, (index + 1) * DRAWS_AT_ONCE))
            dense_seed, eliminated_seed = chunk_seed.spawn(2)
            w = border[part]
            omega = np.concatenate([-w, np.ones((len(w), 1))], axis=1)
            dense = self._draw_dense(dense_seed, part, omega)
            eliminated, roots = (array[: len(w)] for array in room)
            self._draw_eliminated(eliminated_seed, part, omega, dense, eliminated, roots)
            intercept[part] = w[:, 0] + products.mean
            for k, levels in self.by_factor(eliminated, dense, w):
                mean = levels.mean(1)
                intercept[part] += mean
                if effects is not None:
                    effects[k][part] = np.subtract(levels, mean[:, None], out=levels)
        return intercept

    def _draw_border(self, seed: np.random.SeedSequence) -> np.ndarray:
        mean, half = self.border
        noise = fill_standard_normal(seed, np.empty(mean.shape))
        return mean + self.sigma[:, None] * np.einsum("sij,sj->si", half, noise)

    def _draw_dense(
        self, seed: np.random.SeedSequence, part: slice, omega: np.ndarray
    ) -> np.ndarray:
        products = self.products
        z = np.empty((len(omega), len(products.dense_owner)), np.float32)
        if not products.dense:
            return z
        drawn = self.dense_noise(part, fill_standard_normal(seed, z))
        drawn += self.dense_mean(part, omega)
        return drawn

    def _draw_eliminated(
        self,
        seed: np.random.SeedSequence,
        part: slice,
        omega: np.ndarray,
        dense: np.ndarray,
        out: np.ndarray,
        roots: np.ndarray,
    ) -> None:
        """Draw into `out`; `roots` is room to work in, which would be slow to ask for anew."""
        products = self.products
        ratio = self.ratios[part, products.eliminated, None]
        np.multiply(products.rows, ratio, out=roots)
        roots += 1.0
        np.divide(ratio, roots, out=roots)
        np.sqrt(roots, out=roots)
        fill_standard_normal(seed, out)
        out *= self.sigma[part, None]
        mean = omega @ products.eliminated_sums.T
        if products.dense:
            mean -= products.counts.times(dense.T).T
        mean *= roots
        out += mean
        out *= roots
