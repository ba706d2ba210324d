"""Prior and posterior predictive draws of the screen model, for each row of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crossed_jax.errors import InputError, shown
from crossed_jax.models.model import NESTED_SHARE, SHARE, Parts
from crossed_jax.models.screen.responses import CellRows, Drawn, SeenRows, simulated
from crossed_jax.results.tree import factor_names
from crossed_jax.tables.names import of_factor
from crossed_jax.tables.nested import told_apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import xarray as xr

    from crossed_jax.tables.crossed_data import CrossedData, Factor


class RowCodes(NamedTuple):
    """Levels of the rows to simulate, shape (rows,) each.

    Attributes
    ----------
    gene, line
        Of the factors.
    unit, sample
        Of what is nested in them; None where the model has no such part.
    """

    gene: np.ndarray
    line: np.ndarray
    unit: np.ndarray | None
    sample: np.ndarray | None


def codes_of(data: CrossedData, parts: Parts, rows: np.ndarray | slice) -> RowCodes:
    """Levels of some rows of a table that is numbered as the fit."""
    gene, line = (data.factors[k].codes[rows] for k in (parts.genes, 1 - parts.genes))
    unit, sample = (
        None if name is None or units is None else units.units.codes[rows]
        for name, units in ((parts.nested, data.nested), (parts.sample, data.samples))
    )
    return RowCodes(gene, line, unit, sample)


def cells_of_rows(
    rows: RowCodes, parts: Parts, fitted: xr.Dataset | None, names: Sequence[str]
) -> CellRows:
    """Find the cells that rows lie in, and what a fit has seen of them.

    Parameters
    ----------
    rows
        Their levels.
    parts
        Of the model.
    fitted
        Counts and means of the rows that were fitted, see `seen_in`; None if there were none.
    names
        Of the factors.
    """
    gene, line = rows.gene.astype(np.int64), rows.line.astype(np.int64)
    unit = gene if rows.unit is None else rows.unit.astype(np.int64)
    seen = _seen(parts, fitted, names)
    number_of_lines = 1 + max(int(line.max()), int(seen.line.max(initial=0)))
    asked, own = gene * number_of_lines + line, seen.gene * number_of_lines + seen.line
    kept = np.isin(own, asked)
    seen = _Seen(*(values[kept] for values in seen))

    units = np.concatenate([unit, seen.unit]) * number_of_lines
    units += np.concatenate([line, seen.line])
    unit_cells, first, place = np.unique(units, return_index=True, return_inverse=True)
    of_cells, cell = np.unique(np.concatenate([asked, own[kept]])[first], return_inverse=True)
    return CellRows(
        gene=of_cells // number_of_lines,
        line=of_cells % number_of_lines,
        unit=unit_cells // number_of_lines,
        cell=cell,
        seen=SeenRows(place[len(unit) :], seen.sample, seen.number, seen.mean),
        of_rows=place[: len(unit)],
        samples=np.zeros(len(unit), np.intp) if rows.sample is None else rows.sample,
    )


def cells_at(tree: xr.DataTree, parts: Parts, gene: np.ndarray, line: np.ndarray) -> CellRows:
    """Some cells by their codes, each once, and what a fit has seen of them; in order of these."""
    names, fitted = factor_names(tree), seen_in(tree, parts)
    assert fitted is not None
    unit = None
    if parts.nested is not None:  # any of a gene's stands for it in a line where none was seen
        of_genes = names[parts.genes]
        unit_of_gene = np.zeros(tree["posterior"].sizes[of_genes], np.int64)
        unit_of_gene[fitted[of_factor(of_genes, "code")]] = fitted[of_factor(parts.nested, "code")]
        unit = unit_of_gene[gene]
    return cells_of_rows(RowCodes(gene, line, unit, None), parts, fitted, names)


def units_as_fitted(
    given: Factor, outer: Factor, fitted: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Number units of rows as a fit has them, whose labels may have started again there, or here.

    Parameters
    ----------
    given, outer
        Units by the labels in the rows' table, and the levels that they are nested in.
    fitted
        The fit's labels.

    Returns
    -------
    codes
        Shape (rows,).
    new
        Labels of those that were not fitted, numbered after the others.
    """
    pairs, of_rows = np.unique(
        outer.codes.astype(np.int64) * len(given.levels) + given.codes, return_inverse=True
    )
    place = {label: code for code, label in enumerate(fitted)}
    codes = np.empty(len(pairs), np.int64)
    new: list[str] = []
    for i, (level, unit) in enumerate(zip(*np.divmod(pairs, len(given.levels)), strict=True)):
        label = given.levels[unit]
        longer = told_apart(outer.levels[level], label)
        found = place.get(label, place.get(longer))
        if found is None:
            found = len(fitted) + len(new)
            new.append(longer)
        codes[i] = found
    return codes[of_rows], new


