r"""New responses of the screen model, given a draw of everything but the interactions.

A cell that has n rows already, of mean :math:`\bar y` and expectation :math:`\mu` without
interaction, has the interaction

.. math::
    \gamma \sim \mathrm{Normal}\Big(\frac{n \rho\,(\bar y - \mu)}{n \rho + 1 - \rho},\
    \sqrt{\frac{\rho (1 - \rho) V}{n \rho + 1 - \rho}}\Big),

which for a cell without rows is its prior. Its rows share it, whatever their number.
"""

from typing import NamedTuple

import numpy as np


class Drawn(NamedTuple):
    """A draw, in the response's unit; zeros and ones stand for parts that the model has not.

    Attributes
    ----------
    intercept, sigma, share
        Scalars; the share is that of the interaction in the variance.
    gene_effect, gene_log_noise
        Shape (genes,).
    line_effect, slope, line_log_noise
        Shape (lines,).
    """

    intercept: float
    gene_effect: np.ndarray
    gene_log_noise: np.ndarray | float
    line_effect: np.ndarray
    slope: np.ndarray | float
    line_log_noise: np.ndarray | float
    sigma: float
    share: float


class CellRows(NamedTuple):
    """Rows to simulate, by cell.

    Attributes
    ----------
    gene, line
        Codes of the cells, shape (cells,).
    number, mean
        How many rows of a cell the draw has seen, and their mean response; zero if none.
    of_rows
        The cell of each row to simulate, shape (rows,).
    """

    gene: np.ndarray
    line: np.ndarray
    number: np.ndarray
    mean: np.ndarray
    of_rows: np.ndarray


def interaction_given(
    share: np.ndarray | float, variance: np.ndarray, number: np.ndarray, residual: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of cells' interactions, given all else; arguments broadcast.

    Parameters
    ----------
    share, variance
        Of the interaction in the variance of a value, and that.
    number, residual
        Rows of a cell, and their mean less its expectation without interaction.
    """
    rest = 1.0 - share
    shared = number * share + rest
    return number * share / shared * residual, np.sqrt(share * rest * variance / shared)


def simulated(rng: np.random.Generator, drawn: Drawn, cells: CellRows) -> np.ndarray:
    """Simulate a response for each row, shape (rows,)."""
    zeros_of_genes = np.zeros(len(drawn.gene_effect))
    zeros_of_lines = np.zeros(len(drawn.line_effect))
    slope = (zeros_of_lines + drawn.slope)[cells.line]
    expected = drawn.intercept + drawn.line_effect[cells.line]
    expected = expected + slope * drawn.gene_effect[cells.gene]
    log_noise = (zeros_of_lines + drawn.line_log_noise)[cells.line]
    log_noise = log_noise + (zeros_of_genes + drawn.gene_log_noise)[cells.gene]
    variance = (drawn.sigma * np.exp(log_noise)) ** 2
    interaction, sd = interaction_given(drawn.share, variance, cells.number, cells.mean - expected)
    interaction += sd * rng.standard_normal(len(expected))
    sd_of_rows = np.sqrt((1.0 - drawn.share) * variance)[cells.of_rows]
    noise = sd_of_rows * rng.standard_normal(len(cells.of_rows))
    return (expected + interaction)[cells.of_rows] + noise
