r"""Whether a table is additive with one Normal noise, from what least squares leaves of it.

Under the additive model the least-squares residuals :math:`r` know nothing of the effects, and

- the cells' means stray from additivity by no more than their rows from each other: an F test of
  lack of fit, where cells have several rows (Fisher, 1922, *JRSS* 85:597);
- within the levels of one factor, residuals do not go with the other's effects :math:`\hat a_g`
  (Mandel, 1961, *JASA* 56:878; one degree of freedom for all: Tukey, 1949, *Biometrics* 5:232):
  slopes of residuals on these, one for each level, explain no more than chance, an F test, as they
  are functions of what was fitted (Milliken and Graybill, 1970, *JASA* 65:797);
- all levels of a factor have residuals of one size: an F test between the means of their absolute
  values (Levene, 1960), which single outliers do not move much, each over
  :math:`\sqrt{1 - h_i}`, the leverage :math:`h_i` being nearly the sum of one over its levels'
  numbers of rows;
- residuals have a Normal's kurtosis (Anscombe and Glynn, 1983, *Biometrika* 70:227).

A large table tells departures that matter to nobody, so each comes with its size.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import fdtrc, ndtr

from crossed_jax.statistics.cells import Cells
from crossed_jax.tables.crossed_data import CrossedData

ROWS_AT_ONCE = 2**20
SCORE = 1.959963984540054  # of the ends of a 95% interval
FAR = 3.0  # SDs
FEWEST_ROWS = 30  # for a kurtosis
FEWEST_OF_LEVEL = 8  # fewer residuals, which sum to zero, are not independent enough for an F test
LEAST_KEPT = 0.1  # of a row's variance in its residual
TINY = 1e-300


class Departure(NamedTuple):
    """How far a table is from what the model says of it in one respect.

    Attributes
    ----------
    p
        Probability of as much by chance.
    size
        Of a lack of fit the share of what is left that cells have in common; of slopes the SD of
        their logarithms, or nearly; of noise that of the logarithms of residuals' sizes, beyond
        chance; of tails the excess kurtosis.
    """

    p: float
    size: float


class Spread(NamedTuple):
    """How residuals differ in width between the levels of a factor.

    Attributes
    ----------
    departure
        All levels together.
    widest
        Code of the level of the widest residuals, of those of enough rows.
    ratio
        Mean size of its residuals, over that of all.
    coverage
        Share of its rows in the model's 95% intervals.
    """

    departure: Departure
    widest: int
    ratio: float
    coverage: float


class Adequacy(NamedTuple):
    """What a table says against the additive model; None where it cannot tell.

    Attributes
    ----------
    lack_of_fit
        Of cells' means.
    slopes
        Of the levels of the factor that has fewer, on the other's effects.
    spread
        For each factor.
    tails
        Of all residuals.
    beyond_3_sd
        Share of these.
    """

    lack_of_fit: Departure | None
    slopes: Departure | None
    spread: tuple[Spread | None, ...]
    tails: Departure | None
    beyond_3_sd: float


def plain(value: Any) -> Any:
    """Give what was found in values that fit into JSON."""
    if hasattr(value, "_asdict"):
        return {name: plain(each) for name, each in value._asdict().items()}
    return [plain(each) for each in value] if isinstance(value, tuple) else value


class _Fit(NamedTuple):
    """Least-squares effects of each factor's levels, and their rows, shape (levels,)."""

    effects: Sequence[np.ndarray]
    rows: list[np.ndarray]


class _Sums(NamedTuple):
    """Of residuals over the SDs that they have at a noise SD of one.

    Attributes
    ----------
    size, rows, inside
        Of each factor's levels, shape (levels,): sums of their absolute values, their number, and
        how many are in the model's 95% intervals.
    squares
        Of all.
    beyond
        How many of them are beyond three SDs.
    """

    size: list[np.ndarray]
    rows: list[np.ndarray]
    inside: list[np.ndarray]
    squares: float
    beyond: int


