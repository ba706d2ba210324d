r"""Where the variance comes from: the SD of each factor and of the noise, and their shares.

The share of variance of a component is the posterior mean of

.. math:: \frac{\sigma_k^2}{\sum_j \sigma_j^2},

the sum running over the SD of each factor and the noise, whose :math:`\sigma^2` here is the
variance of one response about its expectation: a mean of ratios, draw by draw, so that the shares
add up to one. A draw whose noise has no finite variance, as of Student-t noise with
:math:`\nu \le 2`, counts with the limit of its ratios: one for the noise, zero for the factors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossed_jax.models.model import SHARE, parts_of
from crossed_jax.models.noise import noise_of
from crossed_jax.results.summaries import moments_of_draws
from crossed_jax.results.tree import factor_names, require_fit
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr


def variance_components(tree: xr.DataTree, interval: float = 0.95) -> pl.DataFrame:
    """Tabulate the SD of each factor, the noise's SD or scale, and each one's share of variance.

    Parameters
    ----------
    tree
        A fit.
    interval
        Probability inside the equal-tailed interval.

    Returns
    -------
    polars.DataFrame
        One row per factor and for what is nested in them, and last the noise's own, ``sigma``:
        component, sd_mean, sd_sd, lower, upper (in units of the response), share_of_variance (its
        posterior mean), share_lower and share_upper. The row ``sigma`` is of the noise's SD, or of
        the scale of Student-t noise, which is less than its SD; the share is that of its variance
        in either case, and all of a draw's where that is infinite. Shares are null in the
        ``design_matrix`` form, which gives its effects a fixed prior and so has no factor SDs.

        The screen model's are those at a typical level of each factor; what its replicates share
        has a row ``interaction``, and ``sigma`` is then the SD of what is left.

    Raises
    ------
    InputError
        If `interval` is not between 0 and 1, or `tree` not a fit.
    """
    import polars as pl

    require_fit(tree, "variance_components")
    posterior = tree["posterior"].to_dataset()

    def drawn(name: str) -> np.ndarray:
        return posterior[name].transpose("chain", "draw").values

    noise = noise_of(tree.attrs)
    of_noise = {quantity.name: drawn(quantity.name) for quantity in noise.quantities}
    interaction = drawn(SHARE) if SHARE in posterior else None
    parts = parts_of(tree.attrs, factor_names(tree))
    units = () if parts is None else filter(None, (parts.nested, parts.sample))
    factors = [*factor_names(tree), *units]
    factors = [factor for factor in factors if of_factor(factor, "sd") in posterior]
    sds = {factor: drawn(of_factor(factor, "sd")) for factor in factors}
    if interaction is not None:
        sds["interaction"] = np.sqrt(interaction) * of_noise["sigma"]
        of_noise["sigma"] = np.sqrt(1.0 - interaction) * of_noise["sigma"]
    variances = np.stack([*(sd**2 for sd in sds.values()), noise.variance(of_noise)], -1)
    sds |= {q.name: of_noise[q.name] for q in noise.quantities if q.in_unit}
    moments = moments_of_draws(np.stack([*sds.values()], -1), interval)
    shares = dict.fromkeys(("mean", "lower", "upper"), np.full(len(sds), np.nan))
    if factors:
        variances[np.isinf(variances[..., -1])] = [0.0] * (variances.shape[-1] - 1) + [1.0]
        shares = moments_of_draws(variances / variances.sum(-1, keepdims=True), interval)
    return pl.DataFrame(
        {
            "component": list(sds),
            "sd_mean": moments["mean"],
            "sd_sd": moments["sd"],
            "lower": moments["lower"],
            "upper": moments["upper"],
            "share_of_variance": shares["mean"],
            "share_lower": shares["lower"],
            "share_upper": shares["upper"],
        }
    ).with_columns(pl.col("^share_.*$").fill_nan(None))
