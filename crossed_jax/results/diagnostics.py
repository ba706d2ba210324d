r"""One verdict on a fit: may its draws be trusted, and if not, why not.

The numbers are defined as in ArviZ; the thresholds are those of their authors:

- rank-normalized split :math:`\hat R < 1.01`, bulk and tail effective sample size at least 100 per
  chain (Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021, Bayesian Analysis 16(2),
  doi:10.1214/20-BA1221);
- energy Bayesian fraction of missing information, the mean squared step between the energies
  :math:`E_n` of draws over their variance, :math:`\overline{(E_n - E_{n-1})^2} / \mathrm{var}(E)`,
  at least 0.3 in every chain (Betancourt 2016, arXiv:1604.00695);
- at most one draw in a thousand divergent, at most one in a hundred at the maximum tree depth.

Two things are looked for that general diagnostics cannot name.

**The ridge.** With an intercept per level for every factor and no overall one, the likelihood sees
only sums: for :math:`\alpha + \delta, \beta - \delta` it is the same for every :math:`\delta`. So
the means over levels, :math:`\bar\alpha` and :math:`\bar\beta`, have SDs near their prior's while
:math:`\bar\alpha + \bar\beta` is sharp. With more than two factors each mean is held against the
sum of the others'. Only the original form samples these coordinates.

**Data that quarrel with the priors.** A posterior that lies where its prior hardly reaches: an
intercept more than 3 prior SDs from the prior's mean, or an SD beyond :math:`\log_2 1000` prior
medians, which is the 99.9% point of an Exponential. An intercept more than 10 prior SDs away is a
reason not to trust the draws: factors' SDs that grow to make up for it compete, each in a mode of
its own, which chains do not walk between.

**Separate modes.** Those of the collapsed form were looked for
(:mod:`crossed_jax.models.collapsed.modes`): each that has a hundredth of the mass must have its
part of the draws.

**A funnel.** Where the data do not rule out an SD of zero, the centred parameterization narrows as
the SD falls, and a divergence, be it a single one, tells that draws stopped at its neck.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crossed_jax.results.tree import factor_names, require_fit
from crossed_jax.sampling.ess import (
    MIN_DRAWS,
    by_blocks,
    halves_diagnostics,
    rank_diagnostics,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

R_HAT_LIMIT = 1.01
ESS_PER_CHAIN = 100
BFMI_LIMIT = 0.3
DIVERGENT_SHARE = 0.001
MAX_DEPTH_SHARE = 0.01
INTERPOLATION_LIMIT = 0.01
RIDGE_CORRELATION = -0.99
RIDGE_SD_RATIO = 0.1
INTERCEPT_REACH = 3.0
INTERCEPT_BREACH = 10.0
MODE_SHARE = 0.01
SD_REACH = math.log2(1000)
SCALE_TOO_SMALL = 1e-3


class Convergence(NamedTuple):
    """R-hat and effective sample sizes of every quantity; datasets shaped like one draw."""

    r_hat: xr.Dataset
    ess_bulk: xr.Dataset
    ess_tail: xr.Dataset


class Ridge(NamedTuple):
    """The flat direction of the original form, as the draws show it.

    `correlation` is the strongest one between a factor's mean intercept and the sum of the other
    factors' mean intercepts; `sd_of_means` has one entry per entry of `factors`.
    """

    factors: tuple[str, ...]
    correlation: float
    sd_of_means: tuple[float, ...]
    sd_of_sum: float


class Diagnosis(NamedTuple):
    """Whether to trust the draws. Print it for plain words, `to_dict` for JSON.

    `reasons` say why not to trust the draws, and are empty exactly when `converged`. `warnings`
    are worth knowing but do not make the draws untrustworthy. A number that could not be computed
    is NaN; `max_r_hat_at` and its like name the quantity, for example ``gene_effect[TP53]``.
    """

    converged: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    max_r_hat: float
    max_r_hat_at: str
    min_ess_bulk: float
    min_ess_bulk_at: str
    min_ess_tail: float
    min_ess_tail_at: str
    min_bfmi: float
    divergences: int
    max_tree_depth_hits: int
    num_chains: int
    num_draws: int
    ridge: Ridge | None

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON-safe values; a number that could not be computed is None."""
        fields = self._asdict()
        if self.ridge is not None:
            fields["ridge"] = self.ridge._asdict()
        return {name: _json_safe(value) for name, value in fields.items()}

    def __str__(self) -> str:
        verdict = "Converged." if self.converged else "NOT CONVERGED: do not trust these draws."
        lines = [
            verdict,
            f"  {self.num_draws:,} draws, {self.num_chains} chain(s)",
            f"  largest R-hat       {_number(self.max_r_hat, '.3f')}  {self.max_r_hat_at}",
            f"  smallest bulk ESS   {_number(self.min_ess_bulk, ',.0f')}  {self.min_ess_bulk_at}",
            f"  smallest tail ESS   {_number(self.min_ess_tail, ',.0f')}  {self.min_ess_tail_at}",
            f"  divergent draws     {self.divergences:,}",
            f"  at max. tree depth  {self.max_tree_depth_hits:,}",
            f"  smallest E-BFMI     {_number(self.min_bfmi, '.2f')}",
        ]
        for title, sentences in (("Why not:", self.reasons), ("Worth knowing:", self.warnings)):
            if sentences:
                lines += [title, *(f"  - {sentence}" for sentence in sentences)]
        return "\n".join(line.rstrip() for line in lines)


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
    names = [name for name in _sampled(tree) if variables is None or name in variables]
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


