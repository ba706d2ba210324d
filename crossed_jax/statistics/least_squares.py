r"""Least squares with all factors fixed: the noise that is left, and what each factor explains.

The factor with most levels is eliminated, whose block of the normal equations is diagonal. With
`n` its rows per level, `N` its counts against the other factors' levels, `M` theirs among
themselves, and `s`, `t` the sums of the response over each side's levels,

.. math:: (M - N^\top D^{-1} N)\, b = t - N^\top D^{-1} s, \qquad a = D^{-1}(s - N b),
    \quad D = \mathrm{diag}(n),

solved by conjugate gradients. Levels that are confounded make the system singular but consistent,
and the residuals unique all the same.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from crossed_jax.statistics.cells import Cells, PairCounts, blocks

RANK_LEVELS = 1000  # of the factors that are not eliminated: beyond, a rank takes seconds
TOLERANCE = 1e-13


class Explained(NamedTuple):
    """A sum of squares and its degrees of freedom."""

    squares: float
    freedom: int


class Decomposition(NamedTuple):
    """The sums of squares of a table.

    Attributes
    ----------
    total
        Of the response about its mean.
    residual
        What all factors together leave.
    adjusted
        For each factor, what it explains beyond all others (Yates, 1934, *JASA* 29:51).
    effects
        Of each factor's levels, adding up to the response that is fitted.
    """

    total: Explained
    residual: Explained
    adjusted: tuple[Explained, ...]
    effects: tuple[np.ndarray, ...]

    @property
    def evidence(self) -> np.ndarray:
        r"""How firmly the data rule out that a factor's SD is zero, in log-likelihood.

        If it is zero, the factor's adjusted mean square and the residual one have the same
        expectation. The log-likelihood ratio of two variances against one,

        .. math:: \tfrac12 \Big[(f_k + f) \log\frac{S_k + S}{f_k + f} - f_k \log\frac{S_k}{f_k}
            - f \log\frac S f\Big],

        is zero where the factor's is the smaller or either has no degrees of freedom.
        """
        return np.array([_log_ratio(factor, self.residual) for factor in self.adjusted])


def _log_ratio(factor: Explained, residual: Explained) -> float:
    if min(factor.freedom, residual.freedom) == 0 or residual.squares <= 0.0:
        return 0.0
    ratio = factor.squares / factor.freedom / (residual.squares / residual.freedom)
    if ratio <= 1.0:
        return 0.0
    both = factor.freedom + residual.freedom
    pooled = (factor.freedom * ratio + residual.freedom) / both
    return 0.5 * float(both * np.log(pooled) - factor.freedom * np.log(ratio))


class _NormalEquations(NamedTuple):
    """Rows and sums of the centred response of each factor's levels, and counts of their pairs."""

    rows: list[np.ndarray]
    sums: list[np.ndarray]
    pairs: PairCounts


def decompose(cells: Cells, pairs: PairCounts, num_blocks: int) -> Decomposition:
    """Split the response's sum of squares among the factors, each adjusted for all others.

    Parameters
    ----------
    cells, pairs
        The table, and the counts of its pairs of levels.
    num_blocks
        Of levels that no row connects, see :func:`~crossed_jax.statistics.cells.blocks`: each but
        the first takes a degree of freedom.
    """
    factors = sorted(range(len(cells.num_levels)), key=lambda k: -cells.num_levels[k])
    mean = cells.counts @ cells.means / cells.num_rows
    response = cells.means - mean
    weighted = cells.counts * response
    total = float(cells.sum_squares_within + weighted @ response)
    equations = _NormalEquations(
        [cells.level_sums(k, cells.counts) for k in range(len(factors))],
        [cells.level_sums(k, weighted) for k in range(len(factors))],
        pairs,
    )
    everything, solution = _fitted(equations, factors, num_blocks)
    effects = dict(zip(factors, solution, strict=True))
    effects[0] = effects[0] + mean
    adjusted = []
    for k in range(len(factors)):
        others = [j for j in factors if j != k]
        without, _ = _fitted(equations, others, _num_blocks(cells, others))
        squares = max(everything.squares - without.squares, 0.0)
        adjusted.append(Explained(squares, everything.freedom - without.freedom))
    left = max(total - everything.squares, 0.0), max(cells.num_rows - 1 - everything.freedom, 0)
    residual = Explained(*left)
    return Decomposition(
        Explained(total, cells.num_rows - 1),
        residual,
        tuple(adjusted),
        tuple(effects[k] for k in range(len(factors))),
    )


def _num_blocks(cells: Cells, factors: list[int]) -> int:
    """How many blocks some factors' levels fall into, see `blocks`."""
    if len(factors) == 1:
        return 1
    levels = tuple(cells.num_levels[k] for k in factors)
    return len(blocks(cells._replace(codes=cells.codes[:, factors], num_levels=levels)))


def _fitted(
    equations: _NormalEquations, factors: list[int], num_blocks: int
) -> tuple[Explained, list[np.ndarray]]:
    """What a least-squares fit of some factors explains, and their effects.

    The factor with most levels comes first.
    """
    eliminated, *others = factors
    rows, sums = equations.rows[eliminated], equations.sums[eliminated]
    squares, rank = float(sums @ (sums / rows)), len(rows)
    effects = [sums / rows]
    if others:
        counts = _beside([equations.pairs[eliminated, k] for k in others])
        gram = _among(equations, others)
        right = np.concatenate([equations.sums[k] for k in others])
        least = TOLERANCE * float(np.linalg.norm(right))  # what is left of it may be rounding
        right -= counts.T @ (sums / rows)

        def schur(levels: np.ndarray) -> np.ndarray:
            return gram @ levels - counts.T @ ((counts @ levels) / rows)

        operator = LinearOperator((len(right), len(right)), schur)
        scaling = sparse.diags_array(1.0 / gram.diagonal())
        solution, _ = cg(operator, right, rtol=TOLERANCE, atol=least, M=scaling)
        squares += float(solution @ right)
        ends = np.cumsum([len(equations.rows[k]) for k in others])
        effects = [(sums - counts @ solution) / rows, *np.split(solution, ends[:-1])]
        if len(others) > 1 and len(right) <= RANK_LEVELS:
            rank += int(np.linalg.matrix_rank(operator @ np.eye(len(right)), hermitian=True))
        else:
            rank += len(right) - len(others) - (num_blocks - 1)
    return Explained(squares, rank - 1), effects


def _beside(counts: list[np.ndarray | sparse.csr_array]) -> np.ndarray | sparse.csr_array:
    return counts[0] if len(counts) == 1 else sparse.hstack(list(map(sparse.csr_array, counts)))


def _among(equations: _NormalEquations, factors: list[int]) -> sparse.csr_array:
    """Counts of some factors' levels among themselves."""

    def block(j: int, k: int) -> sparse.csr_array:
        if j == k:
            return sparse.diags_array(equations.rows[k])
        return sparse.csr_array(equations.pairs[j, k])

    return sparse.block_array([[block(j, k) for k in factors] for j in factors], format="csr")
