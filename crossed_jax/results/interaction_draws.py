"""Draws of interactions, exactly, from a posterior that integrated them out.

Given a draw of everything else cells are independent, and the interaction of each is Normal
(:mod:`crossed_jax.models.screen.responses`). They are drawn on request, as there are as many as
cells times draws. Each cell has a stream of random numbers of its own, so that those of levels
asked for one after the other go together as if they had been asked for at once.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from crossed_jax.arguments import seed_number
from crossed_jax.errors import InputError, told
from crossed_jax.models.model import SHARE, require_no_units
from crossed_jax.models.screen.responses import interaction_given
from crossed_jax.results.interactions import require_interactions
from crossed_jax.results.tree import factor_names, thinned
from crossed_jax.sampling.memory import most_draws_in_memory
from crossed_jax.tables.names import FactorQuantity, of_factor


def interaction_draws(
    tree: xr.DataTree,
    levels: Mapping[str, str | Sequence[str]] | None = None,
    *,
    num_draws: int | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Draw the interactions of some levels, jointly with all else that the fit has drawn.

    Parameters
    ----------
    tree
        A fit of the screen model, with interactions.
    levels
        For factors by name, the level or levels wanted, such as ``{"gene": ["TP53", "MYC"]}``; of
        a factor that is not named, all.
    num_draws
        Posterior draws to use of each chain, evenly spaced; all by default.
    seed
        Of the random draws. Those of a cell do not depend on which others are asked for.

    Returns
    -------
    xarray.DataArray
        Dimensions chain, draw and the two factors, in the response's unit; of a cell without rows
        the interaction that it would have.

    Raises
    ------
    InputError
        If the model had no interaction, a factor or level was not fitted, or the draws would not
        fit into memory.
    """
    parts = require_interactions(tree, "interaction_draws")
    require_no_units(parts, "interaction_draws")
    seed = seed_number(seed)
    names = factor_names(tree)
    posterior = thinned(tree["posterior"].to_dataset(), num_draws)
    codes = _codes(posterior, names, {} if levels is None else levels)
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    _check_memory(len(codes[0]) * len(codes[1]), shape[0] * shape[1])

    gene, line = names[parts.genes], names[1 - parts.genes]
    genes, lines = codes[parts.genes], codes[1 - parts.genes]
    number, mean = (x.T if parts.genes else x for x in _seen(tree, names, codes))
    drawn = posterior.isel({gene: genes, line: lines})

    def by_level(factor: str, quantity: FactorQuantity, absent: float) -> np.ndarray:
        """Shape (chains, draws, levels)."""
        name = of_factor(factor, quantity)
        if name in drawn:
            return drawn[name].transpose("chain", "draw", factor).to_numpy()
        return np.full((1, 1, drawn.sizes[factor]), absent)

    effect, log_noise = by_level(gene, "effect", 0.0), by_level(gene, "log_noise_sd", 0.0)
    slope, line_log_noise = by_level(line, "slope", 1.0), by_level(line, "log_noise_sd", 0.0)
    intercept, sigma, share = (
        drawn[name].to_numpy()[..., None] for name in ("intercept", "sigma", SHARE)
    )
    at_mean_gene = intercept + by_level(line, "effect", 0.0)
    line_sd = sigma * np.exp(line_log_noise)
    found = np.empty((*shape, len(genes), len(lines)))
    for i, code in enumerate(genes):  # one in memory at a time
        residual = mean[i] - (at_mean_gene + slope * effect[..., i, None])
        variance = (line_sd * np.exp(log_noise[..., i, None])) ** 2
        location, sd = interaction_given(share, variance, number[i], residual)
        for j, other in enumerate(lines):
            rng = np.random.default_rng([seed, code, other])
            found[:, :, i, j] = location[..., j] + sd[..., j] * rng.standard_normal(shape)
    coordinates = {name: drawn.coords[name] for name in ("chain", "draw", gene, line)}
    array = xr.DataArray(found, coordinates, ("chain", "draw", gene, line), "interaction")
    return array.transpose("chain", "draw", *names)


def _codes(
    posterior: xr.Dataset, names: Sequence[str], levels: Mapping[str, str | Sequence[str]]
) -> list[np.ndarray]:
    """Codes of the levels that are asked for, by factor, each once."""
    for name in levels:
        if name not in names:
            raise InputError(f"the fit has no factor {told(name)}: name {' or '.join(names)}.")
    found = []
    for name in names:
        fitted = posterior.indexes[name]
        wanted = levels.get(name, list(fitted))
        wanted = list(dict.fromkeys([wanted] if isinstance(wanted, str) else wanted))
        codes = fitted.get_indexer(wanted)
        if not wanted:
            raise InputError(f"no level of {name} is asked for: name some, or leave it out.")
        if (codes < 0).any():
            unknown = told(wanted[int(np.argmin(codes))])
            raise InputError(f"the fit has no level {unknown} of {name}: ask for those it has.")
        found.append(codes)
    return found


def _seen(
    tree: xr.DataTree, names: Sequence[str], codes: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of each cell and their mean response, zero where it has none; a dimension a factor."""
    cells = tree["interactions"].to_dataset()
    at = []
    for name, chosen in zip(names, codes, strict=True):
        place = np.full(tree["posterior"].sizes[name], -1)
        place[chosen] = np.arange(len(chosen))
        at.append(place[cells[of_factor(name, "code")].to_numpy()])
    kept = (at[0] >= 0) & (at[1] >= 0)
    number, mean = np.zeros((2, len(codes[0]), len(codes[1])))
    for matrix, name in ((number, "n"), (mean, "raw_mean")):
        matrix[at[0][kept], at[1][kept]] = cells[name].to_numpy()[kept]
    return number, mean


def _check_memory(num_cells: int, num_draws: int) -> None:
    most = most_draws_in_memory(num_cells)
    if most is not None and num_draws > most:
        raise InputError(
            f"{num_draws:,} draws of {num_cells:,} interactions do not fit into memory: ask for "
            "some levels, or for fewer draws with num_draws=."
        )
