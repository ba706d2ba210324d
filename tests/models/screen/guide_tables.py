"""Small tables of guides, and their log-likelihood by dense normals."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from example_tables import table
from scipy.special import expit, logsumexp, softmax

from crossed_jax.models.screen.density import Lines
from crossed_jax.models.screen.guides.lines import GuideLines
from crossed_jax.models.screen.guides.table import GuideStrata, guide_strata
from crossed_jax.statistics.cells import cells_of, squares_within
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.types import Array

GENE_OF_GUIDE = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3])
NUM_LINES = 4


def guides(replicates: int | None, seed: int = 0) -> CrossedData:
    """Rows of guides by lines: complete, or of a random number a cell, at least one for each."""
    rng = np.random.default_rng(seed)
    guide, line = np.indices((len(GENE_OF_GUIDE), NUM_LINES)).reshape(2, -1)
    if replicates is None:
        # of the last gene all guides were seen alike, and gene 1 has one guide less in a line
        number = rng.integers(0, 3, (len(GENE_OF_GUIDE), NUM_LINES))
        number[6:] = [2, 1, 0, 3]
        number[3:5] = [[1, 2, 2, 1], [1, 2, 0, 1]]
        number[:6, 0] = np.maximum(number[:6, 0], 1)
        number = number.ravel()
    else:
        number = np.full(len(guide), replicates)
    guide, line = np.repeat(guide, number), np.repeat(line, number)
    response = rng.normal(size=len(guide)) + rng.normal(size=10)[guide]
    return table(response, guide, line, names=("guide", "line"))


def laid_out(data: CrossedData, location: np.ndarray, *, a_set_each: bool = False) -> GuideStrata:
    cells = cells_of(data)
    within = squares_within(cells, data)
    return guide_strata(cells, within, GENE_OF_GUIDE, location, a_set_each=a_set_each)


def lines_with(
    *,
    slopes: bool = True,
    line_noise: bool = True,
    gene_noise: bool = True,
    interaction: bool = True,
    nested: bool = True,
    gene_share: bool = True,
    guide_noise: bool = False,
) -> GuideLines:
    """Values of what is not a gene's, of a model with some parts."""
    rng = np.random.default_rng(3)
    lines = Lines(
        jnp.asarray(rng.normal(size=NUM_LINES)),
        jnp.asarray(rng.normal(0.0, 0.4, NUM_LINES if slopes else 1)),
        jnp.asarray(rng.normal(-0.3, 0.4, NUM_LINES if line_noise else 1)),
        jnp.asarray(-1.0) if gene_noise else None,
        jnp.asarray(-0.4) if interaction else None,
    )
    return GuideLines(
        lines,
        jnp.asarray(-0.7),
        jnp.asarray(0.2) if nested else None,
        jnp.asarray(-0.2) if gene_share else None,
        jnp.asarray(rng.normal(0.0, 0.5, len(GENE_OF_GUIDE))) if guide_noise else None,
    )


