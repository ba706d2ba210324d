r"""New responses of the screen model, given a draw of everything but the interactions.

What units in genes do to lines, such as guides, has been integrated out, too. A unit with
:math:`n_u` rows in a cell already, whose mean is :math:`r_u` more than is expected without
interaction, measures :math:`\gamma` with the variance :math:`(1 - \rho) z_u V`,
:math:`z_u = \pi + (1 - \pi)/n_u`, so that

.. math::
    \gamma \sim \mathrm{Normal}\Big(\frac{\rho \sum_u q_u r_u}{1 + \rho \sum_u q_u},\
    \sqrt{\frac{\rho V}{1 + \rho \sum_u q_u}}\Big), \qquad q_u = \frac{1}{(1 - \rho) z_u},

and given it the share :math:`\pi` of what is left is the same for one unit. Without units a gene is
its own, and :math:`\pi` is zero. Where units differ in their noise, what the interaction leaves is
:math:`e^{2 f_u}` times as much. A cell without rows has the prior. Rows of a cell share
:math:`\gamma`, whatever their number.
"""

from typing import NamedTuple

import numpy as np


class Drawn(NamedTuple):
    """A draw, in the response's unit; zeros and ones stand for parts that the model has not.

    Attributes
    ----------
    intercept, sigma
        Scalars.
    gene_effect, gene_log_noise
        Shape (genes,).
    line_effect, slope, line_log_noise
        Shape (lines,).
    share
        Of the interaction in the variance, a scalar or shape (genes,).
    nested_share
        Of units by lines in what it leaves.
    unit_effect, unit_log_noise
        Shape (units,).
    sample_effect
        Of samples, those that are new last, shape (samples,).
    """

    intercept: float
    sigma: float
    gene_effect: np.ndarray
    gene_log_noise: np.ndarray | float
    line_effect: np.ndarray
    slope: np.ndarray | float
    line_log_noise: np.ndarray | float
    share: np.ndarray | float
    nested_share: float
    unit_effect: np.ndarray | float
    unit_log_noise: np.ndarray | float
    sample_effect: np.ndarray | float


class SeenRows(NamedTuple):
    """What a fit has seen, by unit, line and sample, shape (seen,) each.

    Attributes
    ----------
    unit_cell
        Place of the unit in a line.
    sample
        Code of the sample; zero where samples have no effects.
    number, mean
        Rows, and their mean response.
    """

    unit_cell: np.ndarray
    sample: np.ndarray
    number: np.ndarray
    mean: np.ndarray


class CellRows(NamedTuple):
    """Rows to simulate, by cell.

    Attributes
    ----------
    gene, line
        Codes of the cells, shape (cells,).
    unit, cell
        Of units in lines, asked for or seen: the unit's code, and place of the cell.
    seen
        What a draw has seen of them.
    of_rows
        Place of the unit in a line of each row to simulate, shape (rows,).
    samples
        Sample of each row, likewise; zero where samples have no effects.
    """

    gene: np.ndarray
    line: np.ndarray
    unit: np.ndarray
    cell: np.ndarray
    seen: SeenRows
    of_rows: np.ndarray
    samples: np.ndarray


class Expected(NamedTuple):
    """Of cells and of units in lines, given a draw alone.

    Attributes
    ----------
    expected
        Without interaction and samples, of units in lines.
    share, variance
        Of the interaction in the variance of a row, and that, of cells.
    rest
        The variance of a row of a unit in a line that the interaction leaves.
    """

    expected: np.ndarray
    share: np.ndarray
    variance: np.ndarray
    rest: np.ndarray


class Given(NamedTuple):
    """Of cells and of units in lines, given a draw and what was seen.

    Attributes
    ----------
    expected, share, variance, rest
        As those of `Expected`.
    mean, sd
        Of the interactions of cells.
    number, residual
        Rows of units in lines, and by how much their mean is above the expectation.
    """

    expected: np.ndarray
    share: np.ndarray
    variance: np.ndarray
    rest: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    number: np.ndarray
    residual: np.ndarray


def shared_by_rows(
    share: np.ndarray | float, variance: np.ndarray, number: np.ndarray, residual: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of what rows share, given their mean; arguments broadcast.

    Parameters
    ----------
    share, variance
        Of that in the variance of a row, and the variance.
    number, residual
        Rows, and their mean less its expectation.
    """
    rest = 1.0 - share
    shared = number * share + rest
    return number * share / shared * residual, np.sqrt(share * rest * variance / shared)


def without_interaction(drawn: Drawn, cells: CellRows) -> Expected:
    """What a draw says of the rows of cells that are yet to be seen."""
    slope = of_levels(drawn.slope, cells.line)
    at_gene = drawn.intercept + drawn.line_effect[cells.line]
    at_gene = at_gene + slope * drawn.gene_effect[cells.gene]
    log_noise = of_levels(drawn.line_log_noise, cells.line) + of_levels(
        drawn.gene_log_noise, cells.gene
    )
    variance = (drawn.sigma * np.exp(log_noise)) ** 2
    share = of_levels(drawn.share, cells.gene)
    of_unit = slope[cells.cell] * of_levels(drawn.unit_effect, cells.unit)
    rest = ((1.0 - share) * variance)[cells.cell]
    rest = rest * np.exp(2.0 * of_levels(drawn.unit_log_noise, cells.unit))
    return Expected(at_gene[cells.cell] + of_unit, share, variance, rest)


def interactions_given(drawn: Drawn, cells: CellRows) -> Given:
    """Means and SDs of cells' interactions, given a draw and what was seen of them."""
    expected, share, variance, rest = without_interaction(drawn, cells)
    seen, size = cells.seen, len(cells.unit)
    number = np.bincount(seen.unit_cell, seen.number, size)
    less_samples = seen.mean - of_levels(drawn.sample_effect, seen.sample)
    total = np.bincount(seen.unit_cell, seen.number * less_samples, size)
    residual = total / np.maximum(number, 1.0) - np.where(number > 0.0, expected, 0.0)
    nested = drawn.nested_share
    q = number * variance[cells.cell] / (rest * (number * nested + 1.0 - nested))
    whole = 1.0 + share * np.bincount(cells.cell, q, len(cells.gene))
    product = np.bincount(cells.cell, q * residual, len(cells.gene))
    sd = np.sqrt(share * variance / whole)
    return Given(expected, share, variance, rest, share * product / whole, sd, number, residual)


def simulated(
    rng: np.random.Generator, drawn: Drawn, cells: CellRows, noise: bool = True
) -> np.ndarray:
    """Simulate a response for each row, or without noise what rows like it share, shape (rows,)."""
    given = interactions_given(drawn, cells)
    gamma = (given.mean + given.sd * rng.standard_normal(len(given.mean)))[cells.cell]
    location = given.expected + gamma
    rest = given.rest
    if drawn.nested_share:
        left = given.residual - gamma
        mean, sd = shared_by_rows(drawn.nested_share, rest, given.number, left)
        location += mean + sd * rng.standard_normal(len(mean))
    expected = location[cells.of_rows] + of_levels(drawn.sample_effect, cells.samples)
    if not noise:
        return expected
    noise_sd = np.sqrt((1.0 - drawn.nested_share) * rest)[cells.of_rows]
    return expected + noise_sd * rng.standard_normal(len(cells.of_rows))


def of_levels(values: np.ndarray | float, codes: np.ndarray) -> np.ndarray:
    """Take levels' values; or one that all have."""
    values = np.asarray(values)
    return values[codes] if values.ndim else np.broadcast_to(values, len(codes))