def _by_quantity(variable: xr.DataArray) -> np.ndarray | xr.DataArray:
    """Shape (chains, draws, quantities); a vector's draws stay where they are."""
    if variable.ndim == 3:
        return variable
    return variable.values.reshape(*variable.shape[:2], -1)


def diagnose(tree: xr.DataTree, statistics: Convergence | None = None) -> Diagnosis:
    """Say whether the draws of a fit may be trusted, and why not.

    Parameters
    ----------
    tree
        A fit: group ``posterior``, and as far as they are there ``sample_stats`` (an exactly drawn
        fit has no divergences) and the attributes ``factors``, ``parameterization``, ``priors``
        and ``notes``.
    statistics
        What `convergence` gave for this tree, if it was called already.

    Returns
    -------
    Diagnosis
    """
    require_fit(tree, "diagnose")
    posterior = tree["posterior"].to_dataset()
    num_chains, draws_per_chain = posterior.sizes["chain"], posterior.sizes["draw"]
    num_draws = num_chains * draws_per_chain
    reasons: list[str] = []

    # One chain is split in two before R-hat, so it needs twice the draws.
    needed = MIN_DRAWS if num_chains > 1 else 2 * MIN_DRAWS
    enough = draws_per_chain >= needed
    names = _sampled(tree)
    broken = _broken_draws(posterior[names]) if enough else []
    reasons += broken
    if not enough:
        reasons.append(
            f"{draws_per_chain} draws per chain are too few to diagnose anything: at least "
            f"{needed} are needed."
        )

    statistics = convergence(tree) if statistics is None else statistics
    r_hat, r_hat_at, high = _worst(statistics.r_hat[names], R_HAT_LIMIT, largest=True)
    total = sum(values.size for values in statistics.r_hat[names].data_vars.values())
    if high:
        reasons.append(
            f"R-hat is {r_hat:.3f} at {r_hat_at}, and {R_HAT_LIMIT} or more for {high:,} of "
            f"{total:,} quantities: the chains have not mixed. Run longer chains."
        )
    wanted = ESS_PER_CHAIN * num_chains
    bulk, bulk_at, few_bulk = _worst(statistics.ess_bulk[names], wanted, largest=False)
    tail, tail_at, few_tail = _worst(statistics.ess_tail[names], wanted, largest=False)
    for kind, value, where, few in (
        ("Bulk", bulk, bulk_at, few_bulk),
        ("Tail", tail, tail_at, few_tail),
    ):
        if few:
            reasons.append(
                f"{kind} effective sample size is {value:.0f} at {where}, and below {wanted:,} "
                f"({ESS_PER_CHAIN} per chain) for {few:,} of {total:,} quantities: run longer "
                "chains."
            )

    divergences, depth_hits, bfmi = _sampler_counts(tree)
    warnings: list[str] = []
    if divergences:
        sentence = (
            f"{divergences:,} of {num_draws:,} draws diverged ({divergences / num_draws:.2%}): a "
            "part of the posterior may be cut off. Raise --target-accept."
        )
        funnels = json.loads(tree.attrs.get("funnels", "[]"))
        if funnels:
            sentence += (
                f" The data do not rule out that {' or '.join(funnels)} is zero, where the centred "
                "parameterization has a funnel: fit the collapsed form, or the sum_to_zero form "
                "with the choice of centering left to the data."
            )
        serious = divergences > DIVERGENT_SHARE * num_draws or funnels
        (reasons if serious else warnings).append(sentence)
    if depth_hits > MAX_DEPTH_SHARE * num_draws:
        reasons.append(
            f"{depth_hits:,} of {num_draws:,} draws ({depth_hits / num_draws:.1%}) stopped at the "
            "maximum tree depth: the posterior is long and thin in the coordinates sampled."
        )
    if bfmi < BFMI_LIMIT:
        reasons.append(
            f"E-BFMI is {bfmi:.2f} in the worst chain, below {BFMI_LIMIT}: the sampler hardly "
            "reaches the tails of the posterior."
        )

    interpolation = json.loads(tree.attrs.get("interpolation_error", "{}"))
    if not all(error < INTERPOLATION_LIMIT for error in interpolation.values()):
        reasons.append(
            f"the interpolated log-density errs by {interpolation['log_density']:.1e}, effects' "
            f"means by {interpolation['effect_means']:.1e} and SDs by "
            f"{interpolation['effect_sds']:.1e} posterior SDs, which is not far below Monte Carlo "
            "error: fit with --parameterization sum_to_zero."
        )
    ridge = find_ridge(tree) if enough else None
    if ridge is not None:
        # Exact but slow is a warning; the ridge explains a failure, it is not one by itself.
        (reasons if reasons else warnings).append(_ridge_sentence(ridge))
    modes = _separate_modes(tree)
    if modes is not None:
        (reasons if reasons or modes.missed else warnings).append(modes.sentence)
    if not broken:  # broken draws say nothing about the data
        quarrels = _prior_quarrels(tree)
        breach = _intercept_reach(tree) > INTERCEPT_BREACH
        (reasons if breach else warnings).extend(quarrels)
    warnings += json.loads(tree.attrs.get("notes", "[]"))
    return Diagnosis(
        converged=not reasons,
        reasons=tuple(reasons),
        warnings=tuple(warnings),
        max_r_hat=r_hat,
        max_r_hat_at=r_hat_at,
        min_ess_bulk=bulk,
        min_ess_bulk_at=bulk_at,
        min_ess_tail=tail,
        min_ess_tail_at=tail_at,
        min_bfmi=bfmi,
        divergences=divergences,
        max_tree_depth_hits=depth_hits,
        num_chains=num_chains,
        num_draws=num_draws,
        ridge=ridge,
    )


