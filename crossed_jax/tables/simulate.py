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
Genes may have guides, with effects :math:`k_c o_u`, a share :math:`\pi` of what interaction leaves
that rows of a guide in a line have in common, and SDs of what it leaves that are :math:`e^{f_u}`
times as large, of Normal f; and shares :math:`\rho_g` of their own, of Normal logits. Samples, the
replicates of a line, may add an effect to all their rows.

The defaults are the small screen the package grew out of: 3 genes, each in 10 cell lines with 3
replicates, :math:`\mu_\alpha = -1`, :math:`\mu_\beta = 0`, :math:`\sigma_\alpha = \sigma_\beta =
0.5` and :math:`\sigma = 0.05`. Combinations can be left out at random, and lines can differ in
their number of replicates, as they do in a real screen.
"""

import math
from typing import NamedTuple

import numpy as np

from crossed_jax.arguments import whole_number
from crossed_jax.errors import InputError
from crossed_jax.tables.crossed_data import CrossedData, Factor, Nested
from crossed_jax.tables.nested import told_apart
from crossed_jax.tables.screen_settings import (
    Settings,
    check_together,
    fraction,
    log_sd,
    replicates,
    size,
)


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
        (gamma, of all cells, shape (genes, cell lines)); `guide_effect` (o), `guide_sd`,
        `guide_log_noise_sd` (f), `guide_log_noise_sd_sd` and `nested_share` (pi);
        `gene_interaction_share` and `gene_logit_share_sd`; `replicate_effect` and `replicate_sd`.
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
    num_guides: int = 0,
    guide_sd: float = 0.0,
    noise_sd_by_guide_sd: float = 0.0,
    nested_share: float = 0.0,
    logit_share_sd: float = 0.0,
    sample_sd: float = 0.0,
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
        than 1; with `logit_share_sd` that of a typical gene.
    num_guides
        Guides of each gene, each with the replicates of a cell; 0 for a table without them.
    guide_sd, noise_sd_by_guide_sd, nested_share
        SD of the guides' effects about their genes'; SD of the logarithms of the guides' noise SDs,
        0 to 10, about their genes'; and the share that rows of a guide in a line have in common of
        what interaction leaves.
    logit_share_sd
        SD of the logits of the genes' shares of interaction, 0 to 10.
    sample_sd
        SD of the effects of samples, the replicates of lines.
    seed
        Of `numpy.random.default_rng`: the same seed gives the same screen.

    Returns
    -------
    Simulation
        Response `logfc`; factors `gene` and `cell_line`; guides nested in genes, and replicates
        nested in lines where they have effects.

    Raises
    ------
    InputError
        If a size, fraction, mean, SD or the seed is out of range, or so much is missing that a
        factor has a level per row.
    """
    at = Settings(
        genes=whole_number("number of genes", num_genes, at_least=2),
        lines=whole_number("number of cell lines", num_cell_lines, at_least=2),
        replicates=replicates(num_replicates),
        guides=whole_number("number of guides", num_guides, at_least=0),
        seed=whole_number("seed", seed, at_least=0),
        missing=fraction("missing fraction", missing),
        gene_mean=size("gene mean", gene_mean),
        line_mean=size("cell-line mean", cell_line_mean),
        gene_sd=size("gene SD", gene_sd, at_least=0.0),
        line_sd=size("cell-line SD", cell_line_sd, at_least=0.0),
        noise_sd=size("noise SD", noise_sd, at_least=0.0),
        slope_sd=log_sd("slope SD", slope_sd),
        gene_noise_sd=log_sd("SD of noise SDs by gene", noise_sd_by_gene_sd),
        line_noise_sd=log_sd("SD of noise SDs by line", noise_sd_by_line_sd),
        share=fraction("interaction share", interaction_share),
        guide_sd=size("guide SD", guide_sd, at_least=0.0),
        guide_noise_sd=log_sd("SD of noise SDs by guide", noise_sd_by_guide_sd),
        nested_share=fraction("nested share", nested_share),
        logit_share_sd=log_sd("SD of logit shares", logit_share_sd),
        sample_sd=size("sample SD", sample_sd, at_least=0.0),
    )
    check_together(at)
    return _drawn(at)


