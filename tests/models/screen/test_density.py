"""The screen model's log-likelihood against dense normals, with e_g by a fine trapezoid rule."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_tables import balanced, unbalanced
from jax.test_util import check_grads
from scipy.special import expit, logsumexp
from screens import less_one_and_alone

from crossed_jax.models.screen import strata
from crossed_jax.models.screen.density import Lines, log_likelihood
from crossed_jax.models.screen.gram import gram_of, log_likelihood_of_gram
from crossed_jax.models.screen.quadrature import gauss_hermite
from crossed_jax.models.screen.strata import Strata, strata_of
from crossed_jax.statistics.cells import cells_of, squares_within
from crossed_jax.tables.crossed_data import CrossedData

RULE = gauss_hermite(41)
LOG_LIKELIHOOD = jax.jit(log_likelihood)
WITH_GRADIENT, GRAM_WITH_GRADIENT = (
    jax.jit(jax.value_and_grad(each)) for each in (log_likelihood, log_likelihood_of_gram)
)

SIZES = {"sds": (1.0, 0.5), "sigma": 1.0}
TABLES = {
    "ragged": unbalanced((6, 4), 30, **SIZES),
    "complete, no replicates": balanced((6, 4), 1, **SIZES),
}


def _strata(data: CrossedData, location: np.ndarray) -> Strata:
    cells = cells_of(data)
    return strata_of(cells, squares_within(cells, data), 0, location)


def _only(data: CrossedData, kept: np.ndarray) -> CrossedData:
    """Take some rows of a table."""
    factors = tuple(dataclasses.replace(f, codes=f.codes[kept]) for f in data.factors)
    return dataclasses.replace(data, response=data.response[kept], factors=factors)


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
            _log_normal(residual, np.outer(k, k) + np.exp(2.0 * e)[:, None, None] * noise)
            + log_weights
        )
    return total


def _log_normal(residual: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Log-density at a residual of Normals of mean zero with these covariances."""
    squares = residual @ np.linalg.solve(covariances, residual[:, None])
    log_volumes = np.linalg.slogdet(2.0 * np.pi * covariances)[1]
    return -0.5 * (squares[:, 0] + log_volumes)


@pytest.mark.parametrize("parts", less_one_and_alone(4))
@pytest.mark.parametrize("name", TABLES)
def test_log_likelihood_is_that_of_dense_normals(parts: tuple[bool, ...], name: str) -> None:
    rng, data = np.random.default_rng(1), TABLES[name]
    slopes, line_noise, gene_noise, interaction = parts
    lines = Lines(
        jnp.asarray(rng.normal(size=4)),
        jnp.asarray(rng.normal(0.0, 0.4, 4 if slopes else 1)),
        jnp.asarray(rng.normal(-0.3, 0.4, 4 if line_noise else 1)),
        jnp.asarray(-1.0) if gene_noise else None,
        jnp.asarray(0.3) if interaction else None,
    )
    layout = _strata(data, rng.normal(0.0, 0.3, 4))
    found = float(LOG_LIKELIHOOD(lines, layout, RULE))
    assert found == pytest.approx(_dense(data, lines), rel=1e-8)


def _lines_with_all_parts() -> Lines:
    rng = np.random.default_rng(2)
    vectors = [jnp.asarray(rng.normal(-0.3, 0.4, 4)) for _ in range(3)]
    return Lines(*vectors, jnp.asarray(-1.0), jnp.asarray(0.3))


def test_gradient_is_that_of_the_log_likelihood() -> None:
    layout, lines = _strata(TABLES["ragged"], np.zeros(4)), _lines_with_all_parts()
    check_grads(lambda at: LOG_LIKELIHOOD(at, layout, RULE), (lines,), 1, ("rev",), rtol=1e-6)


def test_genes_in_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data, lines = unbalanced((7, 4), 30, **SIZES), _lines_with_all_parts()
    whole = _strata(data, np.zeros(4))
    monkeypatch.setattr(strata, "BLOCK_BYTES", 2 * 8 * len(whole.line))
    in_blocks = _strata(data, np.zeros(4))
    assert in_blocks.matrices.rows.shape == (4, 2)  # an empty gene fills the last one up
    found, wanted = (WITH_GRADIENT(lines, table, RULE) for table in (in_blocks, whole))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), found, wanted)


@pytest.mark.parametrize("parts", less_one_and_alone(3)[:4])
@pytest.mark.parametrize("replicates", [1, 3, "by line"])
def test_gram_form_is_the_general_one(parts: tuple[bool, ...], replicates: int | str) -> None:
    data = balanced((40, 6), 2 if replicates == "by line" else int(replicates), **SIZES)
    if replicates == "by line":
        gene, line = (factor.codes for factor in data.factors)
        _, first = np.unique(gene * 6 + line, return_index=True)
        data = _only(data, np.isin(np.arange(len(gene)), first) | (line % 2 == 1))
    layout = _strata(data, np.random.default_rng(0).normal(0.0, 0.3, 6))
    sums = gram_of(layout, 40)
    assert sums is not None
    rng = np.random.default_rng(5)
    slopes, line_noise, interaction = parts
    lines = Lines(
        jnp.asarray(rng.normal(size=6)),
        jnp.asarray(rng.normal(0.0, 0.4, 6 if slopes else 1)),
        jnp.asarray(rng.normal(-0.3, 0.4, 6 if line_noise else 1)),
        None,
        jnp.asarray(0.3) if interaction else None,
    )
    found = GRAM_WITH_GRADIENT(lines, sums)
    wanted = WITH_GRADIENT(lines, layout, RULE)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), found, wanted
    )


def test_gram_form_is_for_complete_tables_of_equal_genes() -> None:
    assert gram_of(_strata(TABLES["ragged"], np.zeros(4)), 6) is None
    table = TABLES["complete, no replicates"]
    last = _only(table, np.arange(len(table.response)) < len(table.response) - 1)
    assert gram_of(_strata(table, np.zeros(4)), 6) is not None
    assert gram_of(_strata(last, np.zeros(4)), 6) is None
