r"""The collapsed form of any table: all effects integrated out by Schur complements.

Measure y from its mean, so that no digits cancel, and write :math:`\rho_k = \sigma_k^2/\sigma^2`.
The factor with most levels is *eliminated*: its block is diagonal. Factors with few levels join
the intercept in the *border* :math:`W`, whose scales :math:`E = \mathrm{diag}(s_0,
\sigma_k)/\sigma` are met exactly at every evaluation. What remains is the *core*. With `n` the
rows of each eliminated level, :math:`N` its counts against the core's levels, :math:`R_1, R_c,
R_0` the products of :math:`[W\ y]` with the eliminated factor, the core and itself,

.. math::
    D &= \rho_1/(1 + n\rho_1), \quad F = \mathrm{diag}\sqrt{\rho_c}, \quad
        S = I + F (Z_c^\top Z_c - N^\top D N) F, \quad T = R_c - N^\top D R_1 \\
    \log|H| &= \sum \log(1 + n\rho_1) + \log|S|, \qquad
        \Gamma = R_0 - R_1^\top D R_1 - (FT)^\top S^{-1} (FT) = [W\ y]^\top H^{-1} [W\ y] \\
    -2\log p &= N \log 2\pi\sigma^2 + \log|H| + \log|I + E\Gamma_{WW}E|
        + \big(\Gamma_{yy} - v^\top (I + E\Gamma_{WW}E)^{-1} v\big)/\sigma^2,
        \quad v = E\,\Gamma_{Wy} .

An intercept whose prior mean lies :math:`\delta = m_0 - \bar y` away adds
:math:`\delta\sigma/s_0` to the first entry of v and its square to :math:`\Gamma_{yy}`. Written with
:math:`\sqrt\rho` and not :math:`1/\rho`, nothing is singular as an SD goes to zero.

:math:`\log|H|` and :math:`\Gamma` depend on the ratios :math:`\rho` of the eliminated factor and
the core alone, and smoothly. Without a core they are sums over the distinct `n`, exact at every
evaluation. With one they are interpolated by Chebyshev polynomials in

.. math:: x_k = \log(1 + \kappa_k \rho_k), \qquad \kappa_k \text{ the most rows of any level of } k,

for which :math:`\sigma_k \to 0` is the finite point :math:`x_k = 0`, and the singularities
:math:`1 + n\rho = 0, n \le \kappa` lie at least :math:`\pi` off the real axis, so that the number
of nodes follows from the width of the box. The box covers the posterior, or grows.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import linalg, sparse

from crossed_jax.errors import InputError
from crossed_jax.models.collapsed import chebyshev
from crossed_jax.models.collapsed.parameterization import LogSDs, collapsed_parameterization
from crossed_jax.models.priors import Priors
from crossed_jax.models.sd_coordinate import anchor_positions
from crossed_jax.statistics.cells import Cells, crosstab, to_dense
from crossed_jax.statistics.point_estimate import Estimate
from crossed_jax.types import Array

FEW_LEVELS = 24  # a border of this size costs less per gradient than the step around it
MOST_CORE_FACTORS = 2  # nodes multiply with every factor
LOG_DENSITY_TOLERANCE = 1e-7
DISTANCE = np.pi  # of the nearest singularity in x
HALF_WIDTH = 11.0  # of the first box, in units of sqrt(2/(levels - 1))
DROP = 18.0  # in log-density: what lies further down has a mass below 1e-7


class Counts(NamedTuple):
    """Counts of the eliminated factor against the core: a constant row plus a difference.

    A table with few cells missing is its usual count per core level less a few; a sparse one is
    zero plus a few. Either way products cost what the exceptions cost.
    """

    usual: np.ndarray
    difference: np.ndarray | sparse.csr_array

    def times(self, right: np.ndarray) -> np.ndarray:
        """N @ right."""
        product = self.difference @ right
        product += self.usual @ right
        return product

    def transposed_times(self, right: np.ndarray) -> np.ndarray:
        """N' @ right."""
        total = right.sum(0)
        constant = np.multiply.outer(self.usual, total)
        return self.difference.T @ right + constant

    def gram(self, weights: np.ndarray) -> np.ndarray:
        """N' diag(weights) N."""
        weighted = self.difference.T * weights
        inner = weighted @ self.difference
        if sparse.issparse(inner):
            inner = inner.toarray()
        cross = np.outer(self.usual, weighted.sum(1))
        return inner + cross + cross.T + weights.sum() * np.outer(self.usual, self.usual)

    def quadratic(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """N @ matrix, and the diagonal of N @ matrix @ N'."""
        product = self.times(matrix)
        elementwise = self.difference * product
        return product, np.asarray(elementwise.sum(1)).ravel() + product @ self.usual


class Table(NamedTuple):
    """Cross-products of a table, ordered eliminated, core, border, response; on the host.

    Attributes
    ----------
    mean
        Of the response, from which it is measured.
    eliminated, core, border
        Which factors play which role.
    rows
        Rows of each eliminated level, shape (G,).
    counts
        Eliminated against core, shape (G, C).
    core_gram
        Core against core, shape (C, C).
    eliminated_sums, core_sums, border_gram
        [W y] summed over eliminated levels, over core levels, and against itself, shapes
        (G, B + 1), (C, B + 1), (B + 1, B + 1). The last corner holds the sum of all squares.
    core_owner, border_owner
        Position in `core`, and factor, of each core level and each border level.
    kappa
        Most rows of any level, for the eliminated factor and each of the core.
    num_levels
        Of each factor.
    """

    mean: float
    eliminated: int
    core: tuple[int, ...]
    border: tuple[int, ...]
    rows: np.ndarray
    counts: Counts
    core_gram: np.ndarray
    eliminated_sums: np.ndarray
    core_sums: np.ndarray
    border_gram: np.ndarray
    core_owner: np.ndarray
    border_owner: np.ndarray
    kappa: np.ndarray
    num_levels: tuple[int, ...]

    @property
    def gridded(self) -> list[int]:
        """Factors whose variance ratios are interpolated: the eliminated one and the core."""
        return [self.eliminated, *self.core]


def table_of(cells: Cells, few_levels: int = FEW_LEVELS) -> Table:
    """Gather the cross-products of a table, the response measured from its mean."""
    order = sorted(range(len(cells.num_levels)), key=lambda k: -cells.num_levels[k])
    eliminated = order[0]
    core = tuple(k for k in order[1:] if cells.num_levels[k] > few_levels)
    border = tuple(k for k in order[1:] if cells.num_levels[k] <= few_levels)
    mean = float(cells.counts @ cells.means / cells.counts.sum())
    response = cells.means - mean

    def dense(j: int, k: int) -> np.ndarray:
        if j == k:
            return np.diag(cells.level_sums(k, cells.counts))
        return to_dense(crosstab(cells, j, k))

    def border_columns(k: int) -> np.ndarray:
        return np.column_stack(
            [
                cells.level_sums(k, cells.counts),
                *(dense(k, b) for b in border),
                cells.level_sums(k, cells.counts * response),
            ]
        )

    border_rows = [border_columns(b) for b in border]
    total = np.concatenate(
        [
            [cells.counts.sum()],
            *(cells.level_sums(b, cells.counts) for b in border),
            [cells.counts @ response],
        ]
    )
    last = np.concatenate(
        [
            [cells.counts @ response],
            *(rows[:, -1] for rows in border_rows),
            [cells.counts @ response**2 + cells.sum_squares_within],
        ]
    )
    return Table(
        mean=mean,
        eliminated=eliminated,
        core=core,
        border=border,
        rows=cells.level_sums(eliminated, cells.counts),
        counts=_counts(cells, eliminated, core),
        core_gram=np.block([[dense(j, k) for k in core] for j in core])
        if core
        else np.zeros((0, 0)),
        eliminated_sums=border_columns(eliminated),
        core_sums=np.concatenate([np.zeros((0, len(total))), *(border_columns(k) for k in core)]),
        border_gram=np.vstack([total, *border_rows, last]),
        core_owner=np.repeat(np.arange(len(core)), [cells.num_levels[k] for k in core]),
        border_owner=np.repeat(np.array(border, int), [cells.num_levels[k] for k in border]),
        kappa=np.array([cells.level_sums(k, cells.counts).max() for k in (eliminated, *core)]),
        num_levels=cells.num_levels,
    )


def _counts(cells: Cells, eliminated: int, core: tuple[int, ...]) -> Counts:
    usual, differences = [], []
    for k in core:
        counts = crosstab(cells, eliminated, k)
        if isinstance(counts, np.ndarray):
            usual.append(np.median(counts, axis=0))
            differences.append(sparse.csr_array(counts - usual[-1]))
        else:
            usual.append(np.zeros(counts.shape[1]))
            differences.append(counts)
    if not core:
        return Counts(np.zeros(0), np.zeros((cells.num_levels[eliminated], 0)))
    difference = sparse.hstack(differences, format="csr")
    sparse_enough = difference.nnz < 0.1 * difference.shape[0] * difference.shape[1]
    return Counts(np.concatenate(usual), difference if sparse_enough else difference.toarray())


class Condensed(NamedTuple):
    """All that the log-density needs of a table at given ratios.

    Attributes
    ----------
    log_det
        log|H|.
    gram
        Gamma = [W y]' H^-1 [W y], shape (B + 1, B + 1).
    """

    log_det: Array
    gram: Array


class Eliminated(NamedTuple):
    """The table with its eliminated factor integrated out, at one ratio."""

    log_det: float
    core_gram: np.ndarray
    core_sums: np.ndarray
    gram: np.ndarray


def eliminate(table: Table, ratio: float) -> Eliminated:
    """Integrate the eliminated factor out at a ratio sd^2/sigma^2."""
    weights = ratio / (1.0 + table.rows * ratio)
    weighted = weights[:, None] * table.eliminated_sums
    return Eliminated(
        float(np.log1p(table.rows * ratio).sum()),
        table.core_gram - table.counts.gram(weights),
        table.core_sums - table.counts.transposed_times(weighted),
        table.border_gram - table.eliminated_sums.T @ weighted,
    )


def factor_core(
    table: Table, eliminated: Eliminated, ratios: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Factor S at the core's ratios; returns F's diagonal and the lower Cholesky factor of S."""
    scale = np.sqrt(ratios)[table.core_owner]
    matrix = scale[:, None] * eliminated.core_gram * scale
    matrix[np.diag_indices_from(matrix)] += 1.0
    # symmetric, and LAPACK would copy what does not run by columns
    return scale, linalg.cholesky(matrix.T, lower=True, overwrite_a=True, check_finite=False)


def condense(table: Table, eliminated: Eliminated, ratios: np.ndarray) -> Condensed:
    """Integrate the core out as well, exactly."""
    if not table.core:
        return Condensed(np.asarray(eliminated.log_det), eliminated.gram)
    scale, factor = factor_core(table, eliminated, ratios)
    half = linalg.solve_triangular(
        factor, scale[:, None] * eliminated.core_sums, lower=True, check_finite=False
    )
    log_det = eliminated.log_det + 2.0 * np.log(np.diag(factor)).sum()
    return Condensed(np.asarray(log_det), eliminated.gram - half.T @ half)


class ByCount(NamedTuple):
    """A table without a core: sums over eliminated levels with the same number of rows."""

    rows: Array
    levels: Array
    grams: Array
    border_gram: Array

    def at(self, log_ratios: Array) -> tuple[Condensed, Array]:
        """Condense at log ratios of shape (..., 1); exact everywhere."""
        xp = chebyshev.namespace(log_ratios)
        ratio = xp.exp(log_ratios)
        weights = ratio / (1.0 + self.rows * ratio)
        condensed = Condensed(
            xp.log1p(self.rows * ratio) @ self.levels,
            self.border_gram - xp.tensordot(weights, self.grams, 1),
        )
        return condensed, xp.zeros(log_ratios.shape[:-1])


class Series(NamedTuple):
    """A table with a core: Chebyshev series of what it condenses to, on a box of x."""

    box: Array
    kappa: Array
    log_det: Array
    gram: Array

    def at(self, log_ratios: Array) -> tuple[Condensed, Array]:
        """Condense at log ratios of shape (..., gridded); and say how far outside the box."""
        xp = chebyshev.namespace(log_ratios)
        low, high = self.box[:, 0], self.box[:, 1]
        x = xp.log1p(self.kappa * xp.exp(log_ratios))
        inside = xp.clip(x, low, high)
        axes = self.log_det.ndim
        basis = chebyshev.basis(inside, self.box, self.log_det.shape)
        condensed = Condensed(
            xp.tensordot(basis, self.log_det, axes), xp.tensordot(basis, self.gram, axes)
        )
        return condensed, xp.sum(((x - inside) / (high - low)) ** 2, -1)


class Fixed(NamedTuple):
    """A table condensed exactly at the one point of interest."""

    condensed: Condensed

    def at(self, log_ratios: Array) -> tuple[Condensed, Array]:
        """Give what is known, whatever the ratios."""
        del log_ratios
        return self.condensed, jnp.asarray(0.0)


class ModelData(NamedTuple):
    """What the compiled log-density needs.

    Attributes
    ----------
    condensed
        The table without effects, as a function of the log ratios.
    gridded
        Factors of those ratios.
    border_owner
        Factor of each border column after the intercept's.
    mean, num_rows, num_levels
        What the response is measured from, N, and the levels of each factor as floats, shape
        (factors,).
    priors, estimate, anchors
        As for the other forms; the estimate's effects are left out.
    """

    condensed: ByCount | Series | Fixed
    gridded: Array
    border_owner: Array
    mean: Array
    num_rows: Array
    num_levels: Array
    priors: Priors
    estimate: Estimate
    anchors: Array


def border_scale(model_data: ModelData, log_factor_sds: Array, log_sigma: Array) -> Array:
    """E, the prior SDs of the border's coefficients over sigma, shape (B,)."""
    intercept = jnp.asarray(model_data.priors.sum_of_means.scale, float).reshape(1)
    sds = jnp.exp(log_factor_sds[model_data.border_owner])
    return jnp.concatenate([intercept, sds]) * jnp.exp(-log_sigma)


def log_density(position: LogSDs, model_data: ModelData) -> Array:
    """Log posterior density of the log SDs, all effects integrated out, up to a constant."""
    log_sds, log_sigma = position
    condensed, outside = model_data.condensed.at(2.0 * (log_sds[model_data.gridded] - log_sigma))
    scale = border_scale(model_data, log_sds, log_sigma)
    inner = jnp.eye(len(scale)) + scale[:, None] * condensed.gram[:-1, :-1] * scale
    score, squares = border_score(
        condensed.gram, scale, model_data.priors.sum_of_means.loc - model_data.mean
    )
    if len(scale) == 1:
        log_det, explained = jnp.log(inner[0, 0]), score[0] ** 2 / inner[0, 0]
    else:
        factor = jnp.linalg.cholesky(inner)
        log_det = 2.0 * jnp.log(jnp.diagonal(factor)).sum()
        explained = jnp.sum(solve_lower(factor, score) ** 2)
    log_likelihood = -0.5 * (
        2.0 * model_data.num_rows * log_sigma
        + condensed.log_det
        + log_det
        + (squares - explained) * jnp.exp(-2.0 * log_sigma)
    )
    return log_likelihood + model_data.priors.log_scales(*position) - 1e4 * outside


def border_score(gram: Array, scale: Array, shift: Array | float) -> tuple[Array, Array]:
    """v and Gamma_yy, for an intercept whose prior mean is `shift`; leading dimensions alike."""
    xp = chebyshev.namespace(gram)
    pull = xp.zeros_like(scale[..., 1:])
    pull = xp.concatenate([(shift / scale[..., 0])[..., None], pull], -1)
    return scale * gram[..., :-1, -1] + pull, gram[..., -1, -1] + pull[..., 0] ** 2


def solve_lower(factor: Array, right: Array) -> Array:
    """Solve factor @ x = right for a lower triangular factor."""
    return jax.scipy.linalg.solve_triangular(factor, right, lower=True)


FORM = collapsed_parameterization(log_density)


def by_count(table: Table) -> ByCount:
    """Group the eliminated levels of a table without a core by their number of rows.

    Groups without a level fill their number up to a power of two: they add nothing, and most tables
    share one compiled log-density.
    """
    rows, group, levels = np.unique(table.rows, return_inverse=True, return_counts=True)
    pad = max(8, 1 << (len(rows) - 1).bit_length()) - len(rows)
    grams = np.zeros((len(rows) + pad, *table.border_gram.shape))
    for index, sums in enumerate(_split(table.eliminated_sums, group, len(rows))):
        grams[index] = sums.T @ sums
    return ByCount(
        np.pad(rows, (0, pad)), np.pad(levels.astype(float), (0, pad)), grams, table.border_gram
    )


def _split(values: np.ndarray, group: np.ndarray, number: int) -> list[np.ndarray]:
    order = np.argsort(group, kind="stable")
    return np.split(values[order], np.searchsorted(group[order], np.arange(1, number)))


def at_nodes(
    table: Table, box: np.ndarray, shape: tuple[int, ...]
) -> Iterator[tuple[Eliminated, float, np.ndarray]]:
    """Give the table, the eliminated factor's ratio (outermost) and the core's at each node."""
    axes = [
        np.expm1(chebyshev.nodes(low, high, number)) / kappa
        for (low, high), number, kappa in zip(box, shape, table.kappa, strict=True)
    ]
    for ratio in axes[0]:
        eliminated = eliminate(table, ratio)
        for core_ratios in product(*axes[1:]):
            yield eliminated, ratio, np.array(core_ratios)


def series(table: Table, priors: Priors, point: Estimate, box: np.ndarray | None = None) -> Series:
    """Interpolate a table with a core over a box that covers its posterior.

    Parameters
    ----------
    table, priors, point
        The table, and an estimate to start from.
    box
        Lowest and highest x of each gridded factor, shape (gridded, 2); by default one about the
        estimate, moved and widened until the profile likelihood is negligible at its edges.
    """
    if len(table.core) > MOST_CORE_FACTORS:
        raise InputError(
            f"{len(table.core) + 1} factors with more than {FEW_LEVELS} levels are too many for "
            "the collapsed form: fit with --parameterization sum_to_zero."
        )
    if box is not None:
        return interpolate(table, box)
    levels = np.array([table.num_levels[k] for k in table.gridded])
    center = np.log1p(table.kappa * (point.factor_sds[table.gridded] / point.sigma) ** 2)
    half = HALF_WIDTH * np.sqrt(2.0 / (levels - 1.0))
    box = np.stack([np.maximum(center - half, 0.0), center + half], axis=1)
    for _ in range(20):
        found = interpolate(table, box)
        better = _better_box(found, table, priors, point)
        if better is None:
            return found
        box = better
    raise InputError(
        "the likelihood of the variance ratios has no end in sight: fit with "
        "--parameterization sum_to_zero."
    )


def _better_box(
    found: Series, table: Table, priors: Priors, point: Estimate, points: int = 41
) -> np.ndarray | None:
    """Move a box to where the likelihood is, or return None if it covers it well."""
    box = np.asarray(found.box)
    axes = [np.linspace(low, high, points) for low, high in box]
    near = _profile_likelihood(found, axes, table, priors, point)
    near = near > near.max() - DROP
    better = box.copy()
    for axis, grid in enumerate(axes):
        others = tuple(other for other in range(len(axes)) if other != axis)
        inside = np.flatnonzero(near.any(others))
        low, high = inside[0], inside[-1]
        cut_low, cut_high = low == 0 and box[axis, 0] > 0.0, high == points - 1
        if cut_low or cut_high or high - low < 0.4 * (points - 1):
            pad = max(2, (high - low) // 10)
            width = box[axis, 1] - box[axis, 0]
            better[axis] = (
                max(grid[max(low - pad, 0)] - cut_low * width, 0.0),
                grid[min(high + pad, points - 1)] + cut_high * width,
            )
    return None if np.array_equal(better, box) else better


def _profile_likelihood(
    found: Series, axes: list[np.ndarray], table: Table, priors: Priors, point: Estimate
) -> np.ndarray:
    """Log-likelihood on a grid of x, maximized over sigma, the border's scales held fixed."""
    shape = found.log_det.shape
    log_det, gram = np.asarray(found.log_det), np.asarray(found.gram)
    for axis, (grid, limits, number) in enumerate(zip(axes, found.box, shape, strict=True)):
        along = chebyshev.basis(grid[:, None], limits[None], (number,))
        log_det = np.moveaxis(np.tensordot(along, log_det, (1, axis)), 0, axis)
        gram = np.moveaxis(np.tensordot(along, gram, (1, axis)), 0, axis)
    intercept = float(priors.sum_of_means.scale)
    scale = np.concatenate([[intercept], point.factor_sds[table.border_owner]]) / point.sigma
    inner = np.eye(len(scale)) + scale[:, None] * gram[..., :-1, :-1] * scale
    shift = float(priors.sum_of_means.loc) - table.mean
    score, total = border_score(gram, np.broadcast_to(scale, (*gram.shape[:-2], len(scale))), shift)
    explained = (score * np.linalg.solve(inner, score[..., None])[..., 0]).sum(-1)
    squares = np.maximum(total - explained, np.finfo(float).tiny)
    return -0.5 * (table.rows.sum() * np.log(squares) + log_det + np.linalg.slogdet(inner)[1])


def interpolate(table: Table, box: np.ndarray) -> Series:
    """Condense the table at the Chebyshev nodes of a box.

    The series are padded with zeros to a few common lengths, so that most tables share one
    compiled log-density.
    """
    shape = tuple(
        max(3, chebyshev.num_nodes((high - low) / 2.0, DISTANCE, LOG_DENSITY_TOLERANCE))
        for low, high in box
    )
    values = [
        condense(table, eliminated, core_ratios)
        for eliminated, _, core_ratios in at_nodes(table, box, shape)
    ]
    log_det = np.array([v.log_det for v in values]).reshape(shape)
    gram = np.array([v.gram for v in values]).reshape(*shape, *table.border_gram.shape)
    pad = [(0, 8 * -(-number // 8) - number) for number in shape]
    return Series(
        box,
        table.kappa,
        np.pad(chebyshev.coefficients(log_det, len(shape)), pad),
        np.pad(chebyshev.coefficients(gram, len(shape)), [*pad, (0, 0), (0, 0)]),
    )


def model_data_of(
    table: Table,
    condensed: ByCount | Series | Fixed,
    priors: Priors,
    point: Estimate,
) -> ModelData:
    """Gather what the compiled log-density needs."""
    return ModelData(
        condensed=condensed,
        gridded=np.array(table.gridded),
        border_owner=table.border_owner,
        mean=np.asarray(table.mean),
        num_rows=table.rows.sum(),
        num_levels=np.array(table.num_levels, float),
        anchors=anchor_positions(np.array(table.num_levels), table.rows.sum(), point),
        priors=priors,
        estimate=point._replace(effects=()),
    )
