"""The post's question, answered on its own data: what does the ridge cost?

The post: PyMC3, 90 rows, 2 chains of 1000 tuning steps and 4000 draws, 9 min 17 s, every tree at
its maximum depth, fewer than 10% effective draws. The same data, chains and draws here, in four
forms of the model, compared on the quantities that the data identify: the intercept, the levels'
deviations and all SDs.
"""

from collections.abc import Callable
from typing import Any

import polars as pl
import xarray as xr

from crossed_jax.fitting import fit
from crossed_jax.models.normal import NOISE
from crossed_jax.results.convergence import convergence, identified
from crossed_jax.results.timings import timings
from crossed_jax.tables.crossed_data import CrossedData

# what the post tells: 557 s, and "fewer than 10% effective" of 8,000 draws
POST_SECONDS, POST_ESS = 557.0, 800.0


def fit_forms(
    data: CrossedData, report: Callable[[str], Callable[[Any], None] | None], seed: int = 0
) -> dict[str, xr.DataTree]:
    """Fit every form of the model at the post's settings.

    Parameters
    ----------
    data
        The table.
    report
        Given the name of a form, makes the function told of its progress, or None.
    seed
        Of each fit.
    """
    return {
        form: fit(
            data,
            parameterization=form,
            num_chains=2,
            num_warmup=1000,
            num_draws=4000,
            seed=seed,
            report=report(form),
        )
        for form in NOISE.parameterizations
    }


def compare(trees: dict[str, xr.DataTree]) -> pl.DataFrame:
    """Lay the forms side by side, the post's own run first.

    Returns
    -------
    polars.DataFrame
        One row a form (the post's ESS is the most it can have been): seconds of compiling and of
        sampling (warm-up and draws, of the effects too), the smallest bulk
        ESS and largest R-hat of the identified quantities, ESS per second of sampling, divergent
        draws, draws at the maximum tree depth, and leapfrog steps a draw.
    """
    rows: list[dict[str, Any]] = [
        {
            "form": "PyMC3 (the post)",
            "sampling_s": POST_SECONDS,
            "min_ess": POST_ESS,
            "ess_per_s": POST_ESS / POST_SECONDS,
        }
    ]
    for form, tree in trees.items():
        statistics = convergence(tree, identified(tree))
        taken = timings(tree, statistics)
        sampling = taken.prepare_s + taken.warmup_s + taken.sampling_s
        sampled = tree["sample_stats"]
        rows.append(
            {
                "form": form,
                "compile_s": taken.compile_s,
                "sampling_s": sampling,
                "min_ess": taken.min_ess_bulk,
                "ess_per_s": taken.ess_per_s_with_warmup,
                "divergences": int(sampled["diverging"].sum()),
                "max_tree_depth_hits": int(sampled["reached_max_treedepth"].sum()),
                "max_r_hat": float(max(x.max() for x in statistics.r_hat.data_vars.values())),
                "steps_per_draw": float(sampled["n_steps"].mean()),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def explain(comparison: pl.DataFrame) -> str:
    """Say in two sentences what the comparison shows."""
    by_form = {row["form"]: row for row in comparison.to_dicts()}
    free, original = by_form["sum_to_zero"], by_form["original"]
    collapsed = by_form["collapsed"]
    return (
        f"In the original form the likelihood is flat along a line, and NUTS walks it with "
        f"{original['steps_per_draw']:,.0f} leapfrog steps a draw and "
        f"{original['max_tree_depth_hits']:,} of 8,000 draws at the maximum tree depth; in the "
        f"sum-to-zero form, the same posterior with that line integrated out, it takes "
        f"{free['steps_per_draw']:,.0f} and {free['sampling_s']:.1f} s in all, "
        f"{POST_SECONDS / free['sampling_s']:,.0f} times faster than the post's 9 min 17 s. "
        "The collapsed form integrates the effects out too and draws them back exactly, in "
        f"{collapsed['sampling_s']:.2f} s: the same posterior again, partially pooled on both "
        "sides, which the design matrix is not."
    )
