r"""Log-densities of what is left out, given a draw of everything but the interactions.

What rows of a cell share, the interaction and what a unit does to a line, is integrated out: their
residuals r are Normal with the covariance

.. math::
    \Sigma = V\big[(1 - \rho)(1 - \pi) I + (1 - \rho)\pi B + \rho\, 1 1^\top\big],

B having ones for pairs of rows of one unit; what the interaction leaves is :math:`e^{2 f_u}` times
as much where units differ in their noise. Of a whole cell that is left out the density is that
Normal. A single row is predicted with the others of its cell, whose density given the draw is part
of what the draw was made from: with :math:`Q = \Sigma^{-1}`,

.. math:: y_i \mid y_{-i} \sim \mathrm{Normal}\big(y_i - (Qr)_i/Q_{ii},\ Q_{ii}^{-1/2}\big)

(Bürkner, Gabry and Vehtari, 2021, *Computational Statistics* 36:1243). With
:math:`w = 1/((1 - \rho)(1 - \pi)V e^{2 f_u})` and, of a unit with :math:`n_u` rows whose residuals
sum to :math:`R_u`, :math:`t_u = \pi/(1 - \pi + n_u \pi)` and :math:`s_u = w(1 - n_u t_u)`,

.. math::
    Q = w(I - \mathrm{diag}(t)\, B) - \kappa s s^\top, \qquad
    \kappa = \frac{\rho V}{1 + \rho V \sum_u n_u s_u} .
"""

from typing import NamedTuple

import numpy as np

from crossed_jax.models.screen.responses import (
    CellRows,
    Drawn,
    of_levels,
    without_interaction,
)
from crossed_jax.types import LeftOut

LOG_2PI = np.log(2.0 * np.pi)


def log_densities(
    drawn: Drawn, cells: CellRows, response: np.ndarray, left_out: LeftOut
) -> np.ndarray:
    """Log-density of each row given the others of its cell, or of the rows of each cell.

    Parameters
    ----------
    drawn
        A draw.
    cells
        What the rows lie in: all rows of its cells.
    response
        Of the rows.
    left_out
        `row` or `cell`.

    Returns
    -------
    ndarray
        Shape (rows,) or (cells,).
    """
    known = _known(drawn, cells, response)
    if left_out == "row":
        scaled, diagonal = _of_rows(known, cells)
        return 0.5 * (np.log(diagonal) - LOG_2PI - scaled**2 / diagonal)

    cell, number, t = cells.cell, known.number, known.t
    of_units = np.bincount(cells.of_rows, known.residual**2, len(cell)) - t * known.total**2
    quadratic = np.bincount(cell, known.w * of_units) - known.kappa * known.product**2
    of_units = number * np.log(known.w) + np.log1p(-number * t)
    log_determinant = np.log(known.whole) - np.bincount(cell, of_units)
    return -0.5 * (np.bincount(cell, number) * LOG_2PI + log_determinant + quadratic)


def scores(drawn: Drawn, cells: CellRows, response: np.ndarray) -> np.ndarray:
    """Residual of each row from its expectation given the others of its cell, in SDs of that."""
    scaled, diagonal = _of_rows(_known(drawn, cells, response), cells)
    return scaled / np.sqrt(diagonal)


class _Known(NamedTuple):
    """What the formulas above have names for: of rows, of units in lines, and of cells."""

    residual: np.ndarray
    number: np.ndarray
    total: np.ndarray
    w: np.ndarray
    t: np.ndarray
    s: np.ndarray
    whole: np.ndarray
    kappa: np.ndarray
    product: np.ndarray


def _known(drawn: Drawn, cells: CellRows, response: np.ndarray) -> _Known:
    expected, share, variance, rest = without_interaction(drawn, cells)
    unit, cell, pi = cells.of_rows, cells.cell, drawn.nested_share
    residual = response - expected[unit] - of_levels(drawn.sample_effect, cells.samples)
    number = np.bincount(unit, minlength=len(cell))
    total = np.bincount(unit, residual, len(cell))
    w = 1.0 / ((1.0 - pi) * rest)
    t = pi / (1.0 - pi + number * pi)
    s = w * (1.0 - number * t)
    shared = share * variance
    whole = 1.0 + shared * np.bincount(cell, number * s)
    product = np.bincount(cell, s * total)
    return _Known(residual, number, total, w, t, s, whole, shared / whole, product)


def _of_rows(known: _Known, cells: CellRows) -> tuple[np.ndarray, np.ndarray]:
    """Give Q r and the diagonal of Q."""
    cell, unit, w, s = cells.cell, cells.of_rows, known.w, known.s
    kappa = known.kappa[cell]
    with np.errstate(invalid="ignore"):  # of draws at which the density is no number
        diagonal = w * (1.0 - known.t) - kappa * s**2
        of_unit = w * known.t * known.total + kappa * s * known.product[cell]
    return w[unit] * known.residual - of_unit[unit], diagonal[unit]
