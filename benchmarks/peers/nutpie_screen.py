# /// script
# requires-python = ">=3.12"
# dependencies = ["pymc==6.4.0", "nutpie==0.16.11", "numpy>=2"]
# ///
"""The screen model with every latent variable a parameter, written in PyMC and sampled by nutpie.

    python nutpie_screen.py TABLE.npz DRAWS.npz '{"warmup": .., "draws": .., "seed": .., ...}'

The coordinates are those of NumPyro's (:mod:`benchmarks.screen.numpyro_rows`). Sampling ends after
the `limit` in seconds with the draws that there are.
"""

import json
import sys
import time

import numpy as np
import nutpie
import pymc as pm

SDS = (
    "gene_sd",
    "cell_line_sd",
    "sigma",
    "cell_line_log_slope_sd",
    "cell_line_log_noise_sd_sd",
    "gene_log_noise_sd_sd",
)
HELPERS = ("a_mean", "e_standard", "b_scaled", "log_k_scaled", "d_scaled", "z", "logit_share")


def build(table) -> pm.Model:
    """State the model of a table's rows."""
    gene, line, cell = table["gene"], table["line"], table["cell"]
    cell_gene, cell_line = table["cell_gene"], table["cell_line"]
    num_genes, num_lines = int(gene.max()) + 1, int(line.max()) + 1
    with pm.Model() as model:
        sd = {name: pm.Exponential(name, 1.0) for name in SDS}

        def of_lines(name: str, scale):
            root = scale**0.5
            return root * pm.ZeroSumNormal(name, root, shape=num_lines)

        a = pm.ZeroSumNormal("gene_effect", sd["gene_sd"], shape=num_genes)
        a_mean = pm.Normal("a_mean", 0.0, sd["gene_sd"] / num_genes**0.5)
        log_k = of_lines("log_k_scaled", sd["cell_line_log_slope_sd"])
        k = pm.Deterministic("cell_line_slope", pm.math.exp(log_k))
        d = of_lines("d_scaled", sd["cell_line_log_noise_sd_sd"])
        pm.Deterministic("cell_line_log_noise_sd", d)
        e = sd["gene_log_noise_sd_sd"] * pm.Normal("e_standard", 0.0, 1.0, shape=num_genes)
        pm.Deterministic("gene_log_noise_sd", e)
        b = of_lines("b_scaled", sd["cell_line_sd"])
        line_effect = pm.Deterministic("cell_line_effect", b + (k - k.mean()) * a_mean)
        intercept = pm.Flat("intercept")
        of_mean = pm.Normal.dist(0.0, (50.0 + sd["cell_line_sd"] ** 2 / num_lines) ** 0.5)
        pm.Potential("b_mean", pm.logp(of_mean, intercept - k.mean() * a_mean))
        share = pm.math.sigmoid(pm.Normal("logit_share", 0.0, 1.5))
        pm.Deterministic("interaction_share", share)
        z = pm.Normal("z", 0.0, 1.0, shape=len(cell_gene))
        of_cell = sd["sigma"] * pm.math.exp(d[cell_line] + e[cell_gene])
        mean = (intercept + line_effect)[cell_line] + k[cell_line] * a[cell_gene]
        mean = mean + share**0.5 * of_cell * z
        noise = (1.0 - share) ** 0.5 * of_cell
        pm.Normal("response", mean[cell], noise[cell], observed=table["response"])
    return model


def main() -> None:
    """Compile, sample for no longer than asked, and write draws of all but the interactions."""
    table, out, settings = np.load(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    model = build(table)
    clock = time.perf_counter()
    compiled = nutpie.compile_pymc_model(model)
    compile_seconds = time.perf_counter() - clock
    clock = time.perf_counter()
    sampler = nutpie.sample(
        compiled,
        tune=settings["warmup"],
        draws=settings["draws"],
        chains=settings["chains"],
        cores=settings["chains"],
        seed=settings["seed"],
        target_accept=0.9,
        save_warmup=False,
        progress_bar=False,
        blocking=False,
    )
    try:
        tree = sampler.wait(timeout=settings["limit"])
    except TimeoutError:
        tree = sampler.abort()
    seconds = time.perf_counter() - clock
    posterior, statistics = tree["posterior"], tree["sample_stats"]
    drawn = np.isfinite(posterior["intercept"].values).all(0)  # by all chains, if it was stopped
    kept = {str(name): values for name, values in posterior.data_vars.items()}
    kept = {name: values.values[:, drawn] for name, values in kept.items() if name not in HELPERS}
    np.savez(
        out,
        compile_seconds=compile_seconds,
        seconds=seconds,
        num_steps=statistics["n_steps"].values[:, drawn],
        diverging=statistics["diverging"].values[:, drawn],
        **kept,
    )


if __name__ == "__main__":
    main()
