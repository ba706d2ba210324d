r"""Synthetic screens of known truth.

Genes are knocked out in cell lines under the model that the package fits by default:

.. math::
    y_{gcr} \sim \mathrm{Normal}(\alpha_g + \beta_c, \sigma), \qquad
    \alpha_g \sim \mathrm{Normal}(\mu_\alpha, \sigma_\alpha), \quad
    \beta_c \sim \mathrm{Normal}(\mu_\beta, \sigma_\beta).

Real screens are less even. On request lines show every gene's effect by a factor :math:`k_c`, noise
differs between lines and genes, and a share :math:`\rho` of it is an interaction, which the
replicates of a cell have in common:

.. math::
    y_{gcr} = \mu_\alpha + \beta_c + k_c (\alpha_g - \mu_\alpha) + \gamma_{gc} + \epsilon_{gcr},
    \qquad V_{gc} = \sigma^2 e^{2 d_c + 2 e_g}, \\
    \gamma_{gc} \sim \mathrm{Normal}(0, \sqrt{\rho V_{gc}}), \quad
    \epsilon_{gcr} \sim \mathrm{Normal}(0, \sqrt{(1 - \rho) V_{gc}}),

with :math:`e_g` Normal, and :math:`\log k` and :math:`d` Normal on the vectors that sum to zero.

The defaults are the small screen the package grew out of: 3 genes, each in 10 cell lines with 3
replicates, :math:`\mu_\alpha = -1`, :math:`\mu_\beta = 0`, :math:`\sigma_\alpha = \sigma_\beta =
0.5` and :math:`\sigma = 0.05`. Combinations can be left out at random, and lines can differ in
their number of replicates, as they do in a real screen.
"""

import math
import re
from typing import NamedTuple

import numpy as np

from crossed_jax.arguments import real_number, whole_number
from crossed_jax.errors import InputError, told
from crossed_jax.tables.crossed_data import LARGEST_RESPONSE, CrossedData, Factor

# Codes are int32 and counts of rows are kept in arrays of that size elsewhere.
_MOST_ROWS = 2**31 - 1
_LARGEST_LOG_SD = 10.0


class Simulation(NamedTuple):
    """A synthetic screen and what it was made from.

    Attributes
    ----------
    data
        The screen, rows nested as gene, cell line, replicate.
    truth
        By the posterior's names: `intercept` (the mean of alpha plus the mean of beta),
        `gene_effect` and `cell_line_effect` (deviations that sum to zero, shapes (genes,) and
        (cell lines,)), `gene_sd`, `cell_line_sd`, `sigma`; by those of the original coordinates:
        `gene_mean`, `cell_line_mean` (the mus), `gene_intercept`, `cell_line_intercept` (alpha and
        beta); and of each part that was asked for: `cell_line_slope` (k) and
        `cell_line_log_slope_sd`, `cell_line_log_noise_sd` (d) and `cell_line_log_noise_sd_sd`,
        `gene_log_noise_sd` (e) and `gene_log_noise_sd_sd`, `interaction_share`, and `interaction`
        (gamma, of all cells, shape (genes, cell lines)).
    """

    data: CrossedData
    truth: dict[str, np.ndarray | float]


