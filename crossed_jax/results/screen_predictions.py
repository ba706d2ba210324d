"""Prior and posterior predictive draws of the screen model, for each row of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crossed_jax.models.model import SHARE, Parts
from crossed_jax.models.screen.responses import CellRows, Drawn, simulated
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr

    from crossed_jax.tables.crossed_data import CrossedData


def cells_of_rows(
    codes: Sequence[np.ndarray], parts: Parts, fitted: xr.Dataset | None, names: Sequence[str]
) -> CellRows:
    """Find the cells that rows lie in, and what a fit has seen of them.

    Parameters
    ----------
    codes
        Of the rows' levels of each factor.
    parts
        Of the model.
    fitted
        The fit's group `interactions`; None if there is none, or nothing was fitted.
    names
        Of the factors, in the order of the codes.
    """
    gene, line = codes[parts.genes].astype(np.int64), codes[1 - parts.genes]
    number_of_lines = int(line.max()) + 1
    seen: dict[str, np.ndarray] = {}
    if fitted is not None:
        gene_name, line_name = names[parts.genes], names[1 - parts.genes]
        seen = {name: fitted[name].values for name in ("n", "raw_mean")}
        fitted_line = fitted[of_factor(line_name, "code")].values
        number_of_lines = max(number_of_lines, int(fitted_line.max()) + 1)
        place = fitted[of_factor(gene_name, "code")].values.astype(np.int64)
        place = place * number_of_lines + fitted_line
    cells, of_rows = np.unique(gene * number_of_lines + line, return_inverse=True)
    number, mean = np.zeros(len(cells)), np.zeros(len(cells))
    if seen:
        order = np.argsort(place)
        at = np.minimum(np.searchsorted(place, cells, sorter=order), len(place) - 1)
        at = order[at]
        known = place[at] == cells
        number[known], mean[known] = seen["n"][at[known]], seen["raw_mean"][at[known]]
    return CellRows(cells // number_of_lines, cells % number_of_lines, number, mean, of_rows)


def responses(
    rng: np.random.Generator,
    drawn: Mapping[str, np.ndarray],
    cells: CellRows,
    parts: Parts,
    names: Sequence[str],
) -> np.ndarray:
    """Simulate the response of each row from each draw.

    Parameters
    ----------
    rng
        Of the noise.
    drawn
        By name in the results, leading dimensions (chains, draws), levels last.
    cells
        What the rows lie in.
    parts, names
        Of the model, and of the factors.

    Returns
    -------
    ndarray
        Shape (chains, draws, rows).
    """
    gene, line = names[parts.genes], names[1 - parts.genes]
    fields = (  # in the order of `Drawn`, with what stands for a part that the model has not
        ("intercept", None),
        (of_factor(gene, "effect"), None),
        (of_factor(gene, "log_noise_sd"), 0.0),
        (of_factor(line, "effect"), None),
        (of_factor(line, "slope"), 1.0),
        (of_factor(line, "log_noise_sd"), 0.0),
        ("sigma", None),
        (SHARE, 0.0),
    )
    num_chains, num_draws = drawn["sigma"].shape
    found = np.empty((num_chains, num_draws, len(cells.of_rows)))
    for place in np.ndindex(num_chains, num_draws):
        one = (drawn[name][place] if name in drawn else absent for name, absent in fields)
        found[place] = simulated(rng, Drawn._make(one), cells)
    return found


def drawn_from_priors(
    rng: np.random.Generator,
    values: Mapping[str, np.ndarray],
    sds: Sequence[np.ndarray],
    means: Sequence[np.ndarray],
    data: CrossedData,
    parts: Parts,
) -> dict[str, Any]:
    """Draw all levels' quantities given draws of the scalars from their priors.

    They are by name, as :class:`~crossed_jax.models.parameterization.Parameterization` has them.

    Parameters
    ----------
    rng
        Of what is drawn.
    values
        Draws of sigma and the parts' own scalars, by name, shape (chains, draws).
    sds, means
        Draws of each factor's SD and of its mean; the intercept is the sum of the means.
    data
        Has the factors.
    parts
        Of the model.
    """
    gene, line = (data.factors[k] for k in (parts.genes, 1 - parts.genes))

    def normal(sd: np.ndarray, number: int) -> np.ndarray:
        return sd[..., None] * rng.standard_normal((*sd.shape, number))

    def centred(values: np.ndarray) -> np.ndarray:
        return values - values.mean(-1, keepdims=True)

    a = normal(sds[parts.genes], len(gene.levels))
    b = normal(sds[1 - parts.genes], len(line.levels))
    of_line = np.sum(means, 0)[..., None] + b
    slope = d = e = None
    if parts.slopes:
        log_slope = normal(values[of_factor(line.name, "log_slope_sd")], len(line.levels))
        slope = np.exp(centred(log_slope))
    if parts.line_noise:
        d = centred(normal(values[of_factor(line.name, "log_noise_sd_sd")], len(line.levels)))
    if parts.gene_noise:
        e = normal(values[of_factor(gene.name, "log_noise_sd_sd")], len(gene.levels))
    whole = of_line + (1.0 if slope is None else slope) * a.mean(-1, keepdims=True)
    return {
        "intercept": whole.mean(-1),
        "{factor}_effect": parts.by_factor(centred(a), centred(whole)),
        "{factor}_slope": parts.by_factor(None, slope),
        "{factor}_log_noise_sd": parts.by_factor(e, d),
        "{factor}_sd": tuple(sds),
        "{factor}_mean": parts.by_factor(None, np.sum(means, 0)),
        "{factor}_intercept": parts.by_factor(a, of_line),
        **values,
    }
