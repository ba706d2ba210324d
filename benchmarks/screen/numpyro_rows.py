r"""The screen model with every latent variable a parameter, sampled by NumPyro's NUTS on the rows.

Nothing is integrated out and nothing is shared with the package but the definition of the model:

.. math::
    y_{gcr} \sim \mathrm{Normal}\big(\ell_c + k_c a_g + \gamma_{gc},\ \sqrt{1 - \rho}\,\sigma
        e^{d_c + e_g}\big), \qquad \gamma_{gc} = \sqrt{\rho}\,\sigma e^{d_c + e_g} z_{gc}.

With guides u, of which :math:`a_g + o_u` takes the place of :math:`a_g`, rows of a guide in a line
share :math:`\delta_{uc} = \sqrt{\pi (1 - \rho_g)}\,\sigma e^{d_c + e_g} z_{uc}`, the noise has what
is left, and the logit of :math:`\rho_g` is Normal.

Its coordinates are as good as such coordinates get. Gene effects are their mean and zero-sum
deviations. Lines are moved by their expectation at the mean gene, :math:`\ell_c = m + b_c + k_c
\bar a`: its mean is free, with a prior on :math:`\bar\ell - \bar k \bar a`, a shift of Jacobian
one. So the ridge of :math:`a + \delta, b - k \delta` is gone. :math:`\gamma` and :math:`e` are not
centred, a is, and b, log k and d are halfway between, for SDs that may be near zero.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS

import crossed_jax as cj


def model(table: dict[str, Any], num_genes: int, num_lines: int) -> None:
    """State the model of a table's rows."""
    sd = {
        name: numpyro.sample(name, dist.Exponential(1.0))
        for name in (
            "gene_sd",
            "cell_line_sd",
            "sigma",
            "cell_line_log_slope_sd",
            "cell_line_log_noise_sd_sd",
            "gene_log_noise_sd_sd",
        )
    }

    def of_lines(name: str, scale: jax.Array) -> jax.Array:
        root = jnp.sqrt(scale)
        return root * numpyro.sample(name, dist.ZeroSumNormal(root, (num_lines,)))

    a = numpyro.sample("gene_effect", dist.ZeroSumNormal(sd["gene_sd"], (num_genes,)))
    a_mean = numpyro.sample("a_mean", dist.Normal(0.0, sd["gene_sd"] / math.sqrt(num_genes)))
    k = numpyro.deterministic(
        "cell_line_slope", jnp.exp(of_lines("log_k_scaled", sd["cell_line_log_slope_sd"]))
    )
    d = numpyro.deterministic(
        "cell_line_log_noise_sd", of_lines("d_scaled", sd["cell_line_log_noise_sd_sd"])
    )
    e = sd["gene_log_noise_sd_sd"] * _standard("e_standard", num_genes)
    e = numpyro.deterministic("gene_log_noise_sd", e)

    b = of_lines("b_scaled", sd["cell_line_sd"])
    line_effect = numpyro.deterministic("cell_line_effect", b + (k - k.mean()) * a_mean)
    intercept = numpyro.sample("intercept", dist.ImproperUniform(dist.constraints.real, (), ()))
    of_mean = dist.Normal(0.0, jnp.sqrt(50.0 + sd["cell_line_sd"] ** 2 / num_lines))
    numpyro.factor("b_mean", of_mean.log_prob(intercept - k.mean() * a_mean))
    location = intercept + line_effect

    gene, line = table["gene"], table["line"]
    mean, scale = location[line] + k[line] * a[gene], sd["sigma"] * jnp.exp(d[line] + e[gene])
    if "cell" in table:
        share = jax.nn.sigmoid(numpyro.sample("logit_share", dist.Normal(0.0, 1.5)))
        if "guide" in table:
            share = _of_genes(share, num_genes)
        share *= jnp.ones(num_genes)
        cell_scale = sd["sigma"] * jnp.exp(d[table["cell_line"]] + e[table["cell_gene"]])
        of_cell = jnp.sqrt(share)[table["cell_gene"]]
        z = _standard("z", len(table["cell_gene"]))
        gamma = numpyro.deterministic("interaction", of_cell * cell_scale * z)
        mean += gamma[table["cell"]]
        scale *= jnp.sqrt(1.0 - share)[gene]
    if "guide" in table:
        guide_sd = numpyro.sample("sgrna_sd", dist.Exponential(1.0))
        o = guide_sd * _standard("o_standard", len(table["gene_of_guide"]))
        o = numpyro.deterministic("sgrna_effect", o)
        nested = jax.nn.sigmoid(numpyro.sample("logit_nested", dist.Normal(0.0, 1.5)))
        z = _standard("delta_standard", len(table["row_of_guide_cell"]))
        of_cell = jnp.sqrt(nested) * scale[table["row_of_guide_cell"]] * z
        mean += k[line] * o[table["guide"]] + of_cell[table["guide_cell"]]
        scale *= jnp.sqrt(1.0 - nested)
    numpyro.sample("response", dist.Normal(mean, scale), obs=table["response"])