def find_ridge(tree: xr.DataTree) -> Ridge | None:
    """Look for the flat direction between factors; None if the form sampled has none."""
    if tree.attrs.get("parameterization") != "original":
        return None
    posterior = tree["posterior"].to_dataset()
    factors = factor_names(tree)
    means = np.stack(
        [posterior[f"{factor}_intercept"].mean(factor).values.ravel() for factor in factors]
    )
    total = means.sum(0)
    sds, sd_of_sum = means.std(1), float(total.std())
    with np.errstate(all="ignore"):
        correlations = np.array([np.corrcoef(mean, total - mean)[0, 1] for mean in means])
    steep = (correlations < RIDGE_CORRELATION) & (sd_of_sum < RIDGE_SD_RATIO * sds)
    if not steep.any():
        return None
    return Ridge(
        factors=tuple(factors),
        correlation=float(correlations[steep].min()),
        sd_of_means=tuple(sds.tolist()),
        sd_of_sum=sd_of_sum,
    )


def _ridge_sentence(ridge: Ridge) -> str:
    names = " + ".join(f"{factor} intercept" for factor in ridge.factors)
    sds = " and ".join(f"{sd:.3g}" for sd in ridge.sd_of_means)
    return (
        f"The draws lie on a ridge: the likelihood sees only {names}, so the mean intercepts "
        f"wander (SDs {sds}) while their sum stands still (SD {ridge.sd_of_sum:.2g}; correlation "
        f"{ridge.correlation:.4f}), and NUTS has to walk it. --parameterization sum_to_zero "
        "samples exactly the same posterior without the ridge; crossed_jax.original_coordinates "
        "gives these intercepts back."
    )


