r"""Effects of the collapsed form given draws of its SDs: exact draws, and exact moments.

Backwards through the elimination of :mod:`crossed_jax.models.collapsed`, for one draw of the SDs,
with :math:`\omega = (-w, 1)` and :math:`A = L^{-1}` the inverse Cholesky factor of S:

.. math::
    w &= E L_B^{-\top}\big(L_B^{-1} v + \sigma z_B\big) && \text{border, the intercept first} \\
    b &= Y\omega + \sigma F A^\top z_c, \quad Y = F S^{-1} F T && \text{core} \\
    a &= D\,(R_1\,\omega - N b) + \sigma \sqrt{D}\, z_1 && \text{eliminated}

and then the mean of each factor's effects goes to the intercept. :math:`Y` and :math:`A` are smooth
functions of the ratios, and the draws' ratios lie in a small box: both are interpolated elementwise
from a few Chebyshev nodes on it, so that a thousand draws are a few matrix products. The relative
error allowed, 3e-5, is a thousandth of the Monte Carlo error of a thousand draws; the error met is
measured against exact solves and reported.

Moments need no draws of effects (Rao-Blackwell). An effect is :math:`J(x)\,\omega` plus noise of
known variance, so means and variances are expectations, over the draws of the SDs, of Chebyshev
series in x: sums over the nodes, with weights that the draws decide.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from crossed_jax import chebyshev
from crossed_jax.cells import Cells
from crossed_jax.models import collapsed
from crossed_jax.models.collapsed import Problem, Table
from crossed_jax.models.form import Form, Quantities
from crossed_jax.moments import Estimate
from crossed_jax.priors import Priors
from crossed_jax.random import fill_standard_normal

CORE_TOLERANCE = 3e-5
TOLERANCE = 1e-8  # where there is no core, and nodes cost nothing
NEGLIGIBLE = 3e-6  # terms of the inverse factor's series below this part of the largest
DRAWS_AT_ONCE = 500
COLUMN_BLOCKS = 4


class OutsideBoxError(Exception):
    """Draws left the box of the interpolant; `box` holds one with room for them."""

    def __init__(self, box: np.ndarray) -> None:
        super().__init__("draws lie outside the interpolated box")
        self.box = box


@dataclass(frozen=True)
class Collapsed:
    """A table with its effects integrated out."""

    table: Table
    problem: Problem
    form: Form = collapsed.FORM

    def given(self, scales: Quantities) -> "EffectsGivenSDs":
        """Condition on draws of the SDs, leading dimensions (chains, draws).

        Raises
        ------
        OutsideBoxError
            If the log-density that gave these draws was interpolated on too small a box.
        """
        effects = EffectsGivenSDs(self.table, self.problem, scales)
        if isinstance(self.problem.condensed, collapsed.Series):
            box = np.asarray(self.problem.condensed.box)
            low, high = effects.x.min(0), effects.x.max(0)
            if np.any(low < box[:, 0]) or np.any(high > box[:, 1]):
                room = 0.5 * (high - low)
                wider = [np.minimum(box[:, 0], np.maximum(low - room, 0.0)), high + room]
                wider[1] = np.maximum(box[:, 1], wider[1])
                raise OutsideBoxError(np.stack(wider, axis=1))
        return effects


@dataclass(frozen=True)
class Node:
    """The core solved at one node: the eliminated factor's ratio, Y, A and F's diagonal."""

    ratio: float
    core_mean: np.ndarray
    inverse_factor: np.ndarray
    scale: np.ndarray


def solve_core(
    table: Table, eliminated: collapsed.Eliminated, ratio: float, core_ratios: np.ndarray
) -> Node:
    """Solve the core at exact ratios."""
    size = len(table.core_owner)
    if not size:
        return Node(ratio, eliminated.core_sums, np.zeros((0, 0)), np.zeros(0))
    scale, factor = collapsed.factor_core(table, eliminated, core_ratios)
    inverse, _ = linalg.lapack.dtrtri(factor, lower=1, overwrite_c=1)
    scaled_sums = scale[:, None] * eliminated.core_sums
    return Node(ratio, scale[:, None] * (inverse.T @ (inverse @ scaled_sums)), inverse, scale)


@dataclass(frozen=True)
class EffectsGivenSDs:
    """The effects' conditional posterior given each of many draws of the SDs."""

    table: Table
    problem: Problem
    scales: Quantities

    @cached_property
    def sigma(self) -> np.ndarray:
        """Shape (S,), all chains' draws in a row."""
        return np.asarray(self.scales.sigma).ravel()

    @cached_property
    def ratios(self) -> np.ndarray:
        """sd^2/sigma^2 of each factor, shape (S, factors)."""
        sds = np.asarray(self.scales.factor_sds).reshape(len(self.sigma), -1)
        return (sds / self.sigma[:, None]) ** 2

    @cached_property
    def x(self) -> np.ndarray:
        """Where the draws lie in the interpolants' coordinates, shape (S, gridded)."""
        return np.log1p(self.table.kappa * self.ratios[:, self.table.gridded])

    @cached_property
    def box(self) -> np.ndarray:
        """The smallest box about the draws, with a little room, shape (gridded, 2)."""
        low, high = self.x.min(0), self.x.max(0)
        room = 1e-3 * (high - low) + 1e-9
        return np.stack([np.maximum(low - room, 0.0), high + room], axis=1)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Nodes along each axis of the box."""
        tolerance = CORE_TOLERANCE if self.table.core else TOLERANCE
        return tuple(
            chebyshev.num_nodes((high - low) / 2.0, collapsed.DISTANCE, tolerance)
            for low, high in self.box
        )

    @cached_property
    def basis(self) -> np.ndarray:
        """Chebyshev products at each draw, shape (S, nodes)."""
        return np.asarray(chebyshev.basis(self.x, self.box, self.shape)).reshape(len(self.x), -1)

    @cached_property
    def nodes(self) -> list[Node]:
        """The core solved at each node."""
        return [
            solve_core(self.table, eliminated, ratio, core_ratios)
            for eliminated, ratio, core_ratios in collapsed.at_nodes(
                self.table, self.box, self.shape
            )
        ]

    @cached_property
    def border(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean of the border's coefficients, shape (S, B), and E L^-T, shape (S, B, B)."""
        condensed, _ = self.problem.condensed.at(np.log(self.ratios[:, self.table.gridded]))
        gram = np.asarray(condensed.gram)
        scale = self._border_scale
        inner = scale[:, :, None] * gram[:, :-1, :-1] * scale[:, None]
        inner += np.eye(scale.shape[1])
        inverse = np.linalg.inv(np.linalg.cholesky(inner))
        half = scale[:, :, None] * inverse.swapaxes(1, 2)
        score, _ = collapsed.border_score(gram, scale, self._shift)
        mean = np.einsum("sij,sjk,sk->si", half, inverse, score, optimize=True)
        return mean, half

    @property
    def _shift(self) -> float:
        """How far the intercept's prior mean lies from the response's."""
        return float(self.problem.priors.sum_of_means.loc) - self.table.mean

    @cached_property
    def _border_scale(self) -> np.ndarray:
        """E of each draw, shape (S, B)."""
        intercept = float(self.problem.priors.sum_of_means.scale) / self.sigma
        return np.column_stack([intercept, np.sqrt(self.ratios[:, self.table.border_owner])])

    # draws

    def draw(self, seed: np.random.SeedSequence, effects: Sequence[Any] | None) -> np.ndarray:
        """Draw intercept and effects, exactly.

        Parameters
        ----------
        seed
            Of the draws.
        effects
            For each factor, where its effects are put, shape (S, levels); None to draw the
            intercept alone.

        Returns
        -------
        ndarray
            The intercept, shape (S,).
        """
        table, number = self.table, len(self.sigma)
        border_seed, *seeds = seed.spawn(1 + -(-number // DRAWS_AT_ONCE))
        border = self._draw_border(border_seed)
        intercept = np.empty(number)
        at_once = min(number, DRAWS_AT_ONCE)
        room = [np.empty((at_once, len(table.rows))) for _ in range(2)]
        for index, chunk_seed in enumerate(seeds):
            part = slice(index * DRAWS_AT_ONCE, min(number, (index + 1) * DRAWS_AT_ONCE))
            core_seed, eliminated_seed = chunk_seed.spawn(2)
            w = border[part]
            omega = np.concatenate([-w, np.ones((len(w), 1))], axis=1)
            core = self._draw_core(core_seed, part, omega)
            eliminated, roots = (array[: len(w)] for array in room)
            self._draw_eliminated(eliminated_seed, part, omega, core, eliminated, roots)
            intercept[part] = w[:, 0] + table.mean
            for k, levels in self._by_factor(eliminated, core, w):
                mean = levels.mean(1)
                intercept[part] += mean
                if effects is not None:
                    effects[k][part] = np.subtract(levels, mean[:, None], out=levels)
        return intercept

    def _draw_border(self, seed: np.random.SeedSequence) -> np.ndarray:
        mean, half = self.border
        noise = fill_standard_normal(seed, np.empty(mean.shape))
        return mean + self.sigma[:, None] * np.einsum("sij,sj->si", half, noise)

    def _draw_core(
        self, seed: np.random.SeedSequence, part: slice, omega: np.ndarray
    ) -> np.ndarray:
        table, basis = self.table, self.basis[part]
        drawn = np.zeros((len(omega), len(table.core_owner)))
        if not table.core:
            return drawn
        z = fill_standard_normal(seed, np.empty(drawn.shape, np.float32))
        terms, blocks = self._inverse_factor_blocks
        weighted = (z[:, :, None] * basis[:, None, terms].astype(np.float32)).reshape(len(z), -1)
        for columns, block in blocks:
            drawn[:, columns] = weighted[:, columns.start * len(terms) :] @ block
        core_ratios = self.ratios[part][:, list(table.core)]
        drawn *= self.sigma[part, None] * np.sqrt(core_ratios)[:, table.core_owner]
        drawn += np.einsum("st,sj->stj", basis, omega).reshape(len(z), -1) @ self._core_mean_terms
        return drawn

    @cached_property
    def _core_mean_terms(self) -> np.ndarray:
        """Terms of the means' series below each other, shape (nodes * (B + 1), C)."""
        terms = self._terms(np.array([node.core_mean.T for node in self.nodes]))
        return terms.reshape(-1, terms.shape[-1])

    @cached_property
    def _inverse_factor_blocks(self) -> tuple[np.ndarray, list[tuple[slice, np.ndarray]]]:
        """Terms of the inverse factor's series, and what they multiply, by blocks of columns.

        A block of columns of a lower triangular matrix begins at its own first row. The terms of
        each row lie below each other, so that one product sums over both.
        """
        # of noise, single precision is plenty: it errs by a millionth of the noise's SD
        terms = self._terms(np.array([node.inverse_factor for node in self.nodes], np.float32))
        sizes = np.maximum(terms.max((1, 2)), -terms.min((1, 2)))
        kept = np.flatnonzero(sizes > NEGLIGIBLE * sizes.max())
        edges = np.linspace(0, terms.shape[1], COLUMN_BLOCKS + 1).astype(int)
        blocks = []
        for columns in itertools.starmap(slice, itertools.pairwise(edges)):
            below = terms[kept, columns.start :, columns].swapaxes(0, 1)
            blocks.append((columns, below.reshape(-1, below.shape[-1])))
        return kept, blocks

    def _terms(self, values: np.ndarray) -> np.ndarray:
        shaped = values.reshape(*self.shape, *values.shape[1:])
        return chebyshev.coefficients(shaped, len(self.shape)).reshape(values.shape)

    def _draw_eliminated(
        self,
        seed: np.random.SeedSequence,
        part: slice,
        omega: np.ndarray,
        core: np.ndarray,
        out: np.ndarray,
        roots: np.ndarray,
    ) -> None:
        """Draw into `out`; `roots` is room to work in, which would be slow to ask for anew."""
        table = self.table
        ratio = self.ratios[part, table.eliminated, None]
        np.multiply(table.rows, ratio, out=roots)
        roots += 1.0
        np.divide(ratio, roots, out=roots)
        np.sqrt(roots, out=roots)
        fill_standard_normal(seed, out)
        out *= self.sigma[part, None]
        mean = omega @ table.eliminated_sums.T
        if table.core:
            mean -= table.counts.times(core.T).T
        mean *= roots
        out += mean
        out *= roots

    def _by_factor(
        self, eliminated: np.ndarray, core: np.ndarray, border: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Cut the three blocks' last axes into factors."""
        table = self.table
        yield table.eliminated, eliminated
        for position, k in enumerate(table.core):
            yield k, core[..., table.core_owner == position]
        for k in table.border:
            yield k, border[..., 1:][..., table.border_owner == k]

    # moments

    def moments(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Posterior mean and SD of each effect, averaged exactly over the draws of the SDs."""
        table = self.table
        border_mean, half = self.border
        sigma2 = self.sigma**2
        center = border_mean.mean(0)
        omega = np.concatenate([center - border_mean, np.ones((len(sigma2), 1))], axis=1)
        second = omega[:, :, None] * omega[:, None]
        second[:, :-1, :-1] += sigma2[:, None, None] * (half @ half.swapaxes(1, 2))
        omega_weights, second_weights, sigma2_weights = map(
            self._node_weights, (omega, second, sigma2)
        )
        # from the border's mean, and below from the first node: no variance is a difference of
        # large numbers
        recenter = np.eye(len(center) + 1)
        recenter[:-1, -1] = -center

        first = [np.zeros(size) for size in table.num_levels]
        square = [np.zeros(size) for size in table.num_levels]
        reference: dict[int, np.ndarray] = {}
        num_inner = len(self.nodes) // self.shape[0]
        for start in range(0, len(self.nodes), num_inner):
            covariance = np.zeros_like(table.core_gram)
            for index in range(start, start + num_inner):
                node = self.nodes[index]
                root = node.inverse_factor * node.scale
                covariance += sigma2_weights[index] * (root.T @ root)
                for k, loading in self._loadings(node):
                    j = loading @ recenter
                    reference.setdefault(k, j[:, -1].copy())
                    j[:, -1] -= reference[k]
                    first[k] += j @ omega_weights[index]
                    square[k] += ((j @ second_weights[index]) * j).sum(1)
            weight = sigma2_weights[start : start + num_inner].sum()
            for k, variances in self._noise_variances(self.nodes[start].ratio, weight, covariance):
                square[k] += variances
        return [
            (reference[k] + first[k], np.sqrt(np.maximum(square[k] - first[k] ** 2, 0.0)))
            for k in range(len(table.num_levels))
        ]

    def _node_weights(self, values: np.ndarray) -> np.ndarray:
        """Weights that turn a function's values at the nodes into its mean against `values`."""
        mean = np.tensordot(self.basis, values, (0, 0)) / len(self.basis)
        weights = mean.reshape(*self.shape, -1)
        for axis, number in enumerate(self.shape):
            transform = chebyshev.values_to_coefficients(number).T
            weights = np.moveaxis(np.tensordot(transform, weights, (1, axis)), 0, axis)
        return weights.reshape(mean.shape)

    def _loadings(self, node: Node) -> Iterator[tuple[int, np.ndarray]]:
        """J of each factor: its zero-sum effects are J @ (-w, 1) plus noise."""
        table = self.table
        weights = node.ratio / (1.0 + table.rows * node.ratio)
        sums = table.eliminated_sums
        if table.core:
            sums = sums - table.counts.times(node.core_mean)
        border = -np.eye(sums.shape[1])[:-1]
        parts = (weights[:, None] * sums).T, node.core_mean.T, border.T
        for k, levels in self._by_factor(*parts):
            yield k, (levels - levels.mean(1, keepdims=True)).T

    def _noise_variances(
        self, ratio: float, weight: float, covariance: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Variances of the zero-sum effects' noise, summed over the core's nodes at one ratio.

        `weight` is the sum of those nodes' weights, `covariance` that of the core's covariances.
        """
        table = self.table
        weights = ratio / (1.0 + table.rows * ratio)
        diagonal, row, total = weight * weights, weight * weights, weight * weights.sum()
        if table.core:
            product, quadratic = table.counts.quadratic(covariance)
            column = table.counts.transposed_times(weights[:, None])[:, 0]
            diagonal = diagonal + weights**2 * quadratic
            row = row + weights * (product @ column)
            total = total + column @ covariance @ column
        yield table.eliminated, _centered_diagonal(diagonal, row, total)
        for position, k in enumerate(table.core):
            levels = table.core_owner == position
            block = covariance[np.ix_(levels, levels)]
            yield k, _centered_diagonal(np.diag(block), block.sum(1), block.sum())

    # how good the interpolation is

    def approximation(self) -> dict[str, float]:
        """Measure the interpolants against exact solves, at the first draw and the extreme ones.

        Returns
        -------
        dict
            Largest error of the log-density (but for a constant), and of the core's conditional
            means in units of their conditional SD. Empty where nothing is interpolated.
        """
        table, problem = self.table, self.problem
        if not table.core:
            return {}
        density_errors, mean_errors = [], []
        for index in np.unique([0, *self.x.argmin(0), *self.x.argmax(0)]):
            ratios, sigma = self.ratios[index], self.sigma[index]
            eliminated = collapsed.eliminate(table, ratios[table.eliminated])
            core_ratios = ratios[list(table.core)]
            exact = collapsed.condense(table, eliminated, core_ratios)
            interpolated, _ = problem.condensed.at(np.log(ratios[table.gridded]))
            density_errors.append(
                self._log_likelihood(interpolated, index) - self._log_likelihood(exact, index)
            )
            node = solve_core(table, eliminated, ratios[table.eliminated], core_ratios)
            omega = np.append(-self.border[0][index], 1.0)
            spread = sigma * np.linalg.norm(node.inverse_factor, axis=0) * node.scale
            found = np.outer(self.basis[index], omega).ravel() @ self._core_mean_terms
            mean_errors.append(np.max(np.abs(found - node.core_mean @ omega) / spread))
        return {"log_density": float(np.ptp(density_errors)), "core_means": float(max(mean_errors))}

    def _log_likelihood(self, condensed: collapsed.Condensed, index: int) -> float:
        """Log-likelihood of one draw of the SDs, but for what no condensation changes."""
        scale, gram = self._border_scale[index], np.asarray(condensed.gram)
        inner = np.eye(len(scale)) + scale[:, None] * gram[:-1, :-1] * scale
        score, total = collapsed.border_score(gram, scale, self._shift)
        squares = total - score @ np.linalg.solve(inner, score)
        log_det = condensed.log_det + np.linalg.slogdet(inner)[1]
        return -0.5 * float(log_det + squares / self.sigma[index] ** 2)


def _centered_diagonal(diagonal: np.ndarray, row: np.ndarray, total: float) -> np.ndarray:
    """Diagonal of C V C, C the centring matrix, from V's diagonal, V @ 1 and 1 @ V @ 1."""
    size = len(diagonal)
    return diagonal - 2.0 * row / size + total / size**2


def effects_at(
    cells: Cells, priors: Priors, point: Estimate
) -> tuple[Estimate, tuple[np.ndarray, ...]]:
    """Improve an estimate's effects to their exact conditional means, and give their SDs.

    Returns
    -------
    Estimate
        As `point`, with the exact posterior means of the effects given its SDs.
    tuple of ndarray
        Their exact posterior SDs, shape (levels,) for each factor.
    """
    table = collapsed.table_of(cells)
    ratios = (point.factor_sds / point.sigma) ** 2
    eliminated = collapsed.eliminate(table, ratios[table.eliminated])
    exact = collapsed.condense(table, eliminated, ratios[list(table.core)])
    one = collapsed.Condensed(np.asarray(exact.log_det)[None], exact.gram[None])
    problem = collapsed.problem_of(table, collapsed.Fixed(one), priors, point)
    scales = Quantities(sigma=point.sigma[None], factor_sds=point.factor_sds[None])
    moments = EffectsGivenSDs(table, problem, scales).moments()
    means, sds = zip(*moments, strict=True)
    return point._replace(effects=means), sds


def collapse(
    cells: Cells, priors: Priors, point: Estimate, box: np.ndarray | None = None
) -> Collapsed:
    """Integrate the effects of any table out.

    Parameters
    ----------
    cells, priors, point
        The table, its priors, and an estimate to start from.
    box
        For tables with a core, where to interpolate; by default about the estimate.
    """
    table = collapsed.table_of(cells)
    if table.core:
        condensed: collapsed.ByCount | collapsed.Series = collapsed.series(
            table, priors, point, box
        )
    else:
        condensed = collapsed.by_count(table)
    return Collapsed(table, collapsed.problem_of(table, condensed, priors, point))
