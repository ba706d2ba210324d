r"""The effects of the collapsed form given draws of its SDs: solved at nodes, interpolated between.

With Y, A and D of :mod:`crossed_jax.models.collapsed.back_substitution`: Y and A are smooth
functions of the ratios, and the draws' ratios lie in a small box, so both are interpolated
elementwise from a few Chebyshev nodes on it, and a thousand draws are a few matrix products.

Towards an SD of zero all that belongs to its factor shrinks, and an error that is small beside the
largest draw would be large beside the smallest; and A has a branch point there, for its block of
two core factors p and q is :math:`\sqrt{\rho_p\rho_q}` times what is smooth. So where the box
comes nearer to :math:`x_k = 0` than the singularities that the number of nodes allows for, the
interpolants are measured in *units* that shrink as fast, :math:`u_k = 1 - e^{-x_k} =
\kappa_k\rho_k / (1 + \kappa_k\rho_k)`: Y, D and variances of noise in :math:`u_k`, that block
of A in :math:`\sqrt{u_p u_q}`. The error relative to an effect's own SD is then the same down to
zero: of the order of the 3e-5 that is asked for, a thousandth of the Monte Carlo error of a
thousand draws. The error met is measured against exact solves and reported.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from crossed_jax.models.collapsed import chebyshev
from crossed_jax.models.collapsed import density as collapsed
from crossed_jax.models.collapsed.density import ModelData, Table
from crossed_jax.models.parameterization import Quantities

CORE_TOLERANCE = 3e-5
TOLERANCE = 1e-8  # where there is no core, and nodes cost nothing
NEGLIGIBLE = 3e-6  # terms of the inverse factor's series below this part of the largest
COLUMN_BLOCKS = 4


@dataclass(frozen=True)
class Node:
    """The core solved at one node: x, the eliminated factor's ratio, Y, A and F's diagonal."""

    x: np.ndarray
    ratio: float
    core_mean: np.ndarray
    inverse_factor: np.ndarray
    scale: np.ndarray


def solve_core(
    table: Table, eliminated: collapsed.Eliminated, ratio: float, core_ratios: np.ndarray
) -> Node:
    """Solve the core at exact ratios."""
    x = np.log1p(table.kappa * np.append(ratio, core_ratios))
    if not table.core:
        return Node(x, ratio, eliminated.core_sums, np.zeros((0, 0)), np.zeros(0))
    scale, factor = collapsed.factor_core(table, eliminated, core_ratios)
    inverse, _ = linalg.lapack.dtrtri(factor, lower=1, overwrite_c=1)
    scaled_sums = scale[:, None] * eliminated.core_sums
    return Node(x, ratio, scale[:, None] * (inverse.T @ (inverse @ scaled_sums)), inverse, scale)


@dataclass(frozen=True)
class Conditional:
    """The effects' conditional posterior given each of many draws of the SDs."""

    table: Table
    model_data: ModelData
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

    def units(self, x: np.ndarray) -> np.ndarray:
        """Units of the interpolants, 1 for factors whose SDs stay away from zero; as x."""
        return np.where(self._near_zero, -np.expm1(-x), 1.0)

    @cached_property
    def _near_zero(self) -> np.ndarray:
        """Whether the draws of each gridded factor, if they differ, come near an SD of zero."""
        return (self.box[:, 0] < collapsed.DISTANCE) & (np.ptp(self.x, axis=0) > 0.0)

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
        condensed, _ = self.model_data.condensed.at(np.log(self.ratios[:, self.table.gridded]))
        gram = np.asarray(condensed.gram)
        scale = self.border_scale
        inner = scale[:, :, None] * gram[:, :-1, :-1] * scale[:, None]
        inner += np.eye(scale.shape[1])
        inverse = np.linalg.inv(np.linalg.cholesky(inner))
        half = scale[:, :, None] * inverse.swapaxes(1, 2)
        score, _ = collapsed.border_score(gram, scale, self.shift)
        mean = np.einsum("sij,sjk,sk->si", half, inverse, score, optimize=True)
        return mean, half

    @property
    def shift(self) -> float:
        """How far the intercept's prior mean lies from the response's."""
        return float(self.model_data.priors.sum_of_means.loc) - self.table.mean

    @cached_property
    def border_scale(self) -> np.ndarray:
        """E of each draw, shape (S, B)."""
        intercept = float(self.model_data.priors.sum_of_means.scale) / self.sigma
        return np.column_stack([intercept, np.sqrt(self.ratios[:, self.table.border_owner])])

    @property
    def num_draws(self) -> int:
        """Of the SDs."""
        return len(self.sigma)

    def core_noise(self, part: slice | np.ndarray, z: np.ndarray) -> np.ndarray:
        """Sigma F A' z at some of the draws, shape (draws, C)."""
        table, basis = self.table, self.basis[part]
        core_units = self.units(self.x[part])[:, 1:]
        terms, blocks = self._inverse_factor_blocks
        drawn = np.empty(z.shape)
        for position in range(len(table.core)):
            shared = np.sqrt(core_units * core_units[:, position, None])
            shared[:, position] = 1.0
            scaled = z * shared[:, table.core_owner].astype(np.float32)
            weighted = scaled[:, :, None] * basis[:, None, terms].astype(np.float32)
            weighted = weighted.reshape(len(z), -1)
            for columns, block in blocks[position]:
                drawn[:, columns] = weighted[:, columns.start * len(terms) :] @ block
        core_ratios = self.ratios[part][:, list(table.core)]
        drawn *= self.sigma[part, None] * np.sqrt(core_ratios)[:, table.core_owner]
        return drawn

    def core_mean(self, part: slice | np.ndarray, omega: np.ndarray) -> np.ndarray:
        """Y omega at some of the draws, shape (draws, C)."""
        products = np.einsum("st,sj->stj", self.basis[part], omega).reshape(len(omega), -1)
        mean = products @ self._core_mean_terms
        mean *= self.units(self.x[part])[:, 1:][:, self.table.core_owner]
        return mean

    @cached_property
    def _core_mean_terms(self) -> np.ndarray:
        """Terms of the means' series below each other, shape (nodes * (B + 1), C)."""
        owner = self.table.core_owner
        values = [node.core_mean.T / self.units(node.x)[1:][owner] for node in self.nodes]
        terms = self.terms(np.array(values))
        return terms.reshape(-1, terms.shape[-1])

    @cached_property
    def _inverse_factor_blocks(self) -> tuple[np.ndarray, list[list[tuple[slice, np.ndarray]]]]:
        """Terms of the inverse factor's series, and what they multiply, by blocks of columns.

        A block of columns of a lower triangular matrix begins at its own first row, and is of one
        core factor. The terms of each row lie below each other, so that one product sums over both.
        """
        # of noise, single precision is plenty: it errs by a millionth of the noise's SD
        owner = self.table.core_owner
        values = np.empty((len(self.nodes), len(owner), len(owner)), np.float32)
        for value, node in zip(values, self.nodes, strict=True):
            root = np.sqrt(self.units(node.x)[1:])[owner]
            shared = np.where(owner[:, None] == owner, 1.0, root[:, None] * root)
            value[:] = node.inverse_factor / shared
        terms = self.terms(values)
        sizes = np.maximum(terms.max((1, 2)), -terms.min((1, 2)))
        kept = np.flatnonzero(sizes > NEGLIGIBLE * sizes.max())
        blocks: list[list[tuple[slice, np.ndarray]]] = []
        for position in range(len(self.table.core)):
            first, last = np.searchsorted(owner, [position, position + 1])
            edges = np.linspace(first, last, COLUMN_BLOCKS + 1).astype(int)
            blocks.append([])
            for columns in itertools.starmap(slice, itertools.pairwise(edges)):
                below = terms[kept, columns.start :, columns].swapaxes(0, 1)
                blocks[-1].append((columns, below.reshape(-1, below.shape[-1])))
        return kept, blocks

    def terms(self, values: np.ndarray) -> np.ndarray:
        """Coefficients of the series through values at the nodes, which come first."""
        shaped = values.reshape(*self.shape, *values.shape[1:])
        return chebyshev.coefficients(shaped, len(self.shape)).reshape(values.shape)

    def by_factor(
        self, eliminated: np.ndarray, core: np.ndarray, border: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Cut the three blocks' last axes into factors."""
        table = self.table
        yield table.eliminated, eliminated
        for position, k in enumerate(table.core):
            yield k, core[..., table.core_owner == position]
        for k in table.border:
            yield k, border[..., 1:][..., table.border_owner == k]

    def core_variances(self, position: int, covariance: np.ndarray) -> np.ndarray:
        """Variances of a core factor's zero-sum effects, given the covariance of the core."""
        levels = self.table.core_owner == position
        block = covariance[np.ix_(levels, levels)]
        return centered_diagonal(np.diag(block), block.sum(1), block.sum())

    def core_variances_at(self, draws: np.ndarray, position: int) -> np.ndarray:
        """Variances of the noise of a core factor's effects at some draws, (draws, levels)."""
        variances = self.basis[draws] @ self._core_variance_terms[position]
        unit = self.units(self.x[draws])[:, 1 + position]
        return variances * (self.sigma[draws] ** 2 * unit)[:, None]

    @cached_property
    def _core_variance_terms(self) -> list[np.ndarray]:
        """Terms of the series of those variances, for each of the core, shape (nodes, levels)."""
        values: list[list[np.ndarray]] = [[] for _ in self.table.core]
        for node in self.nodes:
            root = node.inverse_factor * node.scale
            covariance = root.T @ root
            for position, unit in enumerate(self.units(node.x)[1:]):
                values[position].append(self.core_variances(position, covariance) / unit)
        return [self.terms(np.array(each)) for each in values]


def centered_diagonal(
    diagonal: np.ndarray, row: np.ndarray, total: float | np.ndarray
) -> np.ndarray:
    """Diagonal of C V C, C the centring matrix, from V's diagonal, V @ 1 and 1 @ V @ 1."""
    size = diagonal.shape[-1]
    return diagonal - 2.0 * row / size + total / size**2
