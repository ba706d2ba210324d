r"""Genes and guides given draws of the lines: drawn exactly, and genes' effects without drawing.

A gene's noise factor and share have a density that is known up to a constant
(:mod:`crossed_jax.models.screen.guides.density`). Both are drawn from the nodes of the quadrature
and moved by some steps of an independence sampler about them
(:mod:`crossed_jax.models.screen.genes`). Given these, the effects of a gene and its guides are
Normal: the mean :math:`a_g + \bar o` of a gene with one set of guides, the parts of which are

.. math::
    a_g \mid a_g + \bar o \sim \mathrm{Normal}\Big(\frac{a_g + \bar o}{f},\
    \sigma_a \sqrt{1 - 1/f}\Big), \qquad f = 1 + \frac{\sigma_o^2}{U \sigma_a^2} ,

and the guides' deviations from it, which sum to zero.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from crossed_jax.models.distributions import Normal
from crossed_jax.models.screen.genes import MOVES, SMALLEST, Given, student_t, variance_of_zero_sum
from crossed_jax.models.screen.genes import zero_sum as zero_sum_effects
from crossed_jax.models.screen.guides.density import (
    GuideRules,
    log_given_noise,
    log_joint,
    mode_and_width,
    noise_nodes,
    share_nodes,
    solve_lower,
    sums_of_genes,
)
from crossed_jax.models.screen.guides.lines import (
    GuideLines,
    inflation_of,
    log_ratio,
    of_lines,
    shares_of,
    z_of,
)
from crossed_jax.models.screen.guides.sets import set_sums
from crossed_jax.models.screen.guides.sums import GeneSums
from crossed_jax.models.screen.guides.table import GuideStrata
from crossed_jax.types import Array

# beyond them no digits are left for what is small
FARTHEST = 35.0  # logit of a share
LARGEST_LOG_NOISE = 10.0


class Latent(NamedTuple):
    """What is not Gaussian of each gene, in the order of the table laid out, shape (genes,).

    Attributes
    ----------
    share
        Logit of its share.
    noise
        Logarithm of its noise factor.
    """

    share: Array
    noise: Array


class WithGuides(NamedTuple):
    """What was drawn given a draw of the lines.

    Attributes
    ----------
    given
        As without guides.
    guide
        Effects of guides about their genes, in the response's unit, shape (guides,).
    latent
        What is not Gaussian of the genes.
    """

    given: Given
    guide: Array
    latent: Latent


def effects_given_lines(
    key: jax.Array, at: GuideLines, strata: GuideStrata, rules: GuideRules
) -> WithGuides:
    """Draw genes and guides given a draw of the lines, and give the moments of gene effects.

    Parameters
    ----------
    key
        Of what is drawn.
    at
        A draw of the lines.
    strata, rules
        As for the likelihood.
    """
    of_latent, of_effects = jax.random.split(key)
    nodes = _nodes(at, strata, rules)
    means, variances, mean_e, variance_e = _moments(at, strata, nodes)
    latent = _draw_latent(of_latent, at, strata, nodes)
    gene, guide = _draw_effects(of_effects, at, strata, latent)
    gene_sd = jnp.exp(at.lines.log_slope.mean())
    slope = jnp.exp(at.lines.log_slope) / gene_sd * jnp.ones_like(at.lines.location)
    place = jnp.argsort(strata.gene)
    noise = None if at.lines.log_gene_noise is None else latent.noise[place]
    location = at.lines.location
    given = Given(
        zero_sum_effects(gene_sd * gene[place], noise, location, slope),
        zero_sum_effects(gene_sd * means[place], _in(mean_e, place), location, slope),
        variance_of_zero_sum(gene_sd**2 * variances[place], _in(variance_e, place), slope),
    )
    return WithGuides(given, guide, latent)


def _in(values: Array | None, place: Array) -> Array | None:
    return None if values is None else values[place]


class _Nodes(NamedTuple):
    """Of the quadrature, of a group of genes.

    Attributes
    ----------
    place
        Of these genes.
    sums
        At the nodes of the shares.
    share
        Shape (shares, genes).
    noise, probability
        Shape (noise nodes, shares, genes).
    """

    place: slice
    sums: GeneSums
    share: Array
    noise: Array
    probability: Array


def _nodes(at: GuideLines, strata: GuideStrata, rules: GuideRules) -> list[_Nodes]:
    logit, log_weights = share_nodes(at, rules)
    found = []
    for some, sums in sums_of_genes(at, strata, logit):
        noise, log_probability = noise_nodes(sums, at, rules.noise)
        log_probability += log_weights[:, some]
        total = jax.nn.logsumexp(log_probability, (0, 1))
        probability = jnp.exp(log_probability - total)
        found.append(_Nodes(some, sums, logit[:, some], noise, probability))
    return found


def _moments(
    at: GuideLines, strata: GuideStrata, nodes: list[_Nodes]
) -> tuple[Array, Array, Array | None, Array | None]:
    """Means and variances of the genes' effects, in SDs of these, and of their log noise."""
    found = []
    for of_some in nodes:
        v = jnp.exp(-2.0 * of_some.noise)
        inflation = inflation_of(at, strata.genes.guides[of_some.place])
        mean, variance = _effect(of_some.sums, v, inflation)
        p = of_some.probability
        overall = (p * mean).sum((0, 1))
        spread = (p * (variance + (mean - overall) ** 2)).sum((0, 1))
        e = (p * of_some.noise).sum((0, 1))
        found.append((overall, spread, e, (p * (of_some.noise - e) ** 2).sum((0, 1))))
    mean, variance, mean_e, variance_e = (jnp.concatenate(x) for x in zip(*found, strict=True))
    if at.lines.log_gene_noise is None:
        return mean, variance, None, None
    return mean, variance, mean_e, variance_e