def adequacy(
    data: CrossedData, cells: Cells, effects: Sequence[np.ndarray], freedom: int
) -> Adequacy | None:
    """Hold a table against the additive model with one Normal noise.

    Parameters
    ----------
    data, cells
        The table and its cells.
    effects
        Least-squares estimates of each factor's effects, which add up to the fitted response.
    freedom
        Degrees of freedom of the residuals.

    Returns
    -------
    Adequacy
        None if nothing is left to noise, or no degree of freedom.
    """
    fit = _Fit(effects, [cells.level_sums(k, cells.counts) for k in range(len(effects))])
    residual = cells.residuals(0.0, effects)
    of_cells = float(cells.counts @ residual**2)
    squares = of_cells + cells.sum_squares_within
    if freedom < 1 or squares <= 0.0:
        return None
    sums = _sums(data, fit, math.sqrt(squares / freedom))
    return Adequacy(
        _lack_of_fit(cells, of_cells, freedom),
        _slopes(cells, residual, effects, of_cells, freedom) if len(effects) == 2 else None,
        tuple(_spread(sums, fit.rows, k) for k in range(len(effects))),
        _tails(data, fit),
        sums.beyond / data.num_rows,
    )


def adequacy_of_scores(data: CrossedData, scores: np.ndarray) -> Adequacy:
    """Hold rows' residuals against standard Normals, as a model that fits has them.

    Parameters
    ----------
    data
        The table.
    scores
        Residuals over the SDs that the model gives them, shape (rows,).
    """
    size = np.abs(scores)
    levels = [(factor.codes, len(factor.levels)) for factor in data.factors]
    rows = [np.bincount(code, minlength=number).astype(float) for code, number in levels]
    sums = _Sums(
        [np.bincount(code, size, number) for code, number in levels],
        rows,
        [np.bincount(code, size < SCORE, number) for code, number in levels],
        float(scores @ scores),
        int((size > FAR).sum()),
    )
    spread = tuple(_spread(sums, rows, k) for k in range(len(levels)))
    return Adequacy(None, None, spread, _kurtosis(scores), sums.beyond / data.num_rows)


