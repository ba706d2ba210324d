"""What a fit took and what came of it, as those who compare samplers need it.

The effective draws are the smallest bulk ESS of the quantities that the data identify, so that
forms of a model, one of them with a direction that the data say nothing of, are held against one
another in what they share.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from crossed_jax.results.convergence import Convergence, convergence, identified, mixing
from crossed_jax.results.tree import require_fit

if TYPE_CHECKING:
    import xarray as xr

PREPARING = ("prepare", "estimate", "collapse")
SAMPLING = ("sample", "effects")


class Timings(NamedTuple):
    """What a fit took and what came of it; `to_dict` gives it for JSON.

    A run that went on from a checkpoint counts its warm-up and its draws from the beginning, and
    all else as it was the last time.

    Attributes
    ----------
    compile_s
        Seconds of tracing and compiling, or of loading what was kept; paid once for a kind of fit.
    prepare_s
        Of all before warm-up that each table costs anew: counting its cells, a point estimate, and
        integrating the effects out.
    warmup_s
        Of warm-up.
    sampling_s
        Of the draws, those of the effects that were drawn given the others among them.
    summary_s
        Of all else in the fit: exact moments, and summaries of interactions.
    warmup_gradients, sampling_gradients
        Leapfrog steps of all chains, a gradient each, in warm-up and of the draws. Where chains
        start is one more each. Of a fit that did not record them, None.
    min_ess_bulk, min_ess_bulk_at
        Smallest bulk ESS of the quantities that the data identify, and which it is.
    ess_per_s
        Of that ESS, by second of sampling alone.
    ess_per_s_with_warmup
        By second of preparing, warm-up and sampling.
    ess_per_gradient
        By gradient of sampling.
    ess_per_gradient_with_warmup
        By gradient of warm-up and sampling.
    """

    compile_s: float
    prepare_s: float
    warmup_s: float
    sampling_s: float
    summary_s: float
    warmup_gradients: int | None
    sampling_gradients: int
    min_ess_bulk: float
    min_ess_bulk_at: str
    ess_per_s: float
    ess_per_s_with_warmup: float
    ess_per_gradient: float
    ess_per_gradient_with_warmup: float | None

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON-safe values; a number that could not be computed is None."""
        fields = self._asdict().items()
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in fields}

    def __str__(self) -> str:
        width = max(map(len, self._fields)) + 2
        told = {
            name: "unknown"
            if value is None
            else value
            if isinstance(value, str)
            else f"{value:,.4g}"
            if isinstance(value, float) and abs(value) < 1000
            else f"{value:,.0f}"
            for name, value in self._asdict().items()
        }
        return "\n".join(f"{name:<{width}}{value}" for name, value in told.items())


def timings(tree: xr.DataTree, statistics: Convergence | None = None) -> Timings:
    """Tell what a fit took: seconds, gradients, and effective draws by each of them.

    Parameters
    ----------
    tree
        A fit, or what :func:`crossed_jax.sample` gave.
    statistics
        What `convergence` gave for this tree, if it was called already.

    Returns
    -------
    Timings

    Raises
    ------
    InputError
        If the tree is not of a fit.
    """
    require_fit(tree, "timings", of_factors=False)
    seconds = json.loads(tree.attrs["seconds"])
    prepare = sum(seconds.get(part, 0.0) for part in PREPARING)
    sampling = sum(seconds.get(part, 0.0) for part in SAMPLING)
    counted = {"compile", "warmup", *PREPARING, *SAMPLING}
    names = identified(tree)
    statistics = convergence(tree, names) if statistics is None else statistics
    of_names = Convergence(*(statistic[names] for statistic in statistics))
    worst = mixing(of_names, tree["posterior"].sizes["chain"]).ess_bulk
    in_warmup = tree.attrs.get("warmup_gradients")
    in_warmup = None if in_warmup is None else int(in_warmup)
    gradients = int(tree["sample_stats"]["n_steps"].sum())
    return Timings(
        compile_s=seconds["compile"],
        prepare_s=prepare,
        warmup_s=seconds["warmup"],
        sampling_s=sampling,
        summary_s=sum(value for part, value in seconds.items() if part not in counted),
        warmup_gradients=in_warmup,
        sampling_gradients=gradients,
        min_ess_bulk=worst.value,
        min_ess_bulk_at=worst.at,
        ess_per_s=worst.value / sampling,
        ess_per_s_with_warmup=worst.value / (prepare + seconds["warmup"] + sampling),
        ess_per_gradient=worst.value / gradients,
        ess_per_gradient_with_warmup=(
            None if in_warmup is None else worst.value / (in_warmup + gradients)
        ),
    )
