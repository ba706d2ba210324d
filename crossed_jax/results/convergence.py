r"""R-hat and effective sample sizes of every quantity, the worst of them, and draws that have none.

The thresholds are those of Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021, Bayesian
Analysis 16(2), doi:10.1214/20-BA1221): rank-normalized split :math:`\hat R < 1.01`, bulk and tail
effective sample size at least 100 per chain. The numbers are defined in
:mod:`crossed_jax.sampling.ess`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crossed_jax.results.finding import Finding
from crossed_jax.results.tree import factor_names
from crossed_jax.sampling.ess import by_blocks, halves_diagnostics, rank_diagnostics
from crossed_jax.tables.names import FactorQuantity, of_factor

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

R_HAT_LIMIT = 1.01
ESS_PER_CHAIN = 100


class Convergence(NamedTuple):
    """R-hat and effective sample sizes of every quantity; datasets shaped like one draw."""

    r_hat: xr.Dataset
    ess_bulk: xr.Dataset
    ess_tail: xr.Dataset


class Worst(NamedTuple):
    """The worst value of a statistic, the quantity that has it, and how many miss its limit."""

    value: float
    at: str
    misses: int


class Mixing(NamedTuple):
    """The statistics of all quantities, held against their limits."""

    r_hat: Worst
    ess_bulk: Worst
    ess_tail: Worst
    findings: list[Finding]


def convergence(tree: xr.DataTree, variables: Sequence[str] | None = None) -> Convergence:
    """Compute R-hat, bulk and tail effective sample size of each posterior quantity.

    `diagnose` and `summaries.effects` both take the result, so that it need be computed only once.

    Parameters
    ----------
    tree
        A fit, with a ``posterior`` group.
    variables
        Posterior variables to look at; all by default. The effect of a factor with a single level,
        zero by definition, is always left out, and so are effects of which no draws were kept.

    Returns
    -------
    Convergence
        NaN where nothing can be told: fewer than 4 draws, draws that are NaN, R-hat of draws all
        equal. With one chain R-hat compares the chain's two halves, each split once more.
    """
    import xarray as xr

    posterior = tree["posterior"].to_dataset()
    names = [name for name in sampled(tree) if variables is None or name in variables]
    computed: list[dict[str, xr.DataArray]] = [{}, {}, {}]
    for name in names:
        variable = posterior[name].transpose("chain", "draw", ...)
        one_draw = variable.isel(chain=0, draw=0, drop=True)
        draws = _by_quantity(variable)
        r_hat, ess_bulk, ess_tail = rank_diagnostics(draws)
        if len(draws) == 1:
            r_hat = halves_diagnostics(draws).r_hat
        for statistic, values in zip(computed, (r_hat, ess_bulk, ess_tail), strict=True):
            statistic[name] = one_draw.copy(data=values.reshape(one_draw.shape))
    return Convergence(*(xr.Dataset(statistic) for statistic in computed))


def sampled(tree: xr.DataTree) -> list[str]:
    """Posterior variables, without the effect of a one-level factor: it is zero by definition."""
    posterior = tree["posterior"].to_dataset()
    constant = {
        of_factor(factor, "effect")
        for factor in factor_names(tree)
        if posterior.sizes.get(factor) == 1
    }
    return [str(name) for name in posterior.data_vars if name not in constant]


def identified(tree: xr.DataTree) -> list[str]:
    """Posterior variables that the data identify, which all forms of a model share.

    Of the means and the levels' intercepts of the original form they tell only sums.
    """
    of_the_original: tuple[FactorQuantity, ...] = ("mean", "intercept")
    unknown = {
        of_factor(factor, quantity) for factor in factor_names(tree) for quantity in of_the_original
    }
    return [name for name in sampled(tree) if name not in unknown]


def mixing(statistics: Convergence, num_chains: int) -> Mixing:
    """Hold the worst statistics against their limits."""
    wanted = ESS_PER_CHAIN * num_chains
    total = sum(values.size for values in statistics.r_hat.data_vars.values())
    r_hat = _worst(statistics.r_hat, R_HAT_LIMIT, largest=True)
    bulk = _worst(statistics.ess_bulk, wanted, largest=False)
    tail = _worst(statistics.ess_tail, wanted, largest=False)
    sentences = []
    if r_hat.misses:
        sentences.append(
            f"R-hat is {r_hat.value:.3f} at {r_hat.at}, and {R_HAT_LIMIT} or more for "
            f"{r_hat.misses:,} of {total:,} quantities: the chains have not mixed. Run longer "
            "chains."
        )
    for kind, ess in (("Bulk", bulk), ("Tail", tail)):
        if ess.misses:
            sentences.append(
                f"{kind} effective sample size is {ess.value:.0f} at {ess.at}, and below "
                f"{wanted:,} ({ESS_PER_CHAIN} per chain) for {ess.misses:,} of {total:,} "
                "quantities: run longer chains."
            )
    return Mixing(r_hat, bulk, tail, [Finding(sentence, "reason") for sentence in sentences])


def broken_draws(posterior: xr.Dataset) -> list[Finding]:
    """Name the variables whose draws are not finite, or keep one value throughout a chain."""
    sentences = []

    def look(block: np.ndarray) -> np.ndarray:
        """Not finite in any chain; stuck in each: shape (1 + chains, quantities)."""
        return np.vstack([~np.isfinite(block).all((1, 2)), (block == block[..., :1]).all(-1).T])

    for draws in posterior.data_vars.values():
        variable = draws.transpose("chain", "draw", ...)
        shape = variable.shape[2:]
        bad, *stuck = (found.reshape(shape) for found in by_blocks(_by_quantity(variable), look))
        if bad.any():
            sentences.append(
                f"{_at(draws, bad)} has draws that are not finite"
                f"{_more(bad)}: the log-density or the sampler overflowed."
            )
        for chain, still in zip(draws["chain"].values, stuck, strict=True):
            if still.any():
                sentences.append(
                    f"{_at(draws, still)} keeps one value throughout chain {chain}"
                    f"{_more(still)}: the chain does not move."
                )
    return [Finding(sentence, "reason") for sentence in sentences]


def _by_quantity(variable: xr.DataArray) -> np.ndarray | xr.DataArray:
    """Shape (chains, draws, quantities); a vector's draws stay where they are."""
    if variable.ndim == 3:
        return variable
    return variable.values.reshape(*variable.shape[:2], -1)