def grid_of(log_sd: Array | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A fine rule for a number that is Normal(0, sd), and the logarithms of what its values count.

    The trapezoid rule over eight SDs; a None is a number that is zero.
    """
    if log_sd is None:
        return np.zeros(1), np.zeros(1)
    sd = np.exp(float(log_sd))
    x = np.linspace(-8.0, 8.0, size)
    return sd * x, np.log(x[1] - x[0]) - 0.5 * (x**2 + np.log(2.0 * np.pi))


def covariances(
    at: GuideLines, guide: np.ndarray, line: np.ndarray, share: np.ndarray, e: np.ndarray
) -> np.ndarray:
    """Covariances of one gene's rows, of some shares and noise factors each."""
    k = np.exp(np.broadcast_to(at.lines.log_slope, NUM_LINES))
    k_guide = k * np.exp(float(at.log_guide_sd) - np.mean(at.lines.log_slope))
    noise = np.exp(np.broadcast_to(at.lines.log_noise, NUM_LINES)[line] + e[:, None])
    share = share[:, None, None]
    nested = 0.0 if at.logit_nested is None else expit(float(at.logit_nested))
    same_line, same_guide = line[:, None] == line, guide[:, None] == guide
    of_guide = 1.0 if at.log_guide_noise is None else np.exp(2.0 * at.log_guide_noise[guide])
    of_rows = (1.0 - share) * (1.0 - nested) * np.eye(len(line))
    of_rows += (1.0 - share) * nested * (same_line & same_guide)
    of_rows = of_guide * of_rows + share * same_line
    effects = np.outer(k[line], k[line]) + np.outer(k_guide[line], k_guide[line]) * same_guide
    return effects + noise[:, :, None] * noise[:, None] * of_rows


def log_normal(residual: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Log-density of normals of mean zero with some covariances, at one point."""
    root = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(root, np.broadcast_to(residual[:, None], (*root.shape[:2], 1)))
    log_root = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(-1)
    constant = 0.5 * len(residual) * np.log(2.0 * np.pi)
    return -0.5 * (whitened**2).sum((1, 2)) - log_root - constant


def dense(data: CrossedData, at: GuideLines, sizes: tuple[int, int] = (201, 201)) -> float:
    """Sum over genes of the log-density of their rows."""
    guide, line = (factor.codes for factor in data.factors)
    e, e_weights = grid_of(at.lines.log_gene_noise, sizes[0])
    h, h_weights = grid_of(at.log_share_sd, sizes[1])
    e, h = (x.ravel() for x in np.meshgrid(e, h, indexing="ij"))
    log_weight = (e_weights[:, None] + h_weights).ravel()
    share = np.zeros_like(h)
    if at.lines.logit_share is not None:
        share = expit(float(at.lines.logit_share) + h)
    total = 0.0
    for gene in range(GENE_OF_GUIDE.max() + 1):
        of_gene = GENE_OF_GUIDE[guide] == gene
        residual = data.response[of_gene] - np.asarray(at.lines.location)[line[of_gene]]
        found = covariances(at, guide[of_gene], line[of_gene], share, e)
        total += float(logsumexp(log_normal(residual, found) + log_weight))
    return total


class Posterior(NamedTuple):
    """Of one gene on the grid: effect, guides' effects and interactions with the lines.

    Attributes
    ----------
    e, h
        Log noise factor and logit of the share at the points, shape (points,).
    weight
        Posterior probabilities of these.
    mean, variance
        Given them, shape (points, 1 + guides + lines).
    """

    e: np.ndarray
    h: np.ndarray
    weight: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and variances over the grid, e and h after the others."""
        values = np.column_stack([self.mean, self.e, self.h])
        mean = self.weight @ values
        spread = (values - mean) ** 2
        spread[:, :-2] += self.variance
        return mean, self.weight @ spread


def dense_posterior(
    data: CrossedData, at: GuideLines, gene: int, e: np.ndarray, h: np.ndarray
) -> Posterior:
    """Posterior of everything of a gene by dense normals, on the grid of all pairs of e and h."""
    guide, line = (factor.codes for factor in data.factors)
    of_gene = GENE_OF_GUIDE[guide] == gene
    guide, line = guide[of_gene], line[of_gene]
    own = np.flatnonzero(gene == GENE_OF_GUIDE)
    residual = data.response[of_gene] - np.asarray(at.lines.location)[line]
    k = np.exp(np.broadcast_to(at.lines.log_slope, NUM_LINES))
    gene_sd, guide_sd = np.exp(np.mean(at.lines.log_slope)), np.exp(float(at.log_guide_sd))
    loads = np.column_stack(
        [
            k[line] / gene_sd,
            (k / gene_sd)[line, None] * (guide[:, None] == own),
            line[:, None] == np.arange(NUM_LINES),
        ]
    ).astype(float)
    e, h = (x.ravel() for x in np.meshgrid(e, h, indexing="ij"))
    logit = float(at.lines.logit_share) + h
    whole = covariances(at, guide, line, expit(logit), e)
    noise = np.exp(2.0 * (np.broadcast_to(at.lines.log_noise, NUM_LINES) + e[:, None]))
    of_effects = np.array([gene_sd**2, *np.full(len(own), guide_sd**2)])
    of_effects = np.broadcast_to(of_effects, (len(e), len(of_effects)))
    prior = np.concatenate([of_effects, expit(logit)[:, None] * noise], 1)
    across = prior[:, :, None] * loads.T
    solved = np.linalg.solve(whole, across.swapaxes(1, 2))
    log_weight = log_normal(residual, whole)
    log_weight -= 0.5 * (e / np.exp(float(at.lines.log_gene_noise))) ** 2
    log_weight -= 0.5 * (h / np.exp(float(at.log_share_sd))) ** 2
    variance = prior - np.einsum("pij,pji->pi", across, solved)
    return Posterior(e, logit, softmax(log_weight), residual @ solved, variance)
