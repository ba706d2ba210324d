r"""The border, integrated out exactly at every evaluation.

The border's columns :math:`W` are the intercept's and those of factors with few levels, and
:math:`E = \mathrm{diag}(s_0, \sigma_k)/\sigma` the prior SDs of their coefficients relative to the
noise. With :math:`H` and :math:`\Gamma = [W\ y]^\top H^{-1} [W\ y]` of
:mod:`crossed_jax.models.collapsed.elimination`,

.. math::
    -2\log p &= N \log 2\pi\sigma^2 + \log|H| + \log|M|
        + \big(\Gamma_{yy} - v^\top M^{-1} v\big)/\sigma^2,
        \qquad M = I + E\Gamma_{WW}E, \quad v = E\,\Gamma_{Wy} .

An intercept whose prior mean lies :math:`\delta = m_0 - \bar y` from the response's adds
:math:`\delta\sigma/s_0` to the first entry of v and its square to :math:`\Gamma_{yy}`.
"""

from typing import NamedTuple

from crossed_jax.models.collapsed import chebyshev
from crossed_jax.types import Array


class BorderSystem(NamedTuple):
    """M, v and Gamma_yy; leading dimensions alike."""

    matrix: Array
    score: Array
    squares: Array


def border_system(gram: Array, relative_sds: Array, shift: Array | float) -> BorderSystem:
    """Set up the border's equations.

    Parameters
    ----------
    gram
        Gamma, shape (..., B + 1, B + 1).
    relative_sds
        E, shape (..., B).
    shift
        From the response's mean to the prior mean of the intercept.
    """
    xp = chebyshev.namespace(gram)
    matrix = xp.eye(relative_sds.shape[-1]) + (
        relative_sds[..., :, None] * gram[..., :-1, :-1] * relative_sds[..., None, :]
    )
    pull = xp.zeros_like(relative_sds[..., 1:])
    pull = xp.concatenate([(shift / relative_sds[..., 0])[..., None], pull], -1)
    return BorderSystem(
        matrix, relative_sds * gram[..., :-1, -1] + pull, gram[..., -1, -1] + pull[..., 0] ** 2
    )
