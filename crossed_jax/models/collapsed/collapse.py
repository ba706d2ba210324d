"""The collapsed form of a table: its effects integrated out, and to be had back given SDs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.models.collapsed import balanced
from crossed_jax.models.collapsed.back_substitution import EffectsGivenSDs
from crossed_jax.models.collapsed.block_products import BlockProducts, block_products
from crossed_jax.models.collapsed.density import PARAMETERIZATION, ModelData, model_data_of
from crossed_jax.models.collapsed.elimination import (
    ByCount,
    Condensed,
    Fixed,
    by_count,
    condense,
    eliminate,
)
from crossed_jax.models.collapsed.interpolation import (
    Series,
    interpolate,
    interpolate_over_posterior,
)
from crossed_jax.models.collapsed.parameterization import SDs
from crossed_jax.models.parameterization import Parameterization
from crossed_jax.models.priors import Priors
from crossed_jax.statistics.cells import Cells
from crossed_jax.statistics.point_estimate import Estimate

MOST_ROUNDING = 2.5e-3  # of the log-density: errors of a hundredth begin to show in draws


class OutsideBoxError(Exception):
    """Draws left the box of the interpolant; `box` holds one with room for them."""

    def __init__(self, box: np.ndarray) -> None:
        super().__init__("draws lie outside the interpolated box")
        self.box = box


@dataclass(frozen=True)
class AnyDesign:
    """A table of any design with its effects integrated out."""

    products: BlockProducts
    model_data: ModelData
    parameterization: Parameterization = PARAMETERIZATION

    def given(self, sds: SDs) -> EffectsGivenSDs:
        """Condition on draws of the SDs, leading dimensions (chains, draws).

        Raises
        ------
        OutsideBoxError
            If the log-density that gave these draws was interpolated on too small a box.
        InputError
            If they have so little noise that the log-density had no digits left.
        """
        require_digits(self.products, float(np.median(sds.sigma)))
        effects = EffectsGivenSDs(self.products, self.model_data, sds)
        if isinstance(self.model_data.condensed, Series):
            box = np.asarray(self.model_data.condensed.box)
            low, high = effects.x.min(0), effects.x.max(0)
            if np.any(low < box[:, 0]) or np.any(high > box[:, 1]):
                room = 0.5 * (high - low)
                wider = [np.minimum(box[:, 0], np.maximum(low - room, 0.0)), high + room]
                wider[1] = np.maximum(box[:, 1], wider[1])
                raise OutsideBoxError(np.stack(wider, axis=1))
        return effects


type Collapsed = balanced.Balanced | AnyDesign


def collapse(
    cells: Cells, priors: Priors, point: Estimate, box: np.ndarray | None = None
) -> Collapsed:
    """Integrate the effects of a table out, in closed form if it is balanced.

    The parameters, and what is raised, are those of `collapse_any_design`.
    """
    if cells.balanced:
        return balanced.collapse(cells, priors, point)
    return collapse_any_design(cells, priors, point, box)


def require_digits(products: BlockProducts, sigma: float) -> None:
    """Refuse noise so small that the log-density, a difference of sums of squares, errs.

    Both sums are rounded at the size of the response's, and what is left is of the size of
    sigma^2. Measured on random tables of 150 to 40,000 rows the error is 1 to 4 times this ratio.
    """
    squares = products.border_gram[-1, -1]
    if np.finfo(float).eps * squares > MOST_ROUNDING * sigma**2:
        raise InputError(
            f"the residual SD is {sigma / np.sqrt(squares / products.rows.sum()):.0e} of the "
            "response's, so little that double precision cannot hold the collapsed form's "
            "likelihood: fit with parameterization='sum_to_zero'."
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
    products = block_products(cells)
    ratios = (point.factor_sds / point.sigma) ** 2
    eliminated = eliminate(products, ratios[products.eliminated])
    exact = condense(products, eliminated, ratios[list(products.dense)])
    one = Condensed(np.asarray(exact.log_det)[None], exact.gram[None])
    model_data = model_data_of(products, Fixed(one), priors, point)
    at_point = SDs(point.factor_sds[None], point.sigma[None])
    means, sds = zip(*EffectsGivenSDs(products, model_data, at_point).moments(), strict=True)
    return point._replace(effects=means), sds


@_digits_needed()
def collapse_any_design(
    cells: Cells, priors: Priors, point: Estimate, box: np.ndarray | None = None
) -> AnyDesign:
    """Integrate the effects of a table of any design out.

    Parameters
    ----------
    cells, priors, point
        The table, its priors, and an estimate to start from.
    box
        For tables with a dense block, where to interpolate; by default about the estimate.

    Raises
    ------
    InputError
        If there is so little noise that the log-density would have no digits left, or for what
        `interpolate_over_posterior` refuses.
    """
    products = block_products(cells)
    require_digits(products, float(point.sigma))
    condensed: ByCount | Series
    if not products.dense:
        condensed = by_count(products)
    elif box is None:
        condensed = interpolate_over_posterior(products, priors, point)
    else:
        condensed = interpolate(products, box)
    return AnyDesign(products, model_data_of(products, condensed, priors, point))