def _effect(sums: GeneSums, v: Array, inflation: Array) -> tuple[Array, Array]:
    """Mean and variance of genes' effects, in SDs of these, given noise factors and shares."""
    if sums.mean is not None:
        x = v * sums.effects[0].precision
        mean = x / (1.0 + x) * sums.mean / jnp.sqrt(inflation)
        return mean, 1.0 - x / (1.0 + x) / inflation
    _, solved = solve_lower(sums.gram, sums.product, v)
    first = [jnp.ones_like(v)] + [jnp.zeros_like(v)] * (len(solved) - 1)
    _, unit = solve_lower(sums.gram, first, v)
    mean = sum((x * y for x, y in zip(solved, unit, strict=True)), jnp.zeros(()))
    return v * mean, sum((x**2 for x in unit), jnp.zeros(()))


def _draw_latent(
    key: jax.Array, at: GuideLines, strata: GuideStrata, nodes: list[_Nodes]
) -> Latent:
    """Draw what is not Gaussian of each gene given its rows."""
    of_start, of_moves = jax.random.split(key)
    starts = [_start(jax.random.fold_in(of_start, i), of_some) for i, of_some in enumerate(nodes)]
    latent = jax.tree.map(lambda *x: jnp.concatenate(x), *(start for start, *_ in starts))
    center, width = (jnp.concatenate(x) for x in zip(*(rest for _, *rest in starts), strict=True))
    tau = None if at.lines.log_gene_noise is None else jnp.exp(at.lines.log_gene_noise)

    def log_weight(share: Array, noise: Array, *, in_widths: bool) -> tuple[Array, Array]:
        """Log-density over that of the proposals, and the noise: as given, or as proposed.

        Proposals are Student-t with two degrees of freedom: of the share about its mean, and of
        the noise, in widths, about its mode given that.
        """
        found: list[tuple[Array, Array]] = []
        for some, sums in sums_of_genes(at, strata, share[None]):
            if tau is None:
                none = jnp.zeros_like(share[some])
                found.append((log_given_noise(sums, jnp.zeros(()))[0], none))
                continue
            mode, spread = (x[0] for x in mode_and_width(sums, tau))
            e = mode + spread * noise[some] if in_widths else noise[some]
            of_noise = 1.5 * jnp.log1p(0.5 * ((e - mode) / spread) ** 2) + jnp.log(spread)
            density = log_joint(sums, tau, e[None])[0] + of_noise
            found.append((jnp.where(jnp.abs(e) < LARGEST_LOG_NOISE, density, -jnp.inf), e))
        density, e = (jnp.concatenate(x) for x in zip(*found, strict=True))
        if at.lines.logit_share is not None and at.log_share_sd is not None:
            prior = Normal(at.lines.logit_share, jnp.exp(at.log_share_sd))
            density += prior.log_prob(share)
            density += 1.5 * jnp.log1p(0.5 * ((share - center) / width) ** 2)
            density = jnp.where(jnp.abs(share) < FARTHEST, density, -jnp.inf)
        return density, e

    def move(state: Any, key: jax.Array) -> tuple[Any, None]:
        latent, weight = state
        of_share, of_noise, of_choice = jax.random.split(key, 3)
        share = latent.share
        if at.log_share_sd is not None:
            share = center + width * student_t(of_share, share.shape)
        z = student_t(of_noise, share.shape)
        proposed, e = log_weight(share, z, in_widths=True)
        accept = jnp.log(jax.random.uniform(of_choice, share.shape)) < proposed - weight
        moved = (Latent(share, e), proposed), (latent, weight)
        return jax.tree.map(lambda new, old: jnp.where(accept, new, old), *moved), None

    first = log_weight(latent.share, latent.noise, in_widths=False)[0]
    moved, _ = jax.lax.scan(move, (latent, first), jax.random.split(of_moves, MOVES))
    return moved[0]


