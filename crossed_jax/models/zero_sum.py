r"""The isometric map between free contrasts and zero-sum vectors.

Write :math:`Q_n` for an :math:`n \times (n-1)` matrix with orthonormal columns, each orthogonal to
:math:`\mathbf 1`. Any vector is then its mean plus a zero-sum part with free coordinates `u`:

.. math:: \alpha = \bar\alpha\,\mathbf 1 + Q_n u, \qquad u = Q_n^\top \alpha .

Because :math:`Q_n^\top Q_n = I`, the map has log-determinant zero, and `n` independent
:math:`\mathrm{Normal}(\mu, \tau)` coordinates are exactly a mean :math:`\bar\alpha \sim
\mathrm{Normal}(\mu, \tau/\sqrt n)` and, independent of it, :math:`n-1` contrasts
:math:`u_j \sim \mathrm{Normal}(0, \tau)`. No factor :math:`\sqrt{n/(n-1)}` and no power of
:math:`\tau` is missing: the scale keeps its meaning.

:math:`Q_n` here is the first :math:`n-1` columns of the Householder reflection that exchanges
:math:`\mathbf 1/\sqrt n` with the negative last axis, applied in O(n) and never built. PyMC's
``ZeroSumTransform`` and NumPyro's, which serves as the tests' oracle, make the same choice.
"""

import math

import jax.numpy as jnp

from crossed_jax.types import Array


def zero_sum(contrasts: Array) -> Array:
    """Map free contrasts to a zero-sum vector, ``Q_n @ contrasts``.

    Parameters
    ----------
    contrasts
        Shape (..., n - 1).

    Returns
    -------
    Array
        Shape (..., n); sums to zero over the last axis and has the norm of `contrasts`.
    """
    n = contrasts.shape[-1] + 1
    total = contrasts.sum(-1, keepdims=True)
    shift = total / (math.sqrt(n) + n)
    return jnp.concatenate([contrasts - shift, -total / math.sqrt(n)], -1)


def contrasts(effects: Array) -> Array:
    """Map any vector to the coordinates of its zero-sum part, ``Q_n.T @ effects``.

    Parameters
    ----------
    effects
        Shape (..., n). The mean over the last axis, if any, is projected out.

    Returns
    -------
    Array
        Shape (..., n - 1).
    """
    n = effects.shape[-1]
    last = effects[..., -1:]
    rest = effects[..., :-1]
    shift = rest.sum(-1, keepdims=True) / (n + math.sqrt(n)) + last / math.sqrt(n)
    return rest - shift