def _sampled(tree: xr.DataTree) -> list[str]:
    """Posterior variables, without the effect of a one-level factor: it is zero by definition."""
    posterior = tree["posterior"].to_dataset()
    constant = {
        f"{factor}_effect" for factor in factor_names(tree) if posterior.sizes.get(factor) == 1
    }
    return [str(name) for name in posterior.data_vars if name not in constant]


def _broken_draws(posterior: xr.Dataset) -> list[str]:
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
    return sentences


def _sampler_counts(tree: xr.DataTree) -> tuple[int, int, float]:
    """Divergent draws, draws at the maximum tree depth, and the smallest E-BFMI of a chain."""
    if "sample_stats" not in tree.children:
        return 0, 0, math.nan
    stats = tree["sample_stats"].to_dataset()
    divergences = int(stats["diverging"].sum()) if "diverging" in stats else 0
    hits = int(stats["reached_max_treedepth"].sum()) if "reached_max_treedepth" in stats else 0
    if "energy" not in stats or stats.sizes["draw"] < MIN_DRAWS:
        return divergences, hits, math.nan

    return divergences, hits, _smallest_bfmi(stats["energy"].transpose("chain", "draw").values)


def _smallest_bfmi(energy: np.ndarray) -> float:
    """Smallest E-BFMI of the chains, shape (chains, draws), in which it can be computed."""
    with np.errstate(all="ignore"):
        bfmi = np.square(np.diff(energy)).mean(-1) / energy.var(-1, ddof=1)
    known = bfmi[~np.isnan(bfmi)]
    return float(known.min()) if known.size else math.nan


class SeparateModes(NamedTuple):
    """What there is to say of several modes, and whether draws miss one that has some mass."""

    sentence: str
    missed: bool


def _separate_modes(tree: xr.DataTree) -> SeparateModes | None:
    """Compare the draws of several modes with their mass; None if there is but one."""
    modes = json.loads(tree.attrs.get("modes", "[]"))
    modes = [mode for mode in modes if mode["share"] >= MODE_SHARE]
    if len(modes) < 2:
        return None
    names = [name for name in modes[0] if name != "share"]
    places = np.log([[mode[name] for name in names] for mode in modes])
    posterior = tree["posterior"].to_dataset()
    draws = np.log(np.stack([posterior[name].values.ravel() for name in names], axis=-1))
    distances = ((draws[:, None] - places) ** 2).sum(-1)
    found = np.bincount(distances.argmin(1), minlength=len(modes)) / len(draws)
    apart = [name for name, spread in zip(names, np.ptp(places, axis=0), strict=True) if spread > 1]
    told = "; ".join(
        f"{', '.join(f'{name} {mode[name]:.2g}' for name in apart or names)}: about "
        f"{mode['share']:.0%} of the mass, {share:.0%} of the draws"
        for mode, share in zip(modes, found, strict=True)
    )
    missed = any(share < mode["share"] / 3 for mode, share in zip(modes, found, strict=True))
    return SeparateModes(
        f"The posterior has {len(modes)} separate modes ({told}), which chains hardly walk "
        "between: look at the priors of these SDs.",
        missed,
    )


