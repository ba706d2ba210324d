"""Whether the model fits the data, in words; whether its draws are to be trusted is another matter.

Of the additive model with Normal noise, which says most of the data
(:mod:`crossed_jax.statistics.adequacy`), and of the screen model, which may have noise of other
tails or widths (:mod:`crossed_jax.results.screen_scores`); Student-t noise is not looked at. A
departure is told if chance brings it about once in two hundred tables, and if it
is large enough to matter to somebody.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from crossed_jax.errors import shown
from crossed_jax.models.model import parts_of
from crossed_jax.results.tree import factor_names

if TYPE_CHECKING:
    import xarray as xr

CHANCE = 0.005
LEAST_SHARE = 0.02  # of what is left, that cells have in common
LEAST_SD = 0.05  # of logarithms of slopes, and of SDs of noise
LEAST_KURTOSIS = 0.5
LEAST_COVERAGE = 0.93


class Fits(NamedTuple):
    """Whether a model fits, as far as was looked.

    Attributes
    ----------
    fits
        None where nothing was looked at.
    misfits
        In what it does not, and what to do.
    """

    fits: bool | None
    misfits: tuple[str, ...]


def adequacy(tree: xr.DataTree) -> Fits:
    """Say in words what a table has against the model that was fitted to it.

    Parameters
    ----------
    tree
        A fit, with what was found in the attribute `adequacy`.
    """
    found = json.loads(tree.attrs.get("adequacy", "null"))
    if found is None:
        return Fits(None, ())
    names = factor_names(tree)
    sentences = [
        *_lack_of_fit(found["lack_of_fit"], names),
        *_slopes(found["slopes"], tree, names),
    ]
    parts = parts_of(tree.attrs, names)
    has = (False,) * len(names)
    if parts is not None:
        has = parts.by_factor(parts.gene_noise, parts.line_noise)
    uneven = [
        sentence
        for name, spread, has_noise in zip(names, found["spread"], has, strict=True)
        for sentence in (() if has_noise else _spread(spread, name, tree))
    ]
    sentences += uneven
    if sentences and parts is not None:
        sentences.append("the noise may differ by level: say so with noise_by=.")
    elif sentences and len(names) == 2:
        sentences.append("the screen model has all of these: fit model='screen'.")
    if not uneven:
        sentences += _tails(found, parts is not None)
    return Fits(not sentences, tuple(sentences))


def _told(departure: dict[str, Any] | None, least: float) -> bool:
    return departure is not None and departure["p"] < CHANCE and departure["size"] > least


def _lack_of_fit(departure: dict[str, Any] | None, names: list[str]) -> list[str]:
    if departure is None or not _told(departure, LEAST_SHARE):
        return []
    return [
        f"{departure['size']:.0%} of the variance that it takes for noise is an interaction of "
        f"{' and '.join(names)}: rows that share all levels have it in common."
    ]


def _slopes(departure: dict[str, Any] | None, tree: xr.DataTree, names: list[str]) -> list[str]:
    if departure is None or not _told(departure, LEAST_SD):
        return []
    first, second = names
    sizes = tree["constant_data"].sizes
    few, many = (first, second) if sizes[first] < sizes[second] else (second, first)
    return [
        f"levels of {few} differ in how strongly they show the effects of {many}: the logarithms "
        f"of their slopes have an SD of about {departure['size']:.2f}."
    ]


def _spread(spread: dict[str, Any] | None, name: str, tree: xr.DataTree) -> list[str]:
    if spread is None or not _told(spread["departure"], LEAST_SD):
        return []
    level = shown(tree["constant_data"].to_dataset()[name].values[spread["widest"]])
    told = (
        f"levels of {name} differ in their noise: the residuals of {level} are "
        f"{spread['ratio']:.1f} times as wide as the model thinks"
    )
    if spread["coverage"] < LEAST_COVERAGE:  # else a few rows are very far
        told += f", and its 95% intervals cover {spread['coverage']:.0%} of that level's rows"
    return [f"{told}."]


def _tails(found: dict[str, Any], is_screen: bool) -> list[str]:
    if not _told(found["tails"], LEAST_KURTOSIS):
        return []
    way_out = (
        "single values stray further than its intervals say, so look at the rows of a cell before "
        "you rest anything on it."
        if is_screen
        else "fit noise='student_t', which outliers do not move."
    )
    return [
        f"residuals have heavier tails than a Normal, {found['beyond_3_sd']:.1%} of them beyond 3 "
        f"SDs, where it has 0.3%: {way_out}"
    ]
