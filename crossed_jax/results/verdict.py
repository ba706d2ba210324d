"""Two verdicts on a fit: may its draws be trusted, and does the model fit the data; why not.

The checks it puts together each say their limits and where those come from: convergence
(:mod:`~crossed_jax.results.convergence`), how NUTS moved (:mod:`~crossed_jax.results.transitions`),
the error of an interpolated or integrated log-density, that of the interactions' summaries, the
ridge (:mod:`~crossed_jax.results.ridge`), separate modes
(:mod:`~crossed_jax.results.missed_modes`), data that quarrel with the priors
(:mod:`~crossed_jax.results.prior_conflicts`), and SDs that are mostly these
(:mod:`~crossed_jax.results.few_levels`), or slopes
(:mod:`~crossed_jax.results.open_slopes`). Whether the model fits is a verdict of its own
(:mod:`~crossed_jax.results.adequacy`): draws may be right and the model wrong.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from crossed_jax.results.adequacy import adequacy
from crossed_jax.results.convergence import (
    Convergence,
    broken_draws,
    convergence,
    mixing,
    sampled,
)
from crossed_jax.results.few_levels import few_levels
from crossed_jax.results.finding import Finding
from crossed_jax.results.missed_modes import missed_modes
from crossed_jax.results.open_slopes import open_slopes
from crossed_jax.results.prior_conflicts import prior_conflicts
from crossed_jax.results.ridge import Ridge, find_ridge
from crossed_jax.results.transitions import transitions
from crossed_jax.results.tree import require_fit
from crossed_jax.sampling.ess import MIN_DRAWS

if TYPE_CHECKING:
    import xarray as xr

INTERPOLATION_LIMIT = 0.01
INTERACTION_MEAN_LIMIT = 0.05  # posterior SDs, as 400 effective draws leave
LFSR_LIMIT = 0.0125  # a rate of 0.05 is four errors from none


class Diagnosis(NamedTuple):
    """Whether to trust the draws, and the model. Print it for plain words, `to_dict` for JSON.

    `reasons` say why not to trust the draws, and are empty exactly when `converged`. `misfits` say
    in what the data are not as the model has them, whatever its draws: there are none where it
    `fits`, which is None for models that are not looked at. `warnings`
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
    fits: bool | None = None
    misfits: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON-safe values; a number that could not be computed is None."""
        fields = self._asdict()
        if self.ridge is not None:
            fields["ridge"] = self.ridge._asdict()
        return {name: _json_safe(value) for name, value in fields.items()}

    def __str__(self) -> str:
        verdict = "Converged." if self.converged else "NOT CONVERGED: do not trust these draws."
        seen = "The model fits: no departure from it was found."
        if not self.converged:
            seen = "No departure from the model was found, as far as these draws can tell."
        fits = {None: [], True: [seen]}
        lines = [
            verdict,
            *fits.get(self.fits, ["THE MODEL DOES NOT FIT THE DATA, see below."]),
            f"  {self.num_draws:,} draws, {self.num_chains} chain(s)",
            f"  largest R-hat       {_number(self.max_r_hat, '.3f')}  {self.max_r_hat_at}",
            f"  smallest bulk ESS   {_number(self.min_ess_bulk, ',.0f')}  {self.min_ess_bulk_at}",
            f"  smallest tail ESS   {_number(self.min_ess_tail, ',.0f')}  {self.min_ess_tail_at}",
            f"  divergent draws     {self.divergences:,}",
            f"  at max. tree depth  {self.max_tree_depth_hits:,}",
            f"  smallest E-BFMI     {_number(self.min_bfmi, '.2f')}",
        ]
        for title, sentences in (
            ("Why not:", self.reasons),
            ("Where the model does not fit:", self.misfits),
            ("Worth knowing:", self.warnings),
        ):
            if sentences:
                lines += [title, *(f"  - {sentence}" for sentence in sentences)]
        return "\n".join(line.rstrip() for line in lines)


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
    require_fit(tree, "diagnose", of_factors=False)
    posterior = tree["posterior"].to_dataset()
    num_chains, draws_per_chain = posterior.sizes["chain"], posterior.sizes["draw"]
    num_draws = num_chains * draws_per_chain
    # One chain is split in two before R-hat, so it needs twice the draws.
    needed = MIN_DRAWS if num_chains > 1 else 2 * MIN_DRAWS
    enough = draws_per_chain >= needed
    names = sampled(tree)

    statistics = convergence(tree) if statistics is None else statistics
    mixed = mixing(Convergence(*(statistic[names] for statistic in statistics)), num_chains)
    moved = transitions(tree, num_draws)
    ridge = find_ridge(tree) if enough else None
    broken = broken_draws(posterior[names]) if enough else []
    findings = [
        *([] if enough else [_too_few(draws_per_chain, needed)]),
        *broken,
        *mixed.findings,
        *moved.findings,
        *_interpolation(tree),
        *_quadrature(tree),
        *_interactions(tree),
        *([] if ridge is None else [ridge.finding]),
        *missed_modes(tree),
        *([] if broken else prior_conflicts(tree)),  # broken draws say nothing about the data
        *few_levels(tree),
        *open_slopes(tree),
        *(Finding(note, "warning") for note in json.loads(tree.attrs.get("notes", "[]"))),
    ]
    reasons: list[str] = []
    warnings: list[str] = []
    for sentence, weight in findings:
        serious = weight == "reason" or (weight == "explanation" and reasons)
        (reasons if serious else warnings).append(sentence)
    fits, misfits = adequacy(tree)
    return Diagnosis(
        converged=not reasons,
        reasons=tuple(reasons),
        warnings=tuple(warnings),
        max_r_hat=mixed.r_hat.value,
        max_r_hat_at=mixed.r_hat.at,
        min_ess_bulk=mixed.ess_bulk.value,
        min_ess_bulk_at=mixed.ess_bulk.at,
        min_ess_tail=mixed.ess_tail.value,
        min_ess_tail_at=mixed.ess_tail.at,
        min_bfmi=moved.min_bfmi,
        divergences=moved.divergences,
        max_tree_depth_hits=moved.max_tree_depth_hits,
        num_chains=num_chains,
        num_draws=num_draws,
        ridge=ridge,
        fits=fits,
        misfits=misfits,
    )


def _too_few(draws_per_chain: int, needed: int) -> Finding:
    return Finding(
        f"{draws_per_chain} draws per chain are too few to diagnose anything: at least {needed} "
        "are needed.",
        "reason",
    )


def _interpolation(tree: xr.DataTree) -> list[Finding]:
    """Hold the error of an interpolated log-density against the Monte Carlo error."""
    errors = json.loads(tree.attrs.get("interpolation_error", "{}"))
    if all(error < INTERPOLATION_LIMIT for error in errors.values()):
        return []
    return [
        Finding(
            f"the interpolated log-density errs by {errors['log_density']:.1e}, effects' means by "
            f"{errors['effect_means']:.1e} and SDs by {errors['effect_sds']:.1e} posterior SDs, "
            "which is not far below Monte Carlo error: fit with parameterization='sum_to_zero'.",
            "reason",
        )
    ]


def _quadrature(tree: xr.DataTree) -> list[Finding]:
    """Hold the error of the quadrature over levels' noise against the Monte Carlo error."""
    error = json.loads(tree.attrs.get("quadrature_error", "0.0"))
    if error is not None and error < INTERPOLATION_LIMIT:
        return []
    told = "is not a number at some draws" if error is None else f"errs by {error:.1e}"
    return [
        Finding(
            f"the log-density {told}, as levels of few rows leave their noise, or their share of "
            "interaction, too uncertain for the quadrature over it: fit a model without noise by "
            "that factor, or without interaction.",
            "reason",
        )
    ]


def _interactions(tree: xr.DataTree) -> list[Finding]:
    """Hold the Monte Carlo error of interactions against what is told of them."""
    errors = json.loads(tree.attrs.get("interaction_error", "{}"))
    mean, lfsr = errors.get("mean", 0.0), errors.get("lfsr", 0.0)
    if mean < INTERACTION_MEAN_LIMIT and lfsr < LFSR_LIMIT:
        return []
    return [
        Finding(
            f"the draws are too few for the interactions: their means err by up to {mean:.2g} "
            f"posterior SDs and their local false sign rates by up to {lfsr:.2g}, so which are "
            "hits is a matter of chance at the margin. Ask for more draws with num_draws=.",
            "warning",
        )
    ]


def _number(value: float, spec: str) -> str:
    return format(value, spec) if math.isfinite(value) else "unknown"


def _json_safe(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_safe(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [_json_safe(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
