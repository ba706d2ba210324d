r"""Rank-normalised :math:`\hat R` and effective sample sizes of many quantities at once.

The definitions are those of Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021, Bayesian
Analysis 16(2), doi:10.1214/20-BA1221) and the arithmetic ArviZ's (``arviz_stats``), which the tests
hold it to. Each of :math:`M` chains of :math:`N` draws is half a chain as drawn: drifting is not
mixing.

**Rank normalisation.** A draw of rank :math:`r` among all :math:`S = MN`, ties sharing their mean
rank, becomes

.. math:: z = \Phi^{-1}\Big(\frac{r - 3/8}{S + 1/4}\Big).

**R-hat** compares the variance :math:`B` of the chains' means (times :math:`N`) with the mean
:math:`W` of their variances,

.. math:: \hat R = \sqrt{\frac{B/W + N - 1}{N}},

and is the larger of that of :math:`z` and that of the :math:`z` of the distances from the median.

**Effective sample size.** With :math:`c_t` the mean over chains of the autocovariance at lag
:math:`t`, :math:`W = c_0 N/(N-1)` and :math:`V = c_0 + B/N`,

.. math:: \hat\rho_t = 1 - \frac{W - c_t}{V}, \qquad P_j = \hat\rho_{2j} + \hat\rho_{2j+1}.

Of a reversible chain the sums of pairs :math:`P_j` are positive and fall (Geyer 1992, Statistical
Science 7(4), doi:10.1214/ss/1177011137). So the first that is not positive, :math:`P_J`, ends the
sum, and the rest are made to fall:

.. math::
    \hat\tau = -1 + 2\sum_{j<J} \min_{i \le j} P_i + \max(\hat\rho_{2J}, 0), \qquad
    \mathrm{ESS} = \frac{MN}{\max(\hat\tau, 1/\log_{10} MN)}.

Bulk ESS is that of :math:`z`; tail ESS the smaller of those of the indicators of lying at or below
the 5% and at or below the 95% quantile of the draws as they are. (ArviZ takes the quantiles from
its ``stats.ci_prob``, 11% and 89% unless set; these are the paper's.)

Sums over chains are taken before the inverse Fourier transform, of which there is then one for each
quantity; :math:`z` is read from a table with an entry for each rank, ties falling halfway between
two; the ranks of distances come from merging the two halves of the sorted draws. Blocks of
quantities that fit in the cache are shared out to threads: NumPy sorts and transforms without
Python's lock.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.fft import next_fast_len
from scipy.special import ndtri

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

    type Draws = np.ndarray | xr.DataArray

TAILS = (0.05, 0.95)
MIN_DRAWS = 4
BLOCK_BYTES = 2**19
SLAB_BYTES = 2**24
MAX_THREADS = 16


class RankDiagnostics(NamedTuple):
    """R-hat, bulk and tail effective sample size, shape (quantities,) each."""

    r_hat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray


def rank_diagnostics(draws: Draws) -> RankDiagnostics:
    """Compute rank-normalised R-hat, bulk and tail effective sample size.

    Parameters
    ----------
    draws
        Shape (chains, draws, quantities).

    Returns
    -------
    RankDiagnostics
        NaN for a quantity with a draw that is NaN, and for all of fewer than 4 draws; R-hat is NaN
        for a single chain and for draws that are all equal, too.
    """
    if draws.shape[1] < MIN_DRAWS or 0 in draws.shape:
        return RankDiagnostics(*np.full((3, draws.shape[2]), np.nan))
    return RankDiagnostics(*by_blocks(draws, _block_diagnostics))


def halves_diagnostics(draws: Draws) -> RankDiagnostics:
    """Compute the same of the first and the last half of each chain, as chains of their own."""
    half = max(1, draws.shape[1] // 2)

    def compute(block: np.ndarray) -> np.ndarray:
        return _block_diagnostics(np.concatenate([block[..., :half], block[..., -half:]], axis=1))

    if half < MIN_DRAWS or 0 in draws.shape:
        return RankDiagnostics(*np.full((3, draws.shape[2]), np.nan))
    return RankDiagnostics(*by_blocks(draws, compute))


def quantities_at_once(num_draws: int) -> int:
    """How many quantities are held in memory with all their draws, where there are more."""
    return max(1, SLAB_BYTES // (8 * num_draws))


def by_blocks(draws: Draws, compute: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Compute numbers for each quantity, a block of quantities at a time, on all cores.

    Parameters
    ----------
    draws
        Shape (chains, draws, quantities), none of them zero; an array, or a variable of a file,
        which is not read as a whole.
    compute
        Takes a block of draws, C-contiguous with shape (quantities, chains, draws) and free to be
        written to, and gives shape (numbers, quantities).

    Returns
    -------
    ndarray
        Shape (numbers, quantities).
    """
    num_chains, num_draws, num_quantities = draws.shape
    size = max(1, BLOCK_BYTES // (8 * num_chains * num_draws))
    at_once = quantities_at_once(num_chains * num_draws)

    def compute_block(block: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return compute(np.array(np.moveaxis(block, -1, 0), dtype=float, order="C"))

    found: list[np.ndarray] = []
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, num_quantities, at_once):
            slab = np.asarray(draws[..., start : start + at_once])
            blocks = [slab[..., first : first + size] for first in range(0, slab.shape[-1], size)]
            found += pool.map(compute_block, blocks)
    return np.concatenate(found, axis=-1)


def quantile_of_sorted(ranked: np.ndarray, probability: float) -> np.ndarray:
    """Interpolate a quantile of each sorted row linearly, as ``numpy.quantile`` to the last bit."""
    place = (ranked.shape[1] - 1) * probability
    index = int(place)
    share = place - index
    low, high = ranked[:, index], ranked[:, min(index + 1, ranked.shape[1] - 1)]
    step = high - low
    quantile = low + step * share if share < 0.5 else high - step * (1 - share)
    return np.where(np.isnan(ranked[:, -1]), np.nan, quantile)  # NaN is sorted last


def _block_diagnostics(block: np.ndarray) -> np.ndarray:
    """R-hat, bulk and tail ESS of a block with shape (quantities, chains, draws)."""
    num_quantities, num_chains, num_draws = block.shape
    split = _split(block)
    pooled = split.reshape(num_quantities, -1)
    order = np.argsort(pooled, axis=-1)
    ranked = _reorder(pooled, order)
    scores = _normal_scores(pooled.shape[1])
    z = _place(order, _z_of_sorted(ranked, scores)).reshape(split.shape)
    ess_bulk = _ess(z)

    if num_chains > 1:
        middle = pooled.shape[1] // 2  # of an even number
        median = (ranked[:, middle - 1] + ranked[:, middle]) / 2
        distance = abs(ranked - median[:, None])
        undefined = np.isnan(distance).any(-1)
        nearest_first = np.argsort(distance, axis=-1, kind="stable")  # two runs: a merge
        z_folded = _z_of_sorted(_reorder(distance, nearest_first), scores)
        z_folded = _place(_reorder(order, nearest_first), z_folded).reshape(split.shape)
        r_hat, r_hat_folded = _r_hat(z), _r_hat(z_folded)
        r_hat = np.where((r_hat_folded > r_hat) & ~undefined, r_hat_folded, r_hat)
    else:
        r_hat = np.full(num_quantities, np.nan)

    # The middle one of an odd number of draws is in neither half, but counts for the quantiles.
    everything = ranked if num_draws % 2 == 0 else np.sort(block.reshape(num_quantities, -1))
    ends = [quantile_of_sorted(everything, tail)[:, None, None] for tail in TAILS]
    ess_tail = np.min([_ess((split <= end).astype(float)) for end in ends], axis=0)

    broken = np.isnan(everything[:, -1])  # NaN is sorted last
    return np.where(broken, np.nan, [r_hat, ess_bulk, ess_tail])


def _split(block: np.ndarray) -> np.ndarray:
    """Halve each chain; the middle one of an odd number of draws is dropped."""
    num_quantities, num_chains, num_draws = block.shape
    half = num_draws // 2
    if num_draws % 2:
        block = np.delete(block, half, axis=-1)
    return block.reshape(num_quantities, 2 * num_chains, half)


@lru_cache(maxsize=4)
def _normal_scores(size: int) -> np.ndarray:
    """Normal scores of the ranks 1, 1.5, 2, ..., size."""
    rank = np.arange(2, 2 * size + 1) / 2
    return ndtri((rank - 3 / 8) / (size + 1 / 4))


def _z_of_sorted(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Normal scores of sorted values, those of equal values being those of their mean rank."""
    z = np.empty_like(values)
    z[:] = scores[::2]
    differs = values[:, 1:] != values[:, :-1]
    tied = np.flatnonzero(~differs.all(-1))
    if tied.size:
        differs = differs[tied]
        place = np.arange(values.shape[1])
        first = np.zeros((len(tied), len(place)), int)
        first[:, 1:] = np.where(differs, place[1:], 0)
        first = np.maximum.accumulate(first, axis=-1)
        last = np.full_like(first, place[-1])
        last[:, :-1] = np.where(differs, place[:-1], place[-1])
        last = np.minimum.accumulate(last[:, ::-1], axis=-1)[:, ::-1]
        z[tied] = scores[first + last]
    return z


def _reorder(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Take each row in its own order: several times as fast as ``take_along_axis``."""
    result = np.empty_like(values)
    for row, source, places in zip(result, values, order, strict=True):
        np.take(source, places, out=row, mode="clip")
    return result


def _place(order: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Undo `_reorder`."""
    result = np.empty_like(values)
    for row, source, places in zip(result, values, order, strict=True):
        row[places] = source
    return result


def _r_hat(chains: np.ndarray) -> np.ndarray:
    """R-hat of shape (quantities, chains, draws)."""
    num_draws = chains.shape[-1]
    between = num_draws * chains.mean(-1).var(-1, ddof=1)
    within = chains.var(-1, ddof=1).mean(-1)
    return np.sqrt((between / within + num_draws - 1) / num_draws)


def _ess(chains: np.ndarray) -> np.ndarray:
    """Effective sample size of shape (quantities, chains, draws)."""
    num_quantities, num_chains, num_draws = chains.shape
    size = num_chains * num_draws
    means = chains.mean(-1)
    autocovariance = _mean_autocovariance(chains - means[..., None])
    within = autocovariance[:, :1] * num_draws / (num_draws - 1)
    total = autocovariance[:, :1] + means.var(-1, ddof=1)[:, None]

    num_pairs = max(0, (num_draws - 3) // 2) + 1
    rho = 1 - (within - autocovariance[:, : 2 * num_pairs]) / total
    rho[:, 0] = 1
    pairs = rho[:, ::2] + rho[:, 1::2]
    stops = pairs <= 0
    stops[:, -1] = True
    last = stops.argmax(-1)

    each = np.arange(num_quantities)
    kept = np.where(np.arange(num_pairs) < last[:, None], np.minimum.accumulate(pairs, axis=-1), 0)
    # A lone correlation below zero counts only if its pair is above, where the lags run out.
    lone = np.where(pairs[each, last] >= 0, rho[each, 2 * last], np.maximum(rho[each, 2 * last], 0))
    tau = np.maximum(-1 + 2 * kept.sum(-1) + lone, 1 / np.log10(size))

    spread = chains.max((1, 2)) - chains.min((1, 2))
    return np.where(spread < np.finfo(float).resolution, size, size / tau)


def _mean_autocovariance(centred: np.ndarray) -> np.ndarray:
    """Average the autocovariances at every lag over chains: (quantities, chains, draws) in."""
    num_quantities, num_chains, num_draws = centred.shape
    padded = next_fast_len(2 * num_draws, real=True)
    spectrum = np.fft.rfft(centred, padded).view(float)
    power = np.einsum("qck,qck->qk", spectrum, spectrum).reshape(num_quantities, -1, 2).sum(-1)
    return np.fft.irfft(power, padded)[:, :num_draws] / (num_chains * num_draws)