def _start(key: jax.Array, nodes: _Nodes) -> tuple[Latent, Array, Array]:
    """Draw a node of each gene's; and give the share's mean and SD."""
    num_shares, num_genes = nodes.share.shape
    p = nodes.probability.reshape(-1, num_genes)
    place = (jax.random.uniform(key, (num_genes,)) > jnp.cumsum(p, 0)).sum(0)
    place = jnp.minimum(place, p.shape[0] - 1)[None]
    noise = jnp.take_along_axis(nodes.noise.reshape(p.shape), place, 0)[0]
    share = jnp.take_along_axis(nodes.share, place % num_shares, 0)[0]
    of_share = nodes.probability.sum(0)
    mean = (of_share * nodes.share).sum(0)
    variance = (of_share * (nodes.share - mean) ** 2).sum(0)
    return Latent(share, noise), mean, jnp.sqrt(jnp.maximum(variance, SMALLEST))


def _draw_effects(
    key: jax.Array, at: GuideLines, strata: GuideStrata, latent: Latent
) -> tuple[Array, Array]:
    """Draw genes' effects, in SDs of these and laid out, and guides' in the response's unit."""
    v = jnp.exp(-2.0 * latent.noise)
    of_means, of_parts, of_several, of_guides = jax.random.split(key, 4)
    guide_sd = jnp.exp(log_ratio(at))  # in SDs of gene effects
    genes: list[Array] = []
    of_sets = jnp.zeros(strata.sets.number.shape[0])
    all_sums = sums_of_genes(at, strata, latent.share[None])
    groups = zip(strata.groups, all_sums, strict=True)
    for i, ((some, ragged), (_, sums)) in enumerate(groups):
        if ragged is not None:
            z = _draw_jointly(jax.random.fold_in(of_several, i), sums, v[some])
            genes.append(z[0])
            number = jnp.moveaxis(ragged.guides, 1, 0)
            there = number > 0.0
            effect = guide_sd * z[1:] / jnp.sqrt(jnp.where(there, number, 1.0))
            sets = jnp.where(there, jnp.moveaxis(ragged.set, 1, 0), of_sets.shape[0])
            of_sets = of_sets.at[sets].set(effect, mode="drop")
            continue
        inflation = inflation_of(at, strata.genes.guides[some])
        x = v[some] * sums.effects[0].precision[0]
        both = x / (1.0 + x) * jnp.asarray(sums.mean)[0]
        both += jax.random.normal(of_means, x.shape) / jnp.sqrt(1.0 + x)
        both *= jnp.sqrt(inflation)
        gene = both / inflation
        gene += jnp.sqrt(1.0 - 1.0 / inflation) * jax.random.normal(of_parts, x.shape)
        genes.append(gene)
        of_sets = of_sets.at[some].set(both - gene)
    deviations = _draw_deviations(of_guides, at, strata, latent)
    whole = of_sets[strata.sets.set_of_guide] + guide_sd * deviations
    return jnp.concatenate(genes), jnp.exp(at.lines.log_slope.mean()) * whole


def _draw_jointly(key: jax.Array, sums: GeneSums, v: Array) -> Array:
    """Draw the effects of genes and of their sets, in SDs of these, shape (effects, genes)."""
    size = len(sums.product)
    noise = jax.random.normal(key, (size, *v.shape))
    factor, solved = solve_lower(
        [[entry[0] for entry in row] for row in sums.gram], [x[0] for x in sums.product], v
    )
    drawn: list[Array] = [jnp.zeros(())] * size
    for i in reversed(range(size)):
        inner = sum((factor[j][i] * drawn[j] for j in range(i + 1, size)), jnp.zeros(()))
        drawn[i] = (v * solved[i] + noise[i] - inner) / factor[i][i]
    return jnp.stack(drawn)


def _draw_deviations(key: jax.Array, at: GuideLines, strata: GuideStrata, latent: Latent) -> Array:
    """Draw guides' effects less those of their sets, in SDs of guides' effects, shape (guides,)."""
    sets = strata.sets
    log_noise, _, slope = (x[strata.line] for x in of_lines(at))
    weight = jnp.exp(-2.0 * log_noise) * slope / z_of(at, strata.replicates)
    rest = shares_of(at, latent.share).rest
    scale = (jnp.exp(-2.0 * latent.noise) / rest)[sets.gene]
    precision = 1.0 + scale * set_sums(at, strata).deviations.precision
    of_guide = sets.set_of_guide
    mean = (scale / precision)[of_guide] * (sets.deviations @ weight)
    noise = jax.random.normal(key, mean.shape)
    of_sets = jax.ops.segment_sum(noise, of_guide, sets.number.shape[0]) / sets.number
    return mean + (noise - of_sets[of_guide]) / jnp.sqrt(precision)[of_guide]