def simulate_screen(
    *,
    num_genes: int = 3,
    num_cell_lines: int = 10,
    num_replicates: int | tuple[int, int] = 3,
    missing: float = 0.0,
    gene_mean: float = -1.0,
    cell_line_mean: float = 0.0,
    gene_sd: float = 0.5,
    cell_line_sd: float = 0.5,
    noise_sd: float = 0.05,
    slope_sd: float = 0.0,
    noise_sd_by_gene_sd: float = 0.0,
    noise_sd_by_line_sd: float = 0.0,
    interaction_share: float = 0.0,
    seed: int = 0,
) -> Simulation:
    """Draw a screen from the model.

    Parameters
    ----------
    num_genes, num_cell_lines
        Levels of each factor, at least two.
    num_replicates
        Rows per combination of gene and cell line, at least one; or the least and the most, of
        which each cell line draws its own number, all equally likely.
    missing
        Fraction of the combinations of gene and cell line to leave out, at random; somewhat fewer
        are left out where a gene or cell line would lose its last one.
    gene_mean, cell_line_mean
        Means of the two populations of intercepts, in log fold change.
    gene_sd, cell_line_sd, noise_sd
        Their SDs and the noise's, zero or more and not all zero.
    slope_sd, noise_sd_by_gene_sd, noise_sd_by_line_sd
        SDs of the logarithms of the lines' slopes and of the noise SDs of genes and of lines, 0 to
        10; without them slopes are one and noise is alike.
    interaction_share
        Share of the noise's variance that is an interaction of gene and line, 0 or more and less
        than 1.
    seed
        Of `numpy.random.default_rng`: the same seed gives the same screen.

    Returns
    -------
    Simulation
        Response `logfc`; factors `gene` and `cell_line`.

    Raises
    ------
    InputError
        If a size, fraction, mean, SD or the seed is out of range, or so much is missing that a
        factor has a level per row.
    """
    num_genes = whole_number("number of genes", num_genes, at_least=2)
    num_cell_lines = whole_number("number of cell lines", num_cell_lines, at_least=2)
    replicates = _replicates(num_replicates)
    seed = whole_number("seed", seed, at_least=0)
    missing = _fraction("missing fraction", missing)
    num_rows = num_genes * num_cell_lines * replicates[1]
    if num_rows > _MOST_ROWS:
        raise InputError(f"a screen of {num_rows:,} rows is too large: ask for fewer.")
    gene_mean = _size("gene mean", gene_mean)
    cell_line_mean = _size("cell-line mean", cell_line_mean)
    gene_sd = _size("gene SD", gene_sd, at_least=0.0)
    cell_line_sd = _size("cell-line SD", cell_line_sd, at_least=0.0)
    noise_sd = _size("noise SD", noise_sd, at_least=0.0)
    slope_sd = _log_sd("slope SD", slope_sd)
    noise_sd_by_gene_sd = _log_sd("SD of noise SDs by gene", noise_sd_by_gene_sd)
    noise_sd_by_line_sd = _log_sd("SD of noise SDs by line", noise_sd_by_line_sd)
    share = _fraction("interaction share", interaction_share)
    if not gene_sd + cell_line_sd + noise_sd:
        raise InputError("all SDs are zero, so nothing would vary: make one of them positive.")

    rng = np.random.default_rng(seed)
    alpha = gene_mean + gene_sd * rng.standard_normal(num_genes)
    beta = cell_line_mean + cell_line_sd * rng.standard_normal(num_cell_lines)
    # Streams of their own, so that neither the layout nor a part changes the rest of the truth.
    layout, *parts = rng.spawn(5)
    slope = np.exp(_zero_sum(parts[0], slope_sd, num_cell_lines))
    line_noise = _zero_sum(parts[1], noise_sd_by_line_sd, num_cell_lines)
    gene_noise = noise_sd_by_gene_sd * parts[2].standard_normal(num_genes)
    cells = alpha[:, None] + beta + (slope - 1.0) * (alpha - gene_mean)[:, None]
    cell_sd = noise_sd * np.exp(line_noise + gene_noise[:, None])
    interaction = None
    if share:
        interaction = math.sqrt(share) * cell_sd * parts[3].standard_normal(cells.shape)
        cells += interaction
        cell_sd *= math.sqrt(1.0 - share)

    rows = _draw_rows(layout, (num_genes, num_cell_lines), replicates, missing)
    gene, cell_line = (np.repeat(codes, rows.ravel()) for codes in _codes(rows.shape))
    logfc = rng.standard_normal(len(gene))
    logfc *= np.repeat(cell_sd.ravel(), rows.ravel())
    logfc += np.repeat(cells.ravel(), rows.ravel())

    data = CrossedData(
        response=logfc,
        response_name="logfc",
        factors=(
            Factor("gene", _labels("gene", num_genes), gene),
            Factor("cell_line", _labels("line", num_cell_lines), cell_line),
        ),
        num_missing=0,
        notes=(),
    )
    line = beta + (slope - 1.0) * (alpha.mean() - gene_mean)  # at the mean gene effect
    truth: dict[str, np.ndarray | float] = {
        "intercept": float(alpha.mean() + line.mean()),
        "gene_effect": alpha - alpha.mean(),
        "cell_line_effect": line - line.mean(),
        "gene_sd": float(gene_sd),
        "cell_line_sd": float(cell_line_sd),
        "sigma": float(noise_sd),
        "gene_mean": float(gene_mean),
        "cell_line_mean": float(cell_line_mean),
        "gene_intercept": alpha,
        "cell_line_intercept": beta,
    }
    if slope_sd:
        truth |= {"cell_line_slope": slope, "cell_line_log_slope_sd": slope_sd}
    if noise_sd_by_line_sd:
        truth |= {
            "cell_line_log_noise_sd": line_noise,
            "cell_line_log_noise_sd_sd": noise_sd_by_line_sd,
        }
    if noise_sd_by_gene_sd:
        truth |= {"gene_log_noise_sd": gene_noise, "gene_log_noise_sd_sd": noise_sd_by_gene_sd}
    if interaction is not None:
        truth |= {"interaction": interaction, "interaction_share": share}
    return Simulation(data, truth)


