r"""What each unit in a cell says of its interaction, such as a guide of a gene in a line.

An interaction is the gene's if its guides agree. Of each guide it is said how far the mean of its n
rows in the line is from what is expected of them without interaction, in SDs of what guide by line
effects and noise add to that, everything at its posterior mean:

.. math::
    z_{uc} = \frac{\bar y_{uc} - m - b_c - k_c (a_g + o_u)}
        {\sigma e^{d_c + e_g} \sqrt{(1 - s_g)(\pi + (1 - \pi)/n)}} .
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.models.model import NESTED_SHARE, SHARE, Parts
from crossed_jax.results.interactions import require_interactions
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr

    from crossed_jax.tables.crossed_data import CrossedData


def unit_evidence(tree: xr.DataTree, data: CrossedData) -> pl.DataFrame:
    """Tabulate what the units in each cell say by themselves of its interaction.

    Parameters
    ----------
    tree
        A fit of the screen model with nested units.
    data
        The table that was fitted.

    Returns
    -------
    polars.DataFrame
        A row per cell, in the order of `interactions`: its level of each factor and, of units that
        are called guide, `guide_seen` (how many have rows there), `guide_agreeing` (how many of
        these are on the side of the interaction's mean) and `guide_z` (text: how far each is from
        what is expected without interaction, in SDs, strongest first, with spaces between).

    Raises
    ------
    InputError
        If the fit has no nested units or no interactions, or the table is not the one fitted.
    """
    import polars as pl

    parts = require_interactions(tree, "unit_evidence")
    if parts.nested is None:
        raise InputError("unit_evidence: this fit has no units nested in a factor.")
    fitted = tree["interactions"].to_dataset()
    names = factor_names(tree)
    _require_table(tree, data, parts)
    assert data.nested is not None
    gene, line = (names[k] for k in (parts.genes, 1 - parts.genes))
    num_lines = len(data.factors[1 - parts.genes].levels)
    unit, of_line, z = _z_of_units(tree["posterior"].to_dataset(), data, parts)

    place = fitted[of_factor(gene, "code")].values.astype(np.int64) * num_lines
    place += fitted[of_factor(line, "code")].values
    order = np.argsort(place)
    of_units = data.nested.parent_of_unit[unit].astype(np.int64) * num_lines + of_line
    cell = order[np.searchsorted(place, of_units, sorter=order)]
    agrees = np.sign(z) == np.sign(fitted["mean"].values)[cell]
    rows = pl.DataFrame({"cell": cell, "z": z, "agrees": agrees})
    strongest_first = rows.sort(pl.col("z").abs(), descending=True, maintain_order=True)
    told = pl.col("z").map_elements(lambda x: f"{x:+.2f}", pl.String)
    by_cell = strongest_first.group_by("cell").agg(
        pl.len().alias(f"{parts.nested}_seen"),
        pl.col("agrees").sum().alias(f"{parts.nested}_agreeing"),
        told.str.join(" ").alias(f"{parts.nested}_z"),
    )
    levels = {
        factor.name: pl.Series(factor.levels).gather(fitted[of_factor(factor.name, "code")].values)
        for factor in data.factors
    }
    return pl.DataFrame(levels).hstack(by_cell.sort("cell").drop("cell"))


def _require_table(tree: xr.DataTree, data: CrossedData, parts: Parts) -> None:
    known = tree["posterior"].coords
    units = () if data.nested is None else (data.nested.units,)
    factors = {factor.name: factor.labels for factor in (*data.factors, *units)}
    for name in (*factor_names(tree), parts.nested):
        if name not in factors or known[name].values.tolist() != list(factors[name]):
            raise InputError(
                f"unit_evidence: {name} has other levels in this table than in the fit: give the "
                f"table that was fitted, read with nested='{parts.nested}'."
            )


def _z_of_units(
    posterior: xr.Dataset, data: CrossedData, parts: Parts
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The unit and line of each of their cells, and how far its mean is from its expectation."""
    assert data.nested is not None
    gene, line = data.factors[parts.genes], data.factors[1 - parts.genes]
    pairs = data.nested.units.codes.astype(np.int64) * len(line.levels) + line.codes
    found, of_rows = np.unique(pairs, return_inverse=True)
    unit, of_line = np.divmod(found, len(line.levels))
    of_gene = data.nested.parent_of_unit[unit]
    n = np.bincount(of_rows)
    offset = float(data.response.mean())
    mean = offset + np.bincount(of_rows, data.response - offset) / n

    def of(name: str, place: np.ndarray | None = None, absent: float = 0.0) -> np.ndarray:
        """Posterior means, in the cells."""
        if name not in posterior:
            return np.full(len(found), absent)
        values = posterior[name].mean(("chain", "draw")).values
        return values if place is None else values[place]

    effect = of(of_factor(gene.name, "effect"), of_gene)
    effect = effect + of(of_factor(data.nested.units.name, "effect"), unit)
    expected = of("intercept") + of(of_factor(line.name, "effect"), of_line)
    expected = expected + of(of_factor(line.name, "slope"), of_line, 1.0) * effect
    log_noise = of(of_factor(line.name, "log_noise_sd"), of_line)
    log_noise = log_noise + of(of_factor(gene.name, "log_noise_sd"), of_gene)
    share = (
        of(of_factor(gene.name, "interaction_share"), of_gene) if parts.gene_share else of(SHARE)
    )
    nested = of(NESTED_SHARE)
    variance = (1.0 - share) * (nested + (1.0 - nested) / n)
    return unit, of_line, (mean - expected) / (of("sigma") * np.exp(log_noise) * np.sqrt(variance))