def require_parents(
    seen: xr.Dataset | None,
    outer: Factor,
    unit: str,
    codes: np.ndarray,
    fitted: Sequence[str],
    where: str,
) -> None:
    """Refuse rows of a unit that the fit has in another level.

    Parameters
    ----------
    seen
        What a fit has seen of its units, see `seen_in`.
    outer
        The level of each row that the unit is nested in, numbered as the fit.
    unit, codes, fitted
        What units are called; that of each row, and the labels of those that were fitted.
    where
        The rows, for the message.
    """
    assert seen is not None
    parents = np.empty(len(fitted), np.int64)
    parents[seen[of_factor(unit, "code")]] = seen[of_factor(outer.name, "code")]
    known = codes < len(fitted)
    wrong = np.flatnonzero(known)[parents[codes[known]] != outer.codes[known]]
    if len(wrong):
        row = int(wrong[0])
        name, other = fitted[codes[row]], outer.levels[parents[codes[row]]]
        raise InputError(
            f"{where}: {unit} {shown(name)} is of {outer.name} {shown(other)} in the fit, and of "
            f"{shown(outer.levels[outer.codes[row]])} in row {row + 1:,}: correct one of them."
        )


def seen_in(tree: xr.DataTree, parts: Parts) -> xr.Dataset | None:
    """The group of a fit that has the counts and means of its rows; None if they do not matter."""
    group = "seen" if parts.has_units else "interactions"
    if group in tree.children:
        return tree[group].to_dataset()
    if parts.has_units:
        raise InputError("this fit does not say what rows it has seen: fit again.")
    return None


class _Seen(NamedTuple):
    """What was fitted by codes: counts and means of rows, shape (seen,) each."""

    gene: np.ndarray
    unit: np.ndarray
    line: np.ndarray
    sample: np.ndarray
    number: np.ndarray
    mean: np.ndarray


def _seen(parts: Parts, fitted: xr.Dataset | None, names: Sequence[str]) -> _Seen:
    if fitted is None:
        return _Seen(*np.zeros((4, 0), np.int64), *np.zeros((2, 0)))
    gene, line = (
        fitted[of_factor(names[k], "code")].values for k in (parts.genes, 1 - parts.genes)
    )
    gene, line = gene.astype(np.int64), line.astype(np.int64)
    unit, sample = (
        other if name is None else fitted[of_factor(name, "code")].values.astype(np.int64)
        for name, other in ((parts.nested, gene), (parts.sample, np.zeros_like(gene)))
    )
    number, mean = (fitted[name].values.astype(float) for name in ("n", "raw_mean"))
    return _Seen(gene, unit, line, sample, number, mean)