def replicate_range(text: str) -> tuple[int, int]:
    """Read the fewest and the most replicates from text such as ``2`` or ``1-4``."""
    found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text.strip(), re.ASCII)
    if not found:
        raise InputError(
            f"the number of replicates is {text[:40]!r}: "
            "give a whole number, or a range such as 1-4."
        )
    return int(found[1]), int(found[2] or found[1])


def _replicates(given: int | tuple[int, int]) -> tuple[int, int]:
    """Fewest and most replicates of a cell line."""
    pair = given if isinstance(given, tuple | list) else (given, given)
    if len(pair) != 2:
        raise InputError(
            f"the number of replicates is {told(given)}: give a whole number, or the least and "
            "the most."
        )
    fewest = whole_number("number of replicates", pair[0], at_least=1)
    return fewest, whole_number("most replicates of a line", pair[1], at_least=fewest)


def _size(name: str, value: float, at_least: float = -math.inf) -> float:
    size = real_number(name, value)
    if not at_least <= size or abs(size) > LARGEST_RESPONSE:
        zero = ", zero or more" if at_least == 0 else ""
        raise InputError(f"the {name} is {size}: give a finite number{zero}, below 1e70.")
    return size


def _log_sd(name: str, value: float) -> float:
    sd = real_number(name, value)
    if not 0 <= sd <= _LARGEST_LOG_SD:
        raise InputError(f"the {name} is {sd}, of logarithms: give 0 to {_LARGEST_LOG_SD:g}.")
    return sd


def _fraction(name: str, value: float) -> float:
    fraction = real_number(name, value)
    if not 0 <= fraction < 1:
        raise InputError(f"the {name} is {fraction}: give 0 or more, and less than 1.")
    return fraction


def _zero_sum(rng: np.random.Generator, sd: float, size: int) -> np.ndarray:
    """Draw a Normal(0, sd) vector on those that sum to zero."""
    values = sd * rng.standard_normal(size)
    return values - values.mean()


def _draw_rows(
    rng: np.random.Generator, shape: tuple[int, int], replicates: tuple[int, int], missing: float
) -> np.ndarray:
    """Draw the number of rows of each combination of gene and cell line."""
    of_line = rng.integers(*replicates, shape[1], dtype=np.int32, endpoint=True)
    rows = of_line * _draw_seen(rng, shape, missing)
    num_rows = int(rows.sum())
    if num_rows <= max(shape):
        raise InputError(
            f"a missing fraction of {missing} leaves {num_rows:,} rows, no more than the levels "
            "of a factor: leave out less, or ask for more replicates."
        )
    return rows


def _draw_seen(rng: np.random.Generator, shape: tuple[int, int], missing: float) -> np.ndarray:
    """Draw which combinations of two factors are seen, at least one of each level."""
    seen = np.ones(shape, dtype=bool)
    size = seen.size
    left_out = rng.choice(size, round(missing * size), replace=False, shuffle=False)
    seen.ravel()[left_out] = False
    rows = np.flatnonzero(~seen.any(axis=1))
    seen[rows, rng.integers(shape[1], size=len(rows))] = True
    columns = np.flatnonzero(~seen.any(axis=0))
    seen[rng.integers(shape[0], size=len(columns)), columns] = True
    return seen


def _codes(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Gene and cell line of each combination, nested as gene, cell line."""
    genes, cell_lines = (np.arange(size, dtype=np.int32) for size in shape)
    return np.repeat(genes, shape[1]), np.tile(cell_lines, shape[0])


def _labels(stem: str, size: int) -> tuple[str, ...]:
    width = len(str(size))
    return tuple(f"{stem}_{number:0{width}d}" for number in range(1, size + 1))
