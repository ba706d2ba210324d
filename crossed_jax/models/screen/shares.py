r"""How well rows of a cell tell the share of their variance that they have in common.

The mean of n rows of variance V has the variance :math:`V u`, with
:math:`u = \rho + (1 - \rho)/n`, and their n - 1 contrasts :math:`V (1 - \rho)`. With V unknown, the
Fisher information of cells about :math:`\operatorname{logit}\rho` is

.. math:: \sum \tfrac12 \big(1 - \tfrac1n\big) (\rho / u)^2 .
"""

import numpy as np

PRIOR_SD = 1.5  # of logits, by default


def width_of_share(rows: np.ndarray, share: float, enlarged: float = 1.0) -> float:
    """Rough posterior SD of the logit of a share.

    Parameters
    ----------
    rows
        Of each cell.
    share
        Its estimate.
    enlarged
        How many times as many cells there are.
    """
    rows, cells = np.unique(rows, return_counts=True)  # the sum is the same in any order of cells
    u = share + (1.0 - share) / rows
    information = enlarged * float(np.sum(0.5 * cells * (1.0 - 1.0 / rows) * (share / u) ** 2))
    return (information + PRIOR_SD**-2) ** -0.5
