r"""The screen model of a table with guides: units nested in the genes.

Several guides knock the same gene out. Replicates of a line share them, so what a guide does to a
line beside its gene would pass for the gene's interaction. For guide u of gene g,

.. math::
    y_{gucr} &= m + b_c + k_c (a_g + o_u) + \gamma_{gc} + \delta_{uc} + \epsilon_{gucr}, \qquad
    o_u \sim \mathrm{Normal}(0, \sigma_o), \\
    \gamma_{gc} &\sim \mathrm{Normal}\big(0, \sqrt{s_g V_{gc}}\big), \quad
    \delta_{uc} \sim \mathrm{Normal}\big(0, \sqrt{(1 - s_g)\,\pi V_{gc}}\big), \quad
    \epsilon \sim \mathrm{Normal}\big(0, \sqrt{(1 - s_g)(1 - \pi) V_{gc}}\big), \\
    \operatorname{logit} s_g &\sim \mathrm{Normal}(\operatorname{logit} s, \sigma_s) ,

with V as in :mod:`crossed_jax.models.screen`. Genes differ in how much of their variance is
interaction, which gives interactions heavy tails; without that part :math:`s_g = s`. Guides may
differ in their noise, too: :math:`\delta` and :math:`\epsilon` then have :math:`e^{f_u}` times the
SD, :math:`f_u \sim \mathrm{Normal}(0, \sigma_f)`.

`table` lays guides out, `sums` are what a gene's likelihood depends on, and `density` integrates
everything of a gene out but f, which NUTS moves in the coordinates of `noise`.
"""
