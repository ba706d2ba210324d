r"""Interactions of genes with guides, given draws of all that is not Gaussian.

Given a draw of the lines and of the gene's noise factor and share, with the gene's and its guides'
effects integrated out, the interaction of a gene in a line where its sets of guides have the
precisions :math:`\omega q_p`, sum h, about :math:`k \theta_p` is Normal,

.. math::
    \gamma \sim \mathrm{Normal}\Big(\frac{s}{1 + s h} \sum_p q_p (r_p - k \hat\theta_p),\
    \sqrt{\frac{s}{\omega (1 + s h)} + \Big(\frac{s k}{1 + s h}\Big)^2 q' \mathrm{cov}(\theta)\, q}
    \Big).

They are averaged over the draws as :mod:`crossed_jax.models.screen.interactions` says.
"""

from typing import NamedTuple

import jax.numpy as jnp

from crossed_jax.models.screen.density import shift_of
from crossed_jax.models.screen.guides.density import solve_lower, sums_of_genes
from crossed_jax.models.screen.guides.effects import Latent
from crossed_jax.models.screen.guides.lines import (
    GuideLines,
    inflation_of,
    log_ratio,
    of_lines,
    shares_of,
    z_of,
)
from crossed_jax.models.screen.guides.sets import weights_of_sets
from crossed_jax.models.screen.guides.sums import GeneSums
from crossed_jax.models.screen.guides.table import GuideStrata
from crossed_jax.models.screen.interactions import Interactions, Normals, summed_up
from crossed_jax.types import Array


class Drawn(NamedTuple):
    """Draws of what is not Gaussian, leading dimension (draws,)."""

    at: GuideLines
    latent: Latent


class _Means(NamedTuple):
    """Sets of guides side by side, shape (genes, lines, sets); zero where there is none.

    Attributes
    ----------
    stratum
        Of the cells.
    there
        Whether there are any.
    mean
        As that of the table's sets.
    guides
        Of the sets, shape (genes, sets).
    set
        Their places, likewise.
    """

    stratum: Array
    there: Array
    mean: Array
    guides: Array
    set: Array


def interactions(drawn: Drawn, strata: GuideStrata) -> Interactions:
    """Average the posteriors of all interactions over draws.

    Parameters
    ----------
    drawn
        The draws.
    strata
        The table.

    Returns
    -------
    Interactions
        Shape (genes, lines) each, genes in their own order; without meaning where there is no cell.
    """
    groups = _means(strata)

    def given(draw: Drawn) -> Normals:
        at, latent = draw
        v = jnp.exp(-2.0 * latent.noise)
        share = shares_of(at, latent.share).share
        found = []
        all_sums = sums_of_genes(at, strata, latent.share[None])
        for means, (some, sums) in zip(groups, all_sums, strict=True):
            given_sets = _with_several if sums.mean is None else _with_one_set
            found.append(given_sets(at, strata, means, sums, v[some], share[some]))
        residual, mean, sd = (jnp.concatenate(x)[place][None] for x in zip(*found, strict=True))
        return Normals(residual, mean, sd, jnp.ones((1, len(place), 1)))

    place = jnp.argsort(strata.gene)
    return summed_up(given, drawn)


def _means(strata: GuideStrata) -> list[_Means]:
    """Lay the sets out by line, of each group of genes."""
    sets, alone = strata.sets, strata.alone
    to_line = (strata.line[:, None] == jnp.arange(strata.location.shape[0])).astype(float)
    number = jnp.arange(1.0, len(strata.line) + 1.0)
    kind, mean = sets.seen @ (number[:, None] * to_line), sets.mean @ to_line
    stratum, seen = jnp.maximum(kind.astype(int) - 1, 0), kind > 0.0

    def of_group(of_genes: Array, guides: Array) -> _Means:
        stratum_of, seen_in, mean_in = (
            jnp.swapaxes(x[of_genes], 1, 2) for x in (stratum, seen, mean)
        )
        there = seen_in & (guides > 0.0)[:, None, :]
        return _Means(stratum_of, there, jnp.where(there, mean_in, 0.0), guides, of_genes)

    return [
        of_group(jnp.arange(alone)[:, None], sets.number[:alone, None])
        if ragged is None
        else of_group(ragged.set, ragged.guides)
        for _, ragged in strata.groups
    ]


def _q(at: GuideLines, strata: GuideStrata, means: _Means, share: Array) -> Array:
    """Precisions of the sets' means where the noise has variance one, shape of these."""
    z = z_of(at, strata.replicates)[means.stratum]
    weight = weights_of_sets(at, strata)[means.set][:, None]
    return jnp.where(means.there, weight / z, 0.0) / (1.0 - share)[:, None, None]


def _normals(
    at: GuideLines,
    strata: GuideStrata,
    means: _Means,
    v: Array,
    share: Array,
    effect: Array,
    variance: Array,
) -> tuple[Array, Array, Array]:
    """Residual, mean and SD, shape (genes, lines), given what sets have for effects.

    `effect` has the shape of the means, and `variance` is that of its sum weighted by q; in SDs of
    gene effects.
    """
    log_noise, slope, _ = of_lines(at)
    q = _q(at, strata, means, share)
    residual = means.mean - shift_of(at.lines, strata)[means.stratum]
    residual = (q * (residual - slope[:, None] * effect)).sum(-1)
    whole = q.sum(-1)
    shared = share[:, None] / (1.0 + share[:, None] * whole)
    noise = jnp.exp(2.0 * log_noise) / v[:, None]
    sd = jnp.sqrt(shared * noise + (shared * slope) ** 2 * variance)
    return residual / jnp.where(whole > 0.0, whole, 1.0), shared * residual, sd


def _with_one_set(
    at: GuideLines, strata: GuideStrata, means: _Means, sums: GeneSums, v: Array, share: Array
) -> tuple[Array, Array, Array]:
    inflation = inflation_of(at, means.guides[:, 0])
    x = v * sums.effects[0].precision[0]
    effect = jnp.sqrt(inflation) * x / (1.0 + x) * jnp.asarray(sums.mean)[0]
    q = _q(at, strata, means, share)[..., 0]
    variance = q**2 * (inflation / (1.0 + x))[:, None]
    return _normals(at, strata, means, v, share, effect[:, None, None], variance)


def _with_several(
    at: GuideLines, strata: GuideStrata, means: _Means, sums: GeneSums, v: Array, share: Array
) -> tuple[Array, Array, Array]:
    gram = [[entry[0] for entry in row] for row in sums.gram]
    _, solved = solve_lower(gram, [x[0] for x in sums.product], v)
    q = _q(at, strata, means, share)
    # a set's effect is its gene's and, times this, its own
    size = jnp.exp(log_ratio(at)) / jnp.sqrt(jnp.where(means.guides > 0.0, means.guides, 1.0))
    weights = [q.sum(-1), *jnp.moveaxis(size[:, None] * q, -1, 0)]
    in_rows = [[entry[:, None] for entry in row] for row in gram]
    _, spread = solve_lower(in_rows, weights, v[:, None])
    variance = sum((x**2 for x in spread), jnp.zeros(()))
    of_each = []
    for i in range(means.guides.shape[1]):
        to_set = [jnp.ones_like(v), *(size[:, j] * (i == j) for j in range(means.guides.shape[1]))]
        _, other = solve_lower(gram, to_set, v)
        inner = sum((x * y for x, y in zip(solved, other, strict=True)), jnp.zeros(()))
        of_each.append(v * inner)
    return _normals(at, strata, means, v, share, jnp.stack(of_each, -1)[:, None], variance)