def _drawn(at: Settings) -> Simulation:
    rng = np.random.default_rng(at.seed)
    alpha = at.gene_mean + at.gene_sd * rng.standard_normal(at.genes)
    beta = at.line_mean + at.line_sd * rng.standard_normal(at.lines)
    # Streams of their own, so that neither the layout nor a part changes the rest of the truth.
    layout, *parts = rng.spawn(10)
    slope = np.exp(_zero_sum(parts[0], at.slope_sd, at.lines))
    line_noise = _zero_sum(parts[1], at.line_noise_sd, at.lines)
    gene_noise = at.gene_noise_sd * parts[2].standard_normal(at.genes)
    cells = alpha[:, None] + beta + (slope - 1.0) * (alpha - at.gene_mean)[:, None]
    cell_sd = at.noise_sd * np.exp(line_noise + gene_noise[:, None])
    shares = _shares(parts[4], at.share, at.logit_share_sd, at.genes)
    interaction = np.sqrt(shares) * cell_sd * parts[3].standard_normal(cells.shape)
    cells += interaction
    cell_sd *= np.sqrt(1.0 - shares)

    shape = (at.genes, max(at.guides, 1), at.lines)
    guide_effect = at.guide_sd * parts[5].standard_normal(shape[:2])
    means = cells[:, None] + slope * guide_effect[..., None]
    guide_noise = at.guide_noise_sd * parts[8].standard_normal(shape[:2])
    row_sd = cell_sd[:, None] * np.exp(guide_noise)[..., None]
    if at.nested_share:
        means += math.sqrt(at.nested_share) * row_sd * parts[6].standard_normal(shape)
        row_sd *= math.sqrt(1.0 - at.nested_share)
    rows = _draw_rows(layout, (at.genes, at.lines), at.replicates, at.missing)
    rows = np.broadcast_to(rows[:, None], shape).ravel()
    gene, guide, cell_line = (np.repeat(codes, rows) for codes in _codes(shape))
    logfc = rng.standard_normal(len(gene))
    logfc *= np.repeat(row_sd.ravel(), rows)
    logfc += np.repeat(means.ravel(), rows)
    replicate = np.arange(len(gene)) - np.repeat(np.cumsum(rows) - rows, rows)
    sample_effect = at.sample_sd * parts[7].standard_normal((at.lines, at.replicates[1]))
    logfc += sample_effect[cell_line, replicate]

    genes = Factor("gene", _labels("gene", at.genes), gene)
    cell_lines = Factor("cell_line", _labels("line", at.lines), cell_line)
    samples, seen = _replicates_of(cell_lines, replicate, at.replicates[1])
    data = CrossedData(
        response=logfc,
        response_name="logfc",
        factors=(genes, cell_lines),
        num_missing=0,
        notes=(),
        nested=_guides_of(genes, at.guides, guide) if at.guides else None,
        samples=samples if at.sample_sd else None,
    )
    line = beta + (slope - 1.0) * (alpha.mean() - at.gene_mean)  # at the mean gene effect
    truth: dict[str, np.ndarray | float] = {
        "intercept": float(alpha.mean() + line.mean()),
        "gene_effect": alpha - alpha.mean(),
        "cell_line_effect": line - line.mean(),
        "gene_sd": float(at.gene_sd),
        "cell_line_sd": float(at.line_sd),
        "sigma": float(at.noise_sd),
        "gene_mean": float(at.gene_mean),
        "cell_line_mean": float(at.line_mean),
        "gene_intercept": alpha,
        "cell_line_intercept": beta,
    }
    if at.slope_sd:
        truth |= {"cell_line_slope": slope, "cell_line_log_slope_sd": at.slope_sd}
    if at.line_noise_sd:
        truth |= {
            "cell_line_log_noise_sd": line_noise,
            "cell_line_log_noise_sd_sd": at.line_noise_sd,
        }
    if at.gene_noise_sd:
        truth |= {"gene_log_noise_sd": gene_noise, "gene_log_noise_sd_sd": at.gene_noise_sd}
    if at.share:
        truth |= {"interaction": interaction, "interaction_share": at.share}
    if at.logit_share_sd:
        truth |= {"gene_interaction_share": shares[:, 0], "gene_logit_share_sd": at.logit_share_sd}
    truth |= _truth_of_guides(at, guide_effect.ravel(), guide_noise.ravel())
    if at.sample_sd:
        truth |= {"replicate_effect": sample_effect.ravel()[seen], "replicate_sd": at.sample_sd}
    return Simulation(data, truth)


def _truth_of_guides(
    at: Settings, effect: np.ndarray, log_noise: np.ndarray
) -> dict[str, np.ndarray | float]:
    truth: dict[str, np.ndarray | float] = {}
    if at.guides:
        truth |= {"guide_effect": effect, "guide_sd": at.guide_sd, "nested_share": at.nested_share}
    if at.guide_noise_sd:
        truth |= {"guide_log_noise_sd": log_noise, "guide_log_noise_sd_sd": at.guide_noise_sd}
    return truth


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


def _shares(rng: np.random.Generator, typical: float, sd: float, number: int) -> np.ndarray:
    """Draw the genes' shares of interaction about that of a typical one, shape (genes, 1)."""
    if not sd:
        return np.full((number, 1), typical)
    logit = math.log(typical / (1.0 - typical)) + sd * rng.standard_normal((number, 1))
    return 1.0 / (1.0 + np.exp(-logit))


def _codes(shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Gene, its guide and cell line of each combination, nested in this order."""
    return [codes.ravel() for codes in np.indices(shape, dtype=np.int32)]


def _guides_of(genes: Factor, number: int, guide: np.ndarray) -> Nested:
    """Nest guides in genes, given which of a gene's each row is of."""
    labels = tuple(f"{gene}_guide_{i}" for gene in genes.levels for i in range(1, number + 1))
    parent = np.repeat(np.arange(len(genes.levels), dtype=np.int32), number)
    units = Factor("guide", labels, genes.codes * np.int32(number) + guide)
    return Nested(units, 0, parent, units)


def _replicates_of(lines: Factor, replicate: np.ndarray, most: int) -> tuple[Nested, np.ndarray]:
    """Nest replicates in lines; and say which there are of so many of each."""
    seen, codes = np.unique(lines.codes * most + replicate, return_inverse=True)
    parent, number = np.divmod(seen, most)
    labels = tuple(
        told_apart(lines.levels[k], f"{i + 1}") for k, i in zip(parent, number, strict=True)
    )
    units = Factor("replicate", labels, codes.astype(np.int32))
    given = Factor("replicate", tuple(f"{i + 1}" for i in range(most)), replicate.astype(np.int32))
    return Nested(units, 1, parent.astype(np.int32), given), seen


def _labels(stem: str, size: int) -> tuple[str, ...]:
    width = len(str(size))
    return tuple(f"{stem}_{number:0{width}d}" for number in range(1, size + 1))
