r"""The screen model: genes by lines, with everything of a gene integrated out.

For gene g, line c and replicate r, in parts that can each be left out (`parts`),

.. math::
    y_{gcr} &= m + b_c + k_c a_g + \gamma_{gc} + \epsilon_{gcr}, \qquad
    V_{gc} = \sigma^2 e^{2 d_c + 2 e_g} \\
    a_g &\sim \mathrm{Normal}(0, \sigma_a), \quad b_c \sim \mathrm{Normal}(0, \sigma_b), \quad
    \log k \sim \mathrm{Normal}(0, \sigma_k) \text{ and } d \sim \mathrm{Normal}(0, \sigma_d)
    \text{, summing to zero} \\
    e_g &\sim \mathrm{Normal}(0, \sigma_e), \quad
    \gamma_{gc} \sim \mathrm{Normal}(0, \sqrt{\rho V_{gc}}), \quad
    \epsilon_{gcr} \sim \mathrm{Normal}(0, \sqrt{(1 - \rho) V_{gc}}) .

Lines show the genes' effects with slopes k of geometric mean one; lines and genes differ in how
noisy they are; and replicates of a cell share the interaction, a share of the variance. Without
these parts it is the additive model of :mod:`crossed_jax.models.priors`.

The factor with more levels is the genes, whatever it is called. Given the lines they are
independent, so NUTS moves some 3 C + 5 coordinates of C lines, whatever the number of genes.

`strata` lays a table out, `density` and `quadrature` are the lines' likelihood, which `gram` has
from sums over the genes where all weigh the same. `line_vectors` and `parameterization` are the
sampler's coordinates, made by `model_data` from the point estimate of `estimate`. Given draws of
the lines, `genes` draws the genes back, `interactions` sums the interactions up, and `responses`
simulates new rows.
"""
