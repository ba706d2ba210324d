"""The screen model's log-likelihood against dense normals, with e_g by a fine trapezoid rule."""

from itertools import product

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from jax.test_util import check_grads
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal

from crossed_jax.models.screen.density import Lines, log_likelihood
from crossed_jax.models.screen.quadrature import gauss_hermite
from crossed_jax.models.screen.strata import strata_of
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.tables.read import read_table

RULE = gauss_hermite(41)


def _table(
    rng: np.random.Generator, shape: tuple[int, int], missing: float, most: int
) -> CrossedData:
    cells = [cell for cell in np.ndindex(shape) if rng.random() >= missing]
    rows = [cell for cell in cells for _ in range(rng.integers(1, most + 1))]
    gene, line = np.array(rows).T
    response = rng.normal(size=len(rows)) + rng.normal(size=shape[0])[gene]
    frame = pl.DataFrame({"gene": gene, "line": line, "y": response})
    return read_table(frame, response="y", factors=("gene", "line"))


def _dense(data: CrossedData, lines: Lines) -> float:
    """Sum over genes of the log-density of their rows."""
    gene, line = (factor.codes for factor in data.factors)
    num_lines = len(data.factors[1].levels)
    slope = np.exp(np.broadcast_to(lines.log_slope, num_lines))
    variance = np.exp(2.0 * np.broadcast_to(lines.log_noise, num_lines))
    share = 0.0 if lines.logit_share is None else expit(float(lines.logit_share))
    e, log_weights = np.zeros(1), np.zeros(1)
    if lines.log_gene_noise is not None:
        tau = np.exp(float(lines.log_gene_noise))
        e = np.linspace(-8.0 * tau, 8.0 * tau, 1001)
        density = np.log(e[1] - e[0]) - np.log(tau) - 0.5 * np.log(2.0 * np.pi)
        log_weights = density - 0.5 * (e / tau) ** 2
    total = 0.0
    for g in range(len(data.factors[0].levels)):
        lines_of_rows = line[gene == g]
        residual = data.response[gene == g] - np.asarray(lines.location)[lines_of_rows]
        k, v = slope[lines_of_rows], variance[lines_of_rows]
        noise = np.where(lines_of_rows[:, None] == lines_of_rows, share * v, 0.0)
        noise += np.diag((1.0 - share) * v)
        total += logsumexp(
            [
                multivariate_normal.logpdf(residual, None, np.outer(k, k) + np.exp(2.0 * x) * noise)
                for x in e
            ]
            + log_weights
        )
    return total


@pytest.mark.parametrize("parts", list(product((True, False), repeat=4)))
@pytest.mark.parametrize(("missing", "most"), [(0.3, 3), (0.0, 1)])
def test_log_likelihood_is_that_of_dense_normals(
    parts: tuple[bool, ...], missing: float, most: int
) -> None:
    rng = np.random.default_rng(1)
    data = _table(rng, (6, 4), missing, most)
    slopes, line_noise, gene_noise, interaction = parts
    lines = Lines(
        jnp.asarray(rng.normal(size=4)),
        jnp.asarray(rng.normal(0.0, 0.4, 4 if slopes else 1)),
        jnp.asarray(rng.normal(-0.3, 0.4, 4 if line_noise else 1)),
        jnp.asarray(-1.0) if gene_noise else None,
        jnp.asarray(0.3) if interaction else None,
    )
    strata = strata_of(data, 0, rng.normal(0.0, 0.3, 4))
    found = float(log_likelihood(lines, strata, RULE))
    assert found == pytest.approx(_dense(data, lines), rel=1e-8)


def test_gradient_is_that_of_the_log_likelihood() -> None:
    rng = np.random.default_rng(2)
    data = _table(rng, (6, 4), 0.3, 3)
    lines = Lines(
        *(jnp.asarray(rng.normal(-0.3, 0.4, 4)) for _ in range(3)),
        jnp.asarray(-1.0),
        jnp.asarray(0.3),
    )
    strata = strata_of(data, 0, np.zeros(4))
    check_grads(lambda at: log_likelihood(at, strata, RULE), (lines,), 1, ("rev",), rtol=1e-6)