def _standard(name: str, size: int) -> jax.Array:
    return numpyro.sample(name, dist.Normal(0.0, 1.0).expand((size,)).to_event(1))


def _of_genes(typical: jax.Array, num_genes: int) -> jax.Array:
    """Shares of the genes about that of a typical one."""
    sd = numpyro.sample("gene_logit_share_sd", dist.Exponential(1.0))
    logit = jnp.log(typical / (1.0 - typical)) + sd * _standard("h_standard", num_genes)
    return numpyro.deterministic("gene_interaction_share", jax.nn.sigmoid(logit))


def sample(
    data: cj.CrossedData, *, num_warmup: int, num_draws: int, num_chains: int, seed: int
) -> dict[str, np.ndarray]:
    """Draw everything that the package reports, under its names.

    Returns
    -------
    dict of str to numpy.ndarray
        Shapes (chains, draws) and (chains, draws, levels), and with replicates `interaction`, of
        the cells in the order of their genes and lines; and `num_steps` and `diverging`.
    """
    numpyro.enable_x64()
    gene, line = (factor.codes for factor in data.factors)
    num_genes, num_lines = (len(factor.levels) for factor in data.factors)
    table = {"gene": gene, "line": line, "response": data.response}
    cells, cell = np.unique(gene.astype(np.int64) * num_lines + line, return_inverse=True)
    if len(cells) < len(cell):
        table |= {"cell": cell, "cell_gene": cells // num_lines, "cell_line": cells % num_lines}
    if data.nested is not None:
        guide = data.nested.units.codes
        pairs = guide.astype(np.int64) * num_lines + line
        _, first, guide_cell = np.unique(pairs, return_index=True, return_inverse=True)
        table |= {"guide": guide, "gene_of_guide": data.nested.parent_of_unit}
        table |= {"guide_cell": guide_cell, "row_of_guide_cell": first}
    sampler = MCMC(
        NUTS(model, target_accept_prob=0.9),
        num_warmup=num_warmup,
        num_samples=num_draws,
        num_chains=num_chains,
        chain_method="sequential",
        progress_bar=False,
    )
    table = {name: jnp.asarray(values) for name, values in table.items()}
    sampler.run(
        jax.random.key(seed), table, num_genes, num_lines, extra_fields=("num_steps", "diverging")
    )
    draws = jax.tree.map(np.asarray, sampler.get_samples(group_by_chain=True))
    for name in list(draws):
        if name in ("a_mean", "z") or name.endswith(("_standard", "_scaled")):
            del draws[name]
    for logit, share in (("logit_share", "interaction_share"), ("logit_nested", "nested_share")):
        if logit in draws:
            draws[share] = 1.0 / (1.0 + np.exp(-draws.pop(logit)))
    sampled = sampler.get_extra_fields(group_by_chain=True)
    return draws | {name: np.asarray(values) for name, values in sampled.items()}