def _worst(statistic: xr.Dataset, limit: float, *, largest: bool) -> Worst:
    worst, where, misses = math.nan, "", 0
    for values in statistic.data_vars.values():
        signed = np.asarray(values.values if largest else -values.values, dtype=float)
        threshold = limit if largest else -limit
        misses += int((signed >= threshold).sum() if largest else (signed > threshold).sum())
        if np.isnan(signed).all():
            continue
        top = float(np.nanmax(signed))
        if math.isnan(worst) or top > (worst if largest else -worst):
            worst = top if largest else -top
            where = _at(values, signed == top)
    return Worst(worst, where, misses)


def _at(array: xr.DataArray, mask: np.ndarray) -> str:
    """Name the first entry of a variable that the mask marks: ``gene_effect[TP53]``."""
    dims = [dim for dim in array.dims if dim not in ("chain", "draw")]
    index = np.argwhere(mask)[0]
    labels = [_printable(array[dim].values[i]) for dim, i in zip(dims, index, strict=True)]
    return f"{array.name}[{', '.join(labels)}]" if labels else str(array.name)


def _printable(label: object) -> str:
    """A label on one line, whatever it holds."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(label))


def _more(mask: np.ndarray) -> str:
    others = int(mask.sum()) - 1
    return f" (and {others} more of its entries)" if others else ""
