r"""What each unit in a cell says of its interaction, such as a guide of a gene in a line.

An interaction is the gene's if its guides agree. Of each guide it is said how far the mean of its n
rows in the line is from what is expected of them without interaction, in SDs of what guide by line
effects and noise add to that, everything at its posterior mean:

.. math::
    z_{uc} = \frac{\bar y_{uc} - m - b_c - k_c (a_g + o_u)}
        {\sigma e^{d_c + e_g + f_u} \sqrt{(1 - s_g)(\pi + (1 - \pi)/n)}} .
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.models.model import NESTED_SHARE, SHARE, Parts, units_by_lines
from crossed_jax.results.fitted_table import require_fitted_table
from crossed_jax.results.interactions import require_interactions
from crossed_jax.statistics.cells import Cells, cell_of_row, cells_of
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    import xarray as xr

    from crossed_jax.tables.crossed_data import CrossedData


def unit_evidence(
    tree: xr.DataTree, data: CrossedData, cells: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Tabulate what the units in each cell say by themselves of its interaction.

    Parameters
    ----------
    tree
        A fit of the screen model with nested units.
    data
        The table that was fitted.
    cells
        Rows of `interactions` whose evidence is wanted; all if None.

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
    require_fitted_table(tree, data, "unit_evidence")
    assert data.nested is not None
    units = cells_of(units_by_lines(data, parts))
    unit, line = units.codes.T
    fitted = tree["interactions"].to_dataset()
    codes = [fitted[of_factor(factor.name, "code")].values for factor in data.factors]
    of_units = parts.by_factor(data.nested.parent_of_unit[unit], line)
    # cells are in the order of their codes
    cell = np.searchsorted(_numbered(codes, data), _numbered(of_units, data))
    z = _z(tree["posterior"].to_dataset(), units, data, parts)
    agrees = np.sign(z) == np.sign(fitted["mean"].values)[cell]

    levels = {
        factor.name: pl.Series(factor.levels).gather(code)
        for factor, code in zip(data.factors, codes, strict=True)
    }
    wanted = pl.DataFrame(levels).with_row_index("cell")
    if cells is not None:
        wanted = wanted.join(cells, on=data.factor_names, how="semi", maintain_order="left")
    rows = pl.DataFrame({"cell": cell.astype(np.uint32), "z": z, "agrees": agrees})
    rows = rows.join(wanted, on="cell", how="semi")
    strongest_first = rows.sort(pl.col("z").abs(), descending=True, maintain_order=True)
    told = pl.col("z").map_elements(lambda x: f"{x:+.2f}", pl.String)
    by_cell = strongest_first.group_by("cell").agg(
        pl.len().alias(f"{parts.nested}_seen"),
        pl.col("agrees").sum().alias(f"{parts.nested}_agreeing"),
        told.str.join(" ").alias(f"{parts.nested}_z"),
    )
    return wanted.join(by_cell, on="cell", maintain_order="left").drop("cell")


def _numbered(codes: Sequence[np.ndarray], data: CrossedData) -> np.ndarray:
    """Number cells by the codes of both factors."""
    return codes[0].astype(np.int64) * len(data.factors[1].levels) + codes[1]


def _z(posterior: xr.Dataset, units: Cells, data: CrossedData, parts: Parts) -> np.ndarray:
    """How far the mean of each unit in each line is from its expectation, in SDs.

    Where samples have effects, the expectation holds those of its rows.
    """
    assert data.nested is not None
    gene, line = data.factors[parts.genes].name, data.factors[1 - parts.genes].name
    unit, of_line = units.codes.T
    of_gene = data.nested.parent_of_unit[unit]

    def of(name: str, place: np.ndarray | None = None, absent: float = 0.0) -> np.ndarray:
        """Posterior means, as gathered."""
        if name not in posterior:
            return np.full(len(unit), absent)
        values = posterior[name].mean(("chain", "draw")).values
        return values if place is None else values[place]

    effect = of(of_factor(gene, "effect"), of_gene)
    effect = effect + of(of_factor(data.nested.units.name, "effect"), unit)
    expected = of("intercept") + of(of_factor(line, "effect"), of_line)
    expected = expected + of(of_factor(line, "slope"), of_line, 1.0) * effect
    log_noise = of(of_factor(line, "log_noise_sd"), of_line)
    log_noise = log_noise + of(of_factor(gene, "log_noise_sd"), of_gene)
    log_noise = log_noise + of(of_factor(data.nested.units.name, "log_noise_sd"), unit)
    of_genes = of_factor(gene, "interaction_share")
    share = of(of_genes, of_gene) if parts.gene_share else of(SHARE)
    nested = of(NESTED_SHARE)
    variance = (1.0 - share) * (nested + (1.0 - nested) / units.counts)
    if parts.sample is not None and data.samples is not None:
        samples = data.samples.units
        of_samples = of(of_factor(samples.name, "effect"), samples.codes)
        cell = cell_of_row(units, units_by_lines(data, parts))
        expected = expected + np.bincount(cell, of_samples) / units.counts
    return (units.means - expected) / (of("sigma") * np.exp(log_noise) * np.sqrt(variance))