def _intercept_reach(tree: xr.DataTree) -> float:
    """How many prior SDs the intercept's posterior mean lies from its prior's."""
    priors = json.loads(tree.attrs.get("priors", "{}"))
    loc, scale = priors.get("intercept_loc"), priors.get("intercept_scale")
    if loc is None or not scale:
        return 0.0
    return abs(float(tree["posterior"]["intercept"].mean()) - loc) / scale


def _prior_quarrels(tree: xr.DataTree) -> list[str]:
    """Say where the posterior lies beyond the reach of its prior, in one sentence."""
    priors = json.loads(tree.attrs.get("priors", "{}"))
    posterior = tree["posterior"].to_dataset()
    complaints = []

    reach = _intercept_reach(tree)
    if reach > INTERCEPT_REACH:
        complaints.append(
            f"the intercept's posterior mean {float(posterior['intercept'].mean()):.3g} is "
            f"{reach:.1f} prior SDs from the prior's {priors['intercept_loc']:.3g} (prior SD "
            f"{priors['intercept_scale']:.3g})"
        )

    sd_medians = priors.get("factor_sd_medians") or {}
    medians = {f"{factor}_sd": median for factor, median in sd_medians.items()}
    medians["sigma"] = priors.get("sigma_median")
    medians = {name: m for name, m in medians.items() if m and name in posterior}
    for name, median in medians.items():
        mean = float(posterior[name].mean())
        if mean > SD_REACH * median:
            complaints.append(
                f"{name} has posterior mean {mean:.3g}, {mean / median:.3g} times its prior's "
                f"median {median:.2g}"
            )

    # An SD of a factor with few levels follows its prior into the tail; the effects do not.
    effects = [_effect_means(tree, factor) for factor in factor_names(tree)]
    spread = float((posterior["sigma"] ** 2).mean()) + sum(float(e.var()) for e in effects)
    expected = sum(median**2 for median in medians.values())
    if medians and math.sqrt(spread) < SCALE_TOO_SMALL * math.sqrt(expected):
        complaints.append(
            f"the response varies by about {math.sqrt(spread):.2g}, less than a thousandth of the "
            f"{math.sqrt(expected):.2g} that the prior medians of the SDs expect"
        )

    if not complaints:
        return []
    way_out = (
        "The prior scales were asked for; check them against the response's unit."
        if priors.get("name") == "scaled"
        else "--priors scaled puts the same priors on the response's own scale."
    )
    return [f"The data quarrel with the priors: {'; '.join(complaints)}. {way_out}"]


def _effect_means(tree: xr.DataTree, factor: str) -> np.ndarray:
    """Posterior means of a factor's effects, exact if the fit has them."""
    if "effect_moments" in tree.children:
        return tree["effect_moments"].to_dataset()[f"{factor}_mean"].values
    effects = tree["posterior"].to_dataset()[f"{factor}_effect"]
    draws = effects.transpose("chain", "draw", factor)
    return by_blocks(draws, lambda block: block.mean((1, 2))[None])[0]


def _worst(statistic: xr.Dataset, limit: float, *, largest: bool) -> tuple[float, str, int]:
    """Give the worst value, the quantity that has it, and how many quantities miss the limit."""
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
    return worst, where, misses


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
    return f" (and {others} more of its levels)" if others else ""


def _number(value: float, spec: str) -> str:
    return format(value, spec) if math.isfinite(value) else "unknown"


def _json_safe(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_safe(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [_json_safe(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
