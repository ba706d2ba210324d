r"""Levels that were not fitted, drawn from the population of those that were.

A new level of a factor has the intercept :math:`\alpha^* \sim \mathrm{Normal}(\mu, \sigma)`, and
its effect is how far that is from the mean of those fitted, :math:`\alpha^* - \bar\alpha`; what
the sum-to-zero form integrated out, :math:`\mu` and :math:`\bar\alpha`, is drawn back first
(:mod:`crossed_jax.results.original_coordinates`).

In the screen model a new gene has :math:`a^* \sim \mathrm{Normal}(0, \sigma_a)`, and its noise and
its share of interaction likewise. A new line has :math:`\beta^* \sim \mathrm{Normal}(m, \sigma_b)`.
Its slope is relative to the geometric mean of the C that were fitted, which had the same
population, and so is its noise:

.. math::
    \log k^* \sim \mathrm{Normal}\big(0, \sigma_k \sqrt{1 + 1/C}\big), \qquad
    b^* = \beta^* + k^* \bar a - \mathrm{intercept} .

A new guide has an effect beside its gene's and noise of its own, Normal(0, their SD) each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossed_jax.models.model import SHARE
from crossed_jax.results.original_coordinates import original_coordinates
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr

    from crossed_jax.models.screen.parts import Parts

type Draws = dict[str, np.ndarray]


def with_new_levels(
    rng: np.random.Generator,
    tree: xr.DataTree,
    names: Sequence[str],
    parts: Parts | None,
    number: Mapping[str, int],
) -> Draws:
    """Give the draws of a fit, those of new levels after the fitted ones.

    Parameters
    ----------
    rng
        Of what is drawn.
    tree
        The fit.
    names, parts
        Of its factors, and of the screen model; None for the additive one.
    number
        Of new levels, by factor and by what is nested in one.

    Returns
    -------
    dict
        By name in the results, leading dimensions (chains, draws), levels last.
    """
    if any(number[name] for name in names):
        tree = original_coordinates(tree, seed=int(rng.integers(2**63)))  # a stream of its own
    drawn = {
        str(name): values.transpose("chain", "draw", ...).to_numpy()
        for name, values in tree["posterior"].to_dataset().items()
    }
    extended = dict(drawn)
    for name, n in number.items():
        if not n:
            continue
        if name not in names:
            new = _units(rng, drawn, name, n)
        elif parts is None:
            new = _effects(rng, drawn, name, n)
        elif name == names[parts.genes]:
            new = _genes(rng, drawn, name, n)
        else:
            new = _lines(rng, drawn, names[parts.genes], name, n)
        for quantity, values in new.items():
            extended[quantity] = np.concatenate([drawn[quantity], values], -1)
    return extended


def _normal(rng: np.random.Generator, sd: np.ndarray, number: int) -> np.ndarray:
    return sd[..., None] * rng.standard_normal((*sd.shape, number))


def _effects(rng: np.random.Generator, drawn: Draws, factor: str, number: int) -> Draws:
    """Of a factor of the additive model."""
    mean = drawn[of_factor(factor, "intercept")].mean(-1)
    new = _normal(rng, drawn[of_factor(factor, "sd")], number)
    new += (drawn[of_factor(factor, "mean")] - mean)[..., None]
    return {of_factor(factor, "effect"): new}


def _units(rng: np.random.Generator, drawn: Draws, name: str, number: int) -> Draws:
    """Of what is nested in a factor."""
    new = {of_factor(name, "effect"): _normal(rng, drawn[of_factor(name, "sd")], number)}
    if (noise := of_factor(name, "log_noise_sd")) in drawn:
        new[noise] = _normal(rng, drawn[of_factor(name, "log_noise_sd_sd")], number)
    return new


def _genes(rng: np.random.Generator, drawn: Draws, gene: str, number: int) -> Draws:
    mean = drawn[of_factor(gene, "intercept")].mean(-1, keepdims=True)
    new = {of_factor(gene, "effect"): _normal(rng, drawn[of_factor(gene, "sd")], number) - mean}
    if (noise := of_factor(gene, "log_noise_sd")) in drawn:
        new[noise] = _normal(rng, drawn[of_factor(gene, "log_noise_sd_sd")], number)
    if (share := of_factor(gene, "interaction_share")) in drawn:
        logit = np.log(drawn[SHARE] / (1.0 - drawn[SHARE]))[..., None]
        logit = logit + _normal(rng, drawn[of_factor(gene, "logit_share_sd")], number)
        new[share] = 1.0 / (1.0 + np.exp(-logit))
    return new


def _lines(rng: np.random.Generator, drawn: Draws, gene: str, line: str, number: int) -> Draws:
    wider = np.sqrt(1.0 + 1.0 / drawn[of_factor(line, "effect")].shape[-1])
    new: Draws = {}
    slope: np.ndarray | float = 1.0
    if (name := of_factor(line, "slope")) in drawn:
        log_slope = _normal(rng, wider * drawn[of_factor(line, "log_slope_sd")], number)
        new[name] = slope = np.exp(log_slope)
    if (name := of_factor(line, "log_noise_sd")) in drawn:
        new[name] = _normal(rng, wider * drawn[of_factor(line, "log_noise_sd_sd")], number)
    gene_mean = drawn[of_factor(gene, "intercept")].mean(-1, keepdims=True)
    own = drawn[of_factor(line, "mean")][..., None]
    own = own + _normal(rng, drawn[of_factor(line, "sd")], number)
    new[of_factor(line, "effect")] = own + slope * gene_mean - drawn["intercept"][..., None]
    return new