def draws_by_name(
    drawn: Mapping[str, np.ndarray], parts: Parts, names: Sequence[str]
) -> Iterator[Drawn]:
    """Go through draws of a model with some parts.

    Parameters
    ----------
    drawn
        By name in the results, leading dimensions (chains, draws), levels last.
    parts, names
        Of the model, and of the factors.
    """
    gene, line = names[parts.genes], names[1 - parts.genes]
    share = of_factor(gene, "interaction_share") if parts.gene_share else SHARE
    unit, sample = parts.nested or "", parts.sample or ""
    fields = (  # in the order of `Drawn`, with what stands for a part that the model has not
        ("intercept", None),
        ("sigma", None),
        (of_factor(gene, "effect"), None),
        (of_factor(gene, "log_noise_sd"), 0.0),
        (of_factor(line, "effect"), None),
        (of_factor(line, "slope"), 1.0),
        (of_factor(line, "log_noise_sd"), 0.0),
        (share, 0.0),
        (NESTED_SHARE, 0.0),
        (of_factor(unit, "effect"), 0.0),
        (of_factor(unit, "log_noise_sd"), 0.0),
        (of_factor(sample, "effect"), 0.0),
    )
    for place in np.ndindex(drawn["sigma"].shape):
        one = (drawn[name][place] if name in drawn else absent for name, absent in fields)
        yield Drawn._make(one)


def responses(
    rng: np.random.Generator,
    drawn: Mapping[str, np.ndarray],
    cells: CellRows,
    parts: Parts,
    names: Sequence[str],
    noise: bool = True,
) -> np.ndarray:
    """Simulate the response of each row from each draw.

    Parameters
    ----------
    rng
        Of the noise.
    drawn
        As of :func:`draws_by_name`.
    cells
        What the rows lie in.
    parts, names
        Of the model, and of the factors.
    noise
        Whether to add what each row has alone.

    Returns
    -------
    ndarray
        Shape (chains, draws, rows).
    """
    found = np.empty((*drawn["sigma"].shape, len(cells.of_rows)))
    by_draw = found.reshape(-1, len(cells.of_rows))
    for i, one in enumerate(draws_by_name(drawn, parts, names)):
        by_draw[i] = simulated(rng, one, cells, noise)
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
    slope = d = e = shares = None
    if parts.slopes:
        log_slope = normal(values[of_factor(line.name, "log_slope_sd")], len(line.levels))
        slope = np.exp(centred(log_slope))
    if parts.line_noise:
        d = centred(normal(values[of_factor(line.name, "log_noise_sd_sd")], len(line.levels)))
    if parts.gene_noise:
        e = normal(values[of_factor(gene.name, "log_noise_sd_sd")], len(gene.levels))
    if parts.gene_share:
        logit = np.log(values[SHARE] / (1.0 - values[SHARE]))[..., None]
        logit = logit + normal(values[of_factor(gene.name, "logit_share_sd")], len(gene.levels))
        shares = 1.0 / (1.0 + np.exp(-logit))
    effects: list[np.ndarray | None] = []
    log_noise: list[np.ndarray | None] = []
    for units, name in ((data.nested, parts.nested), (data.samples, parts.sample)):
        if units is not None:
            own = values.get(of_factor(name or "", "sd"))
            own_noise = values.get(of_factor(name or "", "log_noise_sd_sd"))
            number = len(units.units.levels)
            effects.append(None if own is None else normal(own, number))
            log_noise.append(None if own_noise is None else normal(own_noise, number))
    whole = of_line + (1.0 if slope is None else slope) * a.mean(-1, keepdims=True)
    return {
        "intercept": whole.mean(-1),
        "{factor}_effect": (*parts.by_factor(centred(a), centred(whole)), *effects),
        "{factor}_slope": parts.by_factor(None, slope),
        "{factor}_log_noise_sd": (*parts.by_factor(e, d), *log_noise),
        "{factor}_interaction_share": parts.by_factor(shares, None),
        "{factor}_sd": tuple(sds),
        "{factor}_mean": parts.by_factor(None, np.sum(means, 0)),
        "{factor}_intercept": parts.by_factor(a, of_line),
        **values,
    }
