"""The collapsed form: Gaussian noise, all effects integrated out, and drawn back exactly.

A balanced table has a closed form (`balanced`). Any other is taken apart by linear algebra, file by
file: its cross-products in blocks (`block_products`); effects eliminated by Schur complements
(`elimination`), the last of them exactly at every evaluation (`border`); what that leaves, as a
function of the ratios of variances, interpolated where it is dear (`chebyshev`, `interpolation`);
the log-density that NUTS moves in (`density`, `parameterization`). Then the way back, given draws
of the SDs: the effects' conditional posterior (`conditional`), exact draws of them
(`back_substitution`, `effect_draws`), their posterior means and SDs without draws
(`effect_moments`) and quantiles (`quantiles`), and how good it all is (`interpolation_error`).
`collapse` puts the two ways together, and `modes` looks for the posterior's modes beforehand.
"""
