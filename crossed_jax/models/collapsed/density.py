r"""The collapsed log-density of any table.

What is left of the table once the eliminated factor and the dense block are integrated out, as a
function of the variance ratios, is exact without a dense block
(:mod:`crossed_jax.models.collapsed.elimination`) and a Chebyshev series with one
(:mod:`crossed_jax.models.collapsed.interpolation`). The border is integrated out at each evaluation
(:mod:`crossed_jax.models.collapsed.border`, where the formula is), and the priors of the SDs are
added.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crossed_jax.models.collapsed.block_products import BlockProducts
from crossed_jax.models.collapsed.border import border_system
from crossed_jax.models.collapsed.elimination import ByCount, Fixed
from crossed_jax.models.collapsed.interpolation import Series
from crossed_jax.models.collapsed.parameterization import LogSDs, collapsed_parameterization
from crossed_jax.models.priors import Priors
from crossed_jax.models.sd_coordinate import anchor_positions
from crossed_jax.statistics.point_estimate import Estimate
from crossed_jax.types import Array

OUTSIDE = 1e4  # how steeply the log-density falls outside the box in which it is known


class ModelData(NamedTuple):
    """What the compiled log-density needs.

    Attributes
    ----------
    condensed
        The table without effects, as a function of the log ratios.
    gridded
        Factors of those ratios.
    border_owner
        Factor of each border column after the intercept's.
    mean, num_rows, num_levels
        What the response is measured from, N, and the levels of each factor as floats, shape
        (factors,).
    priors, estimate, anchors
        As for the other forms; the estimate's effects are left out.
    """

    condensed: ByCount | Series | Fixed
    gridded: Array
    border_owner: Array
    mean: Array
    num_rows: Array
    num_levels: Array
    priors: Priors
    estimate: Estimate
    anchors: Array


def model_data_of(
    products: BlockProducts,
    condensed: ByCount | Series | Fixed,
    priors: Priors,
    point: Estimate,
) -> ModelData:
    """Gather what the compiled log-density needs."""
    num_rows = products.rows.sum()
    return ModelData(
        condensed=condensed,
        gridded=np.array(products.gridded),
        border_owner=products.border_owner,
        mean=np.asarray(products.mean),
        num_rows=num_rows,
        num_levels=np.array(products.num_levels, float),
        anchors=anchor_positions(np.array(products.num_levels), num_rows, point),
        priors=priors,
        estimate=point._replace(effects=()),
    )


def log_density(position: LogSDs, model_data: ModelData) -> Array:
    """Log posterior density of the log SDs, all effects integrated out, up to a constant."""
    log_sds, log_sigma = position
    condensed, outside = model_data.condensed.at(2.0 * (log_sds[model_data.gridded] - log_sigma))
    intercept = model_data.priors.sum_of_means
    border_sds = jnp.exp(log_sds[model_data.border_owner])
    prior_sds = jnp.concatenate([jnp.asarray(intercept.scale, float).reshape(1), border_sds])
    matrix, score, squares = border_system(
        condensed.gram, prior_sds * jnp.exp(-log_sigma), intercept.loc - model_data.mean
    )
    if len(score) == 1:
        log_det, explained = jnp.log(matrix[0, 0]), score[0] ** 2 / matrix[0, 0]
    else:
        factor = jnp.linalg.cholesky(matrix)
        log_det = 2.0 * jnp.log(jnp.diagonal(factor)).sum()
        half = jax.scipy.linalg.solve_triangular(factor, score, lower=True)
        explained = jnp.sum(half**2)
    log_likelihood = -0.5 * (
        2.0 * model_data.num_rows * log_sigma
        + condensed.log_det
        + log_det
        + (squares - explained) * jnp.exp(-2.0 * log_sigma)
    )
    return log_likelihood + model_data.priors.log_scales(*position) - OUTSIDE * outside


PARAMETERIZATION = collapsed_parameterization(log_density)
