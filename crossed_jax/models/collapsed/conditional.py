r"""The effects of the collapsed form given draws of its SDs: solved at nodes, interpolated between.

With Y, A and D of :mod:`crossed_jax.models.collapsed.back_substitution`, Y and A are smooth
functions of the ratios, and the draws' ratios lie in a small box, so both are interpolated
elementwise from a few Chebyshev nodes on it, and a thousand draws are a few matrix products.

Towards an SD of zero all that belongs to its factor shrinks, and an error that is small beside the
largest draw would be large beside the smallest; and A has a branch point there, for its block of
two factors p and q is :math:`\sqrt{\rho_p\rho_q}` times what is smooth. So where the box comes
nearer to :math:`x_k = 0` than the singularities that the number of nodes allows for, the
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
from crossed_jax.models.collapsed.block_products import BlockProducts
from crossed_jax.models.collapsed.border import border_system
from crossed_jax.models.collapsed.density import ModelData
from crossed_jax.models.collapsed.elimination import Eliminated, factor_dense_block
from crossed_jax.models.collapsed.interpolation import DISTANCE, at_nodes
from crossed_jax.models.collapsed.parameterization import SDs

DENSE_TOLERANCE = 3e-5
TOLERANCE = 1e-8  # where there is no dense block, and nodes cost nothing
NEGLIGIBLE = 3e-6  # terms of the inverse factor's series below this part of the largest
COLUMN_BLOCKS = 4


@dataclass(frozen=True)
class Node:
    """The dense block solved at one node.

    Attributes
    ----------
    x
        Of the gridded factors, shape (gridded,).
    ratio
        Of the eliminated factor.
    dense_mean, inverse_factor, relative_sds
        Y, A and the diagonal of F.
    """

    x: np.ndarray
    ratio: float
    dense_mean: np.ndarray
    inverse_factor: np.ndarray
    relative_sds: np.ndarray

    @property
    def root(self) -> np.ndarray:
        """A F."""
        return self.inverse_factor * self.relative_sds

    @property
    def covariance(self) -> np.ndarray:
        """F S^-1 F, the covariance of the dense block given the border, over sigma^2."""
        root = self.root
        return root.T @ root


def solve_dense_block(
    products: BlockProducts, eliminated: Eliminated, dense_ratios: np.ndarray
) -> Node:
    """Solve the dense block at exact ratios."""
    ratio = eliminated.ratio
    x = np.log1p(products.kappa * np.append(ratio, dense_ratios))
    if not products.dense:
        return Node(x, ratio, eliminated.dense_sums, np.zeros((0, 0)), np.zeros(0))
    relative_sds, factor = factor_dense_block(products, eliminated, dense_ratios)
    inverse, _ = linalg.lapack.dtrtri(factor, lower=1, overwrite_c=1)
    sums = relative_sds[:, None] * eliminated.dense_sums
    mean = relative_sds[:, None] * (inverse.T @ (inverse @ sums))
    return Node(x, ratio, mean, inverse, relative_sds)


@dataclass(frozen=True)
class Conditional:
    """The effects' conditional posterior given each of many draws of the SDs."""

    products: BlockProducts
    model_data: ModelData
    sds: SDs

    @cached_property
    def sigma(self) -> np.ndarray:
        """Shape (S,), all chains' draws in a row."""
        return np.asarray(self.sds.sigma).ravel()

    @cached_property
    def ratios(self) -> np.ndarray:
        """sd^2/sigma^2 of each factor, shape (S, factors)."""
        factor_sds = np.asarray(self.sds.factor_sds).reshape(len(self.sigma), -1)
        return (factor_sds / self.sigma[:, None]) ** 2

    @cached_property
    def x(self) -> np.ndarray:
        """Where the draws lie in the interpolants' coordinates, shape (S, gridded)."""
        return np.log1p(self.products.kappa * self.ratios[:, self.products.gridded])

    @cached_property
    def box(self) -> np.ndarray:
        """The smallest box about the draws, with a little room, shape (gridded, 2)."""
        low, high = self.x.min(0), self.x.max(0)
        room = 1e-3 * (high - low) + 1e-9
        return np.stack([np.maximum(low - room, 0.0), high + room], axis=1)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Nodes along each axis of the box."""
        tolerance = DENSE_TOLERANCE if self.products.dense else TOLERANCE
        return tuple(
            chebyshev.num_nodes((high - low) / 2.0, DISTANCE, tolerance) for low, high in self.box
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
        return (self.box[:, 0] < DISTANCE) & (np.ptp(self.x, axis=0) > 0.0)

    @cached_property
    def nodes(self) -> list[Node]:
        """The dense block solved at each node."""
        return [
            solve_dense_block(self.products, eliminated, dense_ratios)
            for eliminated, dense_ratios in at_nodes(self.products, self.box, self.shape)
        ]

    @cached_property
    def border(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean of the border's coefficients, shape (S, B), and E L^-T, shape (S, B, B)."""
        log_ratios = np.log(self.ratios[:, self.products.gridded])
        condensed, _ = self.model_data.condensed.at(log_ratios)
        relative_sds = self.border_relative_sds
        matrix, score, _ = border_system(np.asarray(condensed.gram), relative_sds, self.shift)
        inverse = np.linalg.inv(np.linalg.cholesky(matrix))
        half = relative_sds[:, :, None] * inverse.swapaxes(1, 2)
        mean = np.einsum("sij,sjk,sk->si", half, inverse, score, optimize=True)
        return mean, half

    @property
    def shift(self) -> float:
        """How far the intercept's prior mean lies from the response's."""
        return float(self.model_data.priors.sum_of_means.loc) - self.products.mean

    @cached_property
    def border_relative_sds(self) -> np.ndarray:
        """E of each draw, shape (S, B)."""
        intercept = float(self.model_data.priors.sum_of_means.scale) / self.sigma
        return np.column_stack([intercept, np.sqrt(self.ratios[:, self.products.border_owner])])

    @property
    def num_draws(self) -> int:
        """Of the SDs."""
        return len(self.sigma)

    def dense_noise(self, part: slice | np.ndarray, z: np.ndarray) -> np.ndarray:
        """Sigma F A' z at some of the draws, shape (draws, C)."""
        products, basis = self.products, self.basis[part]
        dense_units = self.units(self.x[part])[:, 1:]
        terms, blocks = self._inverse_factor_blocks
        drawn = np.empty(z.shape)
        for position in range(len(products.dense)):
            shared = np.sqrt(dense_units * dense_units[:, position, None])
            shared[:, position] = 1.0
            scaled = z * shared[:, products.dense_owner].astype(np.float32)
            weighted = scaled[:, :, None] * basis[:, None, terms].astype(np.float32)
            weighted = weighted.reshape(len(z), -1)
            for columns, block in blocks[position]:
                drawn[:, columns] = weighted[:, columns.start * len(terms) :] @ block
        dense_ratios = self.ratios[part][:, list(products.dense)]
        drawn *= self.sigma[part, None] * np.sqrt(dense_ratios)[:, products.dense_owner]
        return drawn

    def dense_mean(self, part: slice | np.ndarray, omega: np.ndarray) -> np.ndarray:
        """Y omega at some of the draws, shape (draws, C)."""
        weighted = np.einsum("st,sj->stj", self.basis[part], omega).reshape(len(omega), -1)
        mean = weighted @ self._dense_mean_terms
        mean *= self.units(self.x[part])[:, 1:][:, self.products.dense_owner]
        return mean

    @cached_property
    def _dense_mean_terms(self) -> np.ndarray:
        """Terms of the means' series below each other, shape (nodes * (B + 1), C)."""
        owner = self.products.dense_owner
        values = [node.dense_mean.T / self.units(node.x)[1:][owner] for node in self.nodes]
        terms = self.terms(np.array(values))
        return terms.reshape(-1, terms.shape[-1])

    @cached_property
    def _inverse_factor_blocks(self) -> tuple[np.ndarray, list[list[tuple[slice, np.ndarray]]]]:
        """Terms of the inverse factor's series, and what they multiply, by blocks of columns.

        A block of columns of a lower triangular matrix begins at its own first row, and is of one
        factor. The terms of each row lie below each other, so that one product sums over both.
        """
        # of noise, single precision is plenty: it errs by a millionth of the noise's SD
        owner = self.products.dense_owner
        values = np.empty((len(self.nodes), len(owner), len(owner)), np.float32)
        for value, node in zip(values, self.nodes, strict=True):
            root = np.sqrt(self.units(node.x)[1:])[owner]
            shared = np.where(owner[:, None] == owner, 1.0, root[:, None] * root)
            value[:] = node.inverse_factor / shared
        terms = self.terms(values)
        sizes = np.maximum(terms.max((1, 2)), -terms.min((1, 2)))
        kept = np.flatnonzero(sizes > NEGLIGIBLE * sizes.max())
        blocks: list[list[tuple[slice, np.ndarray]]] = []
        for position in range(len(self.products.dense)):
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
        self, eliminated: np.ndarray, dense: np.ndarray, border: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Cut the three blocks' last axes into factors."""
        products = self.products
        yield products.eliminated, eliminated
        for position, k in enumerate(products.dense):
            yield k, dense[..., products.dense_owner == position]
        for k in products.border:
            yield k, border[..., 1:][..., products.border_owner == k]

    def dense_variances(self, position: int, covariance: np.ndarray) -> np.ndarray:
        """Variances of a dense factor's zero-sum effects, given the dense block's covariance."""
        levels = self.products.dense_owner == position
        block = covariance[np.ix_(levels, levels)]
        return centered_diagonal(np.diag(block), block.sum(1), block.sum())

    def dense_variances_at(self, draws: np.ndarray, position: int) -> np.ndarray:
        """Variances of the noise of a dense factor's effects at some draws, (draws, levels)."""
        variances = self.basis[draws] @ self._dense_variance_terms[position]
        unit = self.units(self.x[draws])[:, 1 + position]
        return variances * (self.sigma[draws] ** 2 * unit)[:, None]

    @cached_property
    def _dense_variance_terms(self) -> list[np.ndarray]:
        """Terms of the series of those variances, each of shape (nodes, levels)."""
        values: list[list[np.ndarray]] = [[] for _ in self.products.dense]
        for node in self.nodes:
            covariance = node.covariance
            for position, unit in enumerate(self.units(node.x)[1:]):
                values[position].append(self.dense_variances(position, covariance) / unit)
        return [self.terms(np.array(each)) for each in values]


def centered_diagonal(
    diagonal: np.ndarray, row: np.ndarray, total: float | np.ndarray
) -> np.ndarray:
    """Diagonal of C V C, C the centring matrix, from V's diagonal, V @ 1 and 1 @ V @ 1."""
    size = diagonal.shape[-1]
    return diagonal - 2.0 * row / size + total / size**2
