r"""Synthetic screens of known truth.

Genes are knocked out in cell lines under the model that the package fits:

.. math::
    y_{gcr} \sim \mathrm{Normal}(\alpha_g + \beta_c, \sigma), \qquad
    \alpha_g \sim \mathrm{Normal}(\mu_\alpha, \sigma_\alpha), \quad
    \beta_c \sim \mathrm{Normal}(\mu_\beta, \sigma_\beta).

The defaults are the small screen the package grew out of: 3 genes, each in 10 cell lines with 3
replicates, :math:`\mu_\alpha = -1`, :math:`\mu_\beta = 0`, :math:`\sigma_\alpha = \sigma_\beta =
0.5` and :math:`\sigma = 0.05`. Combinations can be left out at random, and lines can differ in
their number of replicates, as they do in a real screen.
"""

import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from crossed_jax.arguments import real_number, whole_number
from crossed_jax.errors import InputError, told
from crossed_jax.files.whole import replacing
from crossed_jax.tables.crossed_data import LARGEST_RESPONSE, CrossedData, Factor
from crossed_jax.tables.delimited import DELIMITERS

# Codes are int32 and counts of rows are kept in arrays of that size elsewhere.
_MOST_ROWS = 2**31 - 1


class Simulation(NamedTuple):
    """A synthetic screen and what it was made from.

    Attributes
    ----------
    data
        The screen, rows nested as gene, cell line, replicate.
    truth
        By the posterior's names: `intercept` (the mean of alpha plus the mean of beta),
        `gene_effect` and `cell_line_effect` (deviations that sum to zero, shapes (genes,) and
        (cell lines,)), `gene_sd`, `cell_line_sd`, `sigma`; and by those of the original
        coordinates: `gene_mean`, `cell_line_mean` (the mus), `gene_intercept`,
        `cell_line_intercept` (alpha and beta).
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
    fewest, most = _replicates(num_replicates)
    seed = whole_number("seed", seed, at_least=0)
    missing = real_number("missing fraction", missing)
    if not 0 <= missing < 1:
        raise InputError(f"the missing fraction is {missing}: give 0 or more, and less than 1.")
    num_rows = num_genes * num_cell_lines * most
    if num_rows > _MOST_ROWS:
        raise InputError(f"a screen of {num_rows:,} rows is too large: ask for fewer.")
    gene_mean = _size("gene mean", gene_mean)
    cell_line_mean = _size("cell-line mean", cell_line_mean)
    gene_sd = _size("gene SD", gene_sd, at_least=0.0)
    cell_line_sd = _size("cell-line SD", cell_line_sd, at_least=0.0)
    noise_sd = _size("noise SD", noise_sd, at_least=0.0)
    if not gene_sd + cell_line_sd + noise_sd:
        raise InputError("all SDs are zero, so nothing would vary: make one of them positive.")

    rng = np.random.default_rng(seed)
    alpha = gene_mean + gene_sd * rng.standard_normal(num_genes)
    beta = cell_line_mean + cell_line_sd * rng.standard_normal(num_cell_lines)
    # A stream of its own, so that the truth is the same whatever is missing.
    layout = rng.spawn(1)[0]
    replicates = layout.integers(fewest, most, num_cell_lines, dtype=np.int32, endpoint=True)
    rows = replicates * _draw_seen(layout, (num_genes, num_cell_lines), missing)
    gene = np.repeat(np.arange(num_genes, dtype=np.int32), rows.sum(axis=1))
    cell_line = np.tile(np.arange(num_cell_lines, dtype=np.int32), num_genes)
    cell_line = np.repeat(cell_line, rows.ravel())
    if len(gene) <= max(num_genes, num_cell_lines):
        raise InputError(
            f"a missing fraction of {missing} leaves {len(gene):,} rows, no more than the levels "
            "of a factor: leave out less, or ask for more replicates."
        )
    logfc = alpha[gene]
    logfc += beta[cell_line]
    noise = rng.standard_normal(len(gene))
    noise *= noise_sd
    logfc += noise

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
    truth: dict[str, np.ndarray | float] = {
        "intercept": float(alpha.mean() + beta.mean()),
        "gene_effect": alpha - alpha.mean(),
        "cell_line_effect": beta - beta.mean(),
        "gene_sd": float(gene_sd),
        "cell_line_sd": float(cell_line_sd),
        "sigma": float(noise_sd),
        "gene_mean": float(gene_mean),
        "cell_line_mean": float(cell_line_mean),
        "gene_intercept": alpha,
        "cell_line_intercept": beta,
    }
    return Simulation(data, truth)


def screen_frame(simulation: Simulation) -> pl.DataFrame:
    """Lay a screen out as a table: gene, cell_line, replicate (from 1) and logfc."""
    data = simulation.data
    gene, cell_line = (factor.codes for factor in data.factors)
    first = (np.diff(gene, prepend=-1) != 0) | (np.diff(cell_line, prepend=-1) != 0)
    starts = np.flatnonzero(first)
    replicate = np.arange(1, data.num_rows + 1, dtype=np.int32)
    replicate -= np.repeat(starts.astype(np.int32), np.diff(starts, append=data.num_rows))
    # Enums take 2 bytes a row instead of 16, and keep the levels' order where rows are missing.
    columns = {
        factor.name: pl.Series(factor.levels, dtype=pl.Enum(factor.levels)).gather(
            pl.Series(factor.codes)
        )
        for factor in data.factors
    }
    return pl.DataFrame(columns | {"replicate": replicate, data.response_name: data.response})


def replicate_range(text: str) -> tuple[int, int]:
    """Read the fewest and the most replicates from text such as ``2`` or ``1-4``."""
    found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text.strip(), re.ASCII)
    if not found:
        raise InputError(
            f"the number of replicates is {text[:40]!r}: "
            "give a whole number, or a range such as 1-4."
        )
    return int(found[1]), int(found[2] or found[1])


def require_replaceable(path: str | Path) -> None:
    """Refuse to write over anything but a screen that was simulated.

    Raises
    ------
    InputError
        If there is something else of that name.
    """
    path = Path(path)
    if os.path.lexists(path) and not (path.is_file() and _is_simulated(path)):
        raise InputError(
            f"cannot write {str(path)!r}: what has this name is not a simulated screen; choose "
            "another."
        )


def _is_simulated(path: Path) -> bool:
    """Whether a file is empty or has the columns and, in its first row, the labels of a screen."""
    suffix = path.suffix.lower()
    try:
        if path.stat().st_size == 0:
            return True
        if suffix == ".parquet":
            first = pl.read_parquet(path, n_rows=1)
        else:
            separator = DELIMITERS.get(suffix, ",")
            first = pl.read_csv(path, n_rows=1, separator=separator, infer_schema=False)
        gene, cell_line = first["gene"].item(), first["cell_line"].item()
    except (OSError, ValueError, pl.exceptions.PolarsError):
        return False
    labelled = re.fullmatch(r"gene_\d+", str(gene)) and re.fullmatch(r"line_\d+", str(cell_line))
    return bool(labelled) and first.columns == ["gene", "cell_line", "replicate", "logfc"]


def write_table(frame: pl.DataFrame, path: str | Path) -> None:
    """Write a table as .csv, .tsv, .tab or .parquet, whole or not at all.

    Numbers are written so that they read back as the same float64.

    Raises
    ------
    InputError
        If the suffix is another, or the file cannot be written there.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*DELIMITERS, ".parquet"):
        raise InputError(f"cannot write {str(path)!r}: name it .csv, .tsv or .parquet.")
    try:
        with replacing(path) as file:
            if suffix == ".parquet":
                frame.write_parquet(file)
            else:
                frame.write_csv(file, separator=DELIMITERS[suffix])
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        told = re.search(
            r"\(os error (\d+)\)", str(error)
        )  # Polars gives the number in words alone
        number = int(told[1]) if told else getattr(error, "errno", None)
        reason = os.strerror(number) if number else "a name or column that files do not allow"
        raise InputError(
            f"cannot write {str(path)!r} ({reason}): choose a folder that exists and has room."
        ) from None


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


def _labels(stem: str, size: int) -> tuple[str, ...]:
    width = len(str(size))
    return tuple(f"{stem}_{number:0{width}d}" for number in range(1, size + 1))