def _sums(data: CrossedData, fit: _Fit, sigma: float) -> _Sums:
    size, number, inside = ([np.zeros(len(e)) for e in fit.effects] for _ in range(3))
    squares, beyond = 0.0, 0
    for start in range(0, data.num_rows, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        left, kept = _residuals(data, fit, rows)
        known = kept > LEAST_KEPT
        z = np.abs(left[known]) / np.sqrt(kept[known])
        near = np.abs(left) < SCORE * sigma
        for k, factor in enumerate(data.factors):
            code, levels = factor.codes[rows], len(factor.levels)
            size[k] += np.bincount(code[known], z, levels)
            number[k] += np.bincount(code[known], minlength=levels)
            inside[k] += np.bincount(code, near, levels)
        squares += float(z @ z)
        beyond += int((np.abs(left) > FAR * sigma).sum())
    return _Sums(size, number, inside, squares, beyond)


def _lack_of_fit(cells: Cells, of_cells: float, freedom: int) -> Departure | None:
    within = cells.num_rows - len(cells.counts)
    between = freedom - within
    if within < 1 or between < 1 or cells.sum_squares_within <= 0.0:
        return None
    of_rows, of_means = cells.sum_squares_within / within, of_cells / between
    # a cell's rows share the variance of the interaction
    shared = (of_means - of_rows) / (cells.counts @ cells.counts / cells.num_rows)
    share = float(max(shared, 0.0) / (max(shared, 0.0) + of_rows))
    return Departure(float(fdtrc(between, within, of_means / of_rows)), share)


def _slopes(
    cells: Cells,
    residual: np.ndarray,
    effects: Sequence[np.ndarray],
    of_cells: float,
    freedom: int,
) -> Departure | None:
    few = 0 if len(effects[0]) < len(effects[1]) else 1
    between = freedom - (cells.num_rows - len(cells.counts))
    slopes = len(effects[few]) - 1
    if slopes < 2 or between - slopes < 1:
        return None
    effect = effects[1 - few][cells.codes[:, 1 - few]]
    mean = cells.level_sums(few, cells.counts * effect) / cells.level_sums(few, cells.counts)
    effect = effect - mean[cells.codes[:, few]]
    known = cells.level_sums(few, cells.counts * effect**2)
    product = cells.level_sums(few, cells.counts * effect * residual)
    slope = product / np.where(known > 0.0, known, 1.0)
    explained = float(product @ slope)
    left = (of_cells - explained) / (between - slopes)
    if left <= 0.0:
        return None
    error = left / np.where(known > 0.0, known, np.inf)
    spread = float(np.mean(slope**2 - error))
    p = float(fdtrc(slopes, between - slopes, explained / slopes / left))
    return Departure(p, math.sqrt(max(spread, 0.0)))


def _spread(sums: _Sums, rows: Sequence[np.ndarray], factor: int) -> Spread | None:
    several = sums.rows[factor] >= FEWEST_OF_LEVEL
    n, mean = sums.rows[factor][several], sums.size[factor][several] / sums.rows[factor][several]
    whole, levels = float(n.sum()), len(n)
    if levels < 2 or whole <= levels:
        return None
    overall = (n @ mean) / whole
    between = float(n @ (mean - overall) ** 2)
    within = sums.squares * whole / sums.rows[factor].sum() - whole * overall**2 - between
    if within <= 0.0:
        return None
    f = between / (levels - 1.0) / (within / (whole - levels))
    log_size = np.log(np.maximum(mean, TINY) / overall)
    by_chance = within / (whole - levels) / overall**2 / n
    beyond = max(float(np.average(log_size**2 - by_chance, weights=n)), 0.0)
    widest = int(np.flatnonzero(several)[np.argmax((mean - overall) * np.sqrt(n))])
    return Spread(
        Departure(float(fdtrc(levels - 1.0, whole - levels, f)), math.sqrt(beyond)),
        widest,
        float(sums.size[factor][widest] / sums.rows[factor][widest] / overall),
        float(sums.inside[factor][widest] / rows[factor][widest]),
    )


def _tails(data: CrossedData, fit: _Fit) -> Departure | None:
    """Look at residuals over the SDs that they have, of as many rows as suffice."""
    every = -(-data.num_rows // ROWS_AT_ONCE)
    left, kept = _residuals(data, fit, slice(None, None, every))
    return _kurtosis(left[kept > LEAST_KEPT] / np.sqrt(kept[kept > LEAST_KEPT]))


def _kurtosis(z: np.ndarray) -> Departure | None:
    if len(z) < FEWEST_ROWS:
        return None
    squares = (z - z.mean()) ** 2
    kurtosis = float((squares**2).mean() / squares.mean() ** 2)
    return Departure(float(ndtr(-kurtosis_score(kurtosis, len(z)))), kurtosis - 3.0)


def kurtosis_score(kurtosis: float, number: int) -> float:
    """Give the standard Normal score of the kurtosis of so many Normal numbers.

    That of `scipy.stats.kurtosistest`, which takes longer to import than a small table to fit.
    """
    n = float(number)
    variance = 24.0 * n * (n - 2.0) * (n - 3.0) / ((n + 1.0) ** 2 * (n + 3.0) * (n + 5.0))
    x = (kurtosis - 3.0 * (n - 1.0) / (n + 1.0)) / math.sqrt(variance)
    skew = 6.0 * (n**2 - 5.0 * n + 2.0) / ((n + 7.0) * (n + 9.0))
    skew *= math.sqrt(6.0 * (n + 3.0) * (n + 5.0) / (n * (n - 2.0) * (n - 3.0)))
    a = 6.0 + 8.0 / skew * (2.0 / skew + math.sqrt(1.0 + 4.0 / skew**2))
    ratio = (1.0 - 2.0 / a) / (1.0 + x * math.sqrt(2.0 / (a - 4.0)))
    return (1.0 - 2.0 / (9.0 * a) - float(np.cbrt(ratio))) / math.sqrt(2.0 / (9.0 * a))


def _residuals(data: CrossedData, fit: _Fit, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Residuals of some rows, and the part of the noise's variance that they have, nearly."""
    left = data.response[rows].copy()
    kept = np.full(len(left), 1.0 + (len(fit.effects) - 1.0) / data.num_rows)
    for factor, effect, number in zip(data.factors, fit.effects, fit.rows, strict=True):
        code = factor.codes[rows]
        left -= effect[code]
        kept -= 1.0 / number[code]
    return left, kept
