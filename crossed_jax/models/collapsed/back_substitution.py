r"""Effects of the collapsed form given draws of its SDs: exact draws, and exact moments.

Backwards through the elimination of :mod:`crossed_jax.models.collapsed.density`, for one draw of
the SDs, with :math:`\omega = (-w, 1)` and :math:`A = L^{-1}` the inverse Cholesky factor of S:

.. math::
    w &= E L_B^{-\top}\big(L_B^{-1} v + \sigma z_B\big) && \text{border, the intercept first} \\
    b &= Y\omega + \sigma F A^\top z_c, \quad Y = F S^{-1} F T && \text{core} \\
    a &= D\,(R_1\,\omega - N b) + \sigma \sqrt{D}\, z_1 && \text{eliminated}

and then the mean of each factor's effects goes to the intercept.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.models.collapsed import density as collapsed
from crossed_jax.models.collapsed import moments as effect_moments
from crossed_jax.models.collapsed.conditional import Conditional
from crossed_jax.models.collapsed.density import ModelData, Table
from crossed_jax.models.collapsed.interpolation_error import interpolation_error
from crossed_jax.models.parameterization import Parameterization, Quantities
from crossed_jax.models.priors import Priors
from crossed_jax.models.random import fill_standard_normal
from crossed_jax.statistics.cells import Cells
from crossed_jax.statistics.point_estimate import Estimate

MOST_ROUNDING = 2.5e-3  # of the log-density: errors of a hundredth begin to show in draws
DRAWS_AT_ONCE = 500


class OutsideBoxError(Exception):
    """Draws left the box of the interpolant; `box` holds one with room for them."""

    def __init__(self, box: np.ndarray) -> None:
        super().__init__("draws lie outside the interpolated box")
        self.box = box


@dataclass(frozen=True)
class Collapsed:
    """A table with its effects integrated out."""

    table: Table
    model_data: ModelData
    form: Parameterization = collapsed.FORM

    def given(self, scales: Quantities) -> "EffectsGivenSDs":
        """Condition on draws of the SDs, leading dimensions (chains, draws).

        Raises
        ------
        OutsideBoxError
            If the log-density that gave these draws was interpolated on too small a box.
        InputError
            If they have so little noise that the log-density had no digits left.
        """
        require_digits(self.table, float(np.median(scales.sigma)))
        effects = EffectsGivenSDs(self.table, self.model_data, scales)
        if isinstance(self.model_data.condensed, collapsed.Series):
            box = np.asarray(self.model_data.condensed.box)
            low, high = effects.x.min(0), effects.x.max(0)
            if np.any(low < box[:, 0]) or np.any(high > box[:, 1]):
                room = 0.5 * (high - low)
                wider = [np.minimum(box[:, 0], np.maximum(low - room, 0.0)), high + room]
                wider[1] = np.maximum(box[:, 1], wider[1])
                raise OutsideBoxError(np.stack(wider, axis=1))
        return effects


@dataclass(frozen=True)
class EffectsGivenSDs(Conditional):
    """Effects given each of many draws of the SDs: their draws and moments."""

    def moments(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Posterior mean and SD of each effect, averaged exactly over the draws of the SDs."""
        return effect_moments.moments(self)

    def conditional_moments(
        self, factor: int, draws: np.ndarray, sd: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Give means and SDs of a factor's effects, whose posterior SDs are `sd`, at some draws."""
        return effect_moments.conditional_moments(self, factor, draws, sd)

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
        table, number = self.table, len(self.sigma)
        border_seed, *seeds = seed.spawn(1 + -(-number // DRAWS_AT_ONCE))
        border = self._draw_border(border_seed)
        intercept = np.empty(number)
        at_once = min(number, DRAWS_AT_ONCE)
        room = [np.empty((at_once, len(table.rows))) for _ in range(2)]
        for index, chunk_seed in enumerate(seeds):
            part = slice(index * DRAWS_AT_ONCE, min(number, (index + 1) * DRAWS_AT_ONCE))
            core_seed, eliminated_seed = chunk_seed.spawn(2)
            w = border[part]
            omega = np.concatenate([-w, np.ones((len(w), 1))], axis=1)
            core = self._draw_core(core_seed, part, omega)
            eliminated, roots = (array[: len(w)] for array in room)
            self._draw_eliminated(eliminated_seed, part, omega, core, eliminated, roots)
            intercept[part] = w[:, 0] + table.mean
            for k, levels in self.by_factor(eliminated, core, w):
                mean = levels.mean(1)
                intercept[part] += mean
                if effects is not None:
                    effects[k][part] = np.subtract(levels, mean[:, None], out=levels)
        return intercept

    def _draw_border(self, seed: np.random.SeedSequence) -> np.ndarray:
        mean, half = self.border
        noise = fill_standard_normal(seed, np.empty(mean.shape))
        return mean + self.sigma[:, None] * np.einsum("sij,sj->si", half, noise)

    def _draw_core(
        self, seed: np.random.SeedSequence, part: slice, omega: np.ndarray
    ) -> np.ndarray:
        table = self.table
        z = np.empty((len(omega), len(table.core_owner)), np.float32)
        if not table.core:
            return z
        drawn = self.core_noise(part, fill_standard_normal(seed, z))
        drawn += self.core_mean(part, omega)
        return drawn

    def _draw_eliminated(
        self,
        seed: np.random.SeedSequence,
        part: slice,
        omega: np.ndarray,
        core: np.ndarray,
        out: np.ndarray,
        roots: np.ndarray,
    ) -> None:
        """Draw into `out`; `roots` is room to work in, which would be slow to ask for anew."""
        table = self.table
        ratio = self.ratios[part, table.eliminated, None]
        np.multiply(table.rows, ratio, out=roots)
        roots += 1.0
        np.divide(ratio, roots, out=roots)
        np.sqrt(roots, out=roots)
        fill_standard_normal(seed, out)
        out *= self.sigma[part, None]
        mean = omega @ table.eliminated_sums.T
        if table.core:
            mean -= table.counts.times(core.T).T
        mean *= roots
        out += mean
        out *= roots


def require_digits(table: Table, sigma: float) -> None:
    """Refuse noise so small that the log-density, a difference of sums of squares, errs.

    Both sums are rounded at the size of the response's, and what is left is of the size of
    sigma^2. Measured on random tables of 150 to 40,000 rows the error is 1 to 4 times this ratio.
    """
    squares = table.border_gram[-1, -1]
    if np.finfo(float).eps * squares > MOST_ROUNDING * sigma**2:
        raise InputError(
            f"the residual SD is {sigma / np.sqrt(squares / table.rows.sum()):.0e} of the "
            "response's, so little that double precision cannot hold the collapsed form's "
            "likelihood: fit with --parameterization sum_to_zero."
        )


@contextmanager
def _digits_needed() -> Iterator[None]:
    """Refuse what rounding has made singular: all matrices factored are the identity plus more."""
    try:
        yield
    except np.linalg.LinAlgError:
        raise InputError(
            "the noise is so small beside the effects that double precision runs out of digits: "
            "check that the response is a measurement and not a fitted or copied value."
        ) from None


@_digits_needed()
def effects_at(
    cells: Cells, priors: Priors, point: Estimate
) -> tuple[Estimate, tuple[np.ndarray, ...]]:
    """Improve an estimate's effects to their exact conditional means, and give their SDs.

    Returns
    -------
    Estimate
        As `point`, with the exact posterior means of the effects given its SDs.
    tuple of ndarray
        Their exact posterior SDs, shape (levels,) for each factor.

    Raises
    ------
    InputError
        If there is so little noise that nothing could be solved.
    """
    table = collapsed.table_of(cells)
    ratios = (point.factor_sds / point.sigma) ** 2
    eliminated = collapsed.eliminate(table, ratios[table.eliminated])
    exact = collapsed.condense(table, eliminated, ratios[list(table.core)])
    one = collapsed.Condensed(np.asarray(exact.log_det)[None], exact.gram[None])
    model_data = collapsed.model_data_of(table, collapsed.Fixed(one), priors, point)
    scales = Quantities(sigma=point.sigma[None], factor_sds=point.factor_sds[None])
    moments = EffectsGivenSDs(table, model_data, scales).moments()
    means, sds = zip(*moments, strict=True)
    return point._replace(effects=means), sds


@_digits_needed()
def collapse(
    cells: Cells, priors: Priors, point: Estimate, box: np.ndarray | None = None
) -> Collapsed:
    """Integrate the effects of any table out.

    Parameters
    ----------
    cells, priors, point
        The table, its priors, and an estimate to start from.
    box
        For tables with a core, where to interpolate; by default about the estimate.

    Raises
    ------
    InputError
        If there is so little noise that the log-density would have no digits left.
    """
    table = collapsed.table_of(cells)
    require_digits(table, float(point.sigma))
    if table.core:
        condensed: collapsed.ByCount | collapsed.Series = collapsed.series(
            table, priors, point, box
        )
    else:
        condensed = collapsed.by_count(table)
    return Collapsed(table, collapsed.model_data_of(table, condensed, priors, point))
