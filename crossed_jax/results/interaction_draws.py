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
from crossed_jax.models.screen.responses import interactions_given
from crossed_jax.results.interactions import require_interactions
from crossed_jax.results.screen_predictions import cells_at, draws_by_name
from crossed_jax.results.tree import factor_names, thinned
from crossed_jax.sampling.memory import most_draws_in_memory


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
    seed = seed_number(seed)
    names = factor_names(tree)
    posterior = thinned(tree["posterior"].to_dataset(), num_draws)
    codes = _codes(posterior, names, {} if levels is None else levels)
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    _check_memory(len(codes[0]) * len(codes[1]), shape[0] * shape[1])

    gene, line = names[parts.genes], names[1 - parts.genes]
    genes, lines = codes[parts.genes], codes[1 - parts.genes]
    cells = cells_at(tree, parts, np.repeat(genes, len(lines)), np.tile(lines, len(genes)))
    drawn = {str(name): values.to_numpy() for name, values in posterior.items()}
    mean, sd = np.empty((2, shape[0] * shape[1], len(genes), len(lines)))
    # cells are in the order of their codes
    order = np.argsort(np.argsort(genes))[:, None] * len(lines) + np.argsort(np.argsort(lines))
    for i, one in enumerate(draws_by_name(drawn, parts, names)):
        given = interactions_given(one, cells)
        mean[i], sd[i] = given.mean[order], given.sd[order]
    found = mean.reshape(*shape, len(genes), len(lines))
    sd = sd.reshape(found.shape)
    for i, code in enumerate(genes):
        for j, other in enumerate(lines):
            rng = np.random.default_rng([seed, code, other])
            found[:, :, i, j] += sd[:, :, i, j] * rng.standard_normal(shape)
    of_levels = posterior.isel({gene: genes, line: lines})
    coordinates = {name: of_levels.coords[name] for name in ("chain", "draw", gene, line)}
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


def _check_memory(num_cells: int, num_draws: int) -> None:
    most = most_draws_in_memory(2 * num_cells)  # means and SDs
    if most is not None and num_draws > most:
        raise InputError(
            f"{num_draws:,} draws of {num_cells:,} interactions do not fit into memory: ask for "
            "some levels, or for fewer draws with num_draws=."
        )
