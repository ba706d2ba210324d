"""Simulation-based calibration with guides and samples, see `benchmarks.screen.calibration`.

    python -m benchmarks.screen.guide_calibration [TABLES]

Writes results/screen_guide_calibration.json.
"""

import sys
from typing import Any

import numpy as np
import numpyro.distributions as dist
import polars as pl

import crossed_jax as cj
from benchmarks.machine import keep
from benchmarks.screen.calibration import PRIORS, SEED, calibration
from crossed_jax.models.distributions import LogitNormal

NUM_TABLES = 100
NUM_GENES, NUM_GUIDES, NUM_LINES, REPLICATES, MISSING = 10, 3, 5, 2, 0.04
MODEL = cj.Model(
    slopes="line",
    noise_by=("gene", "line", "guide"),
    interaction=True,
    nested="guide",
    sample="sample",
)
SETTINGS = {
    "model": MODEL,
    "num_chains": 1,
    "num_warmup": 300,
    "num_draws": 990,
    "target_accept": 0.9,
}
THIN = 10
OF_GUIDES = PRIORS._replace(
    others={
        **PRIORS.others,
        "guide_sd": dist.LogNormal(-1.2, 0.4),
        "sample_sd": dist.LogNormal(-1.5, 0.4),
        "gene_logit_share_sd": dist.LogNormal(-0.5, 0.4),
        "guide_log_noise_sd_sd": dist.LogNormal(-1.0, 0.4),
        "nested_share": LogitNormal(0.0, 1.0),
    }
)


def simulate(rng: np.random.Generator) -> tuple[cj.CrossedData, dict[str, Any]]:
    """Draw parameters from the priors, and a table from those; the truth by the results' names."""
    shape = (NUM_GENES * NUM_GUIDES, NUM_LINES, REPLICATES)
    kept = np.random.default_rng(SEED).random(np.prod(shape)) >= MISSING  # the same in all tables
    guide, line, replicate = np.indices(shape).reshape(3, -1)[:, kept]
    sample = line * REPLICATES + replicate
    gene = guide // NUM_GUIDES
    m = rng.normal(0.5, 0.7) + rng.normal(-0.3, 0.7)
    centers = [-0.5, -1.2, -0.7, -1.0, -1.0, -1.0, -1.0, -0.5, -1.5, -1.0]
    sd_a, sd_o, sd_b, sigma, sd_k, sd_d, sd_e, sd_share, sd_s, sd_f = np.exp(
        rng.normal(centers, [0.4, 0.4, 0.4, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4])
    )
    logit, logit_nested = rng.normal(size=2)
    nested = 1.0 / (1.0 + np.exp(-logit_nested))
    share = 1.0 / (1.0 + np.exp(-rng.normal(logit, sd_share, NUM_GENES)))
    a, e = rng.normal(0.0, sd_a, NUM_GENES), rng.normal(0.0, sd_e, NUM_GENES)
    o, f = (rng.normal(0.0, sd, shape[0]) for sd in (sd_o, sd_f))
    s = rng.normal(0.0, sd_s, NUM_LINES * REPLICATES)
    b, log_k, d = (rng.normal(0.0, sd, NUM_LINES) for sd in (sd_b, sd_k, sd_d))
    log_k, d = log_k - log_k.mean(), d - d.mean()
    k = np.exp(log_k)
    sds = sigma * np.exp(d + e[:, None])
    gamma = np.sqrt(share)[:, None] * sds * rng.normal(size=sds.shape)
    delta = np.sqrt((1.0 - share[gene]) * nested) * rng.normal(size=shape[:2])[guide, line]
    noise = np.sqrt((1.0 - share[gene]) * (1.0 - nested)) * rng.normal(size=len(gene))
    response = m + b[line] + s[sample] + k[line] * (a[gene] + o[guide])
    response += gamma[gene, line] + sds[gene, line] * np.exp(f[guide]) * (delta + noise)
    columns = {"gene": gene, "line": line, "guide": guide, "sample": sample}
    whole = m + b + k * a.mean()
    data = cj.read_table(
        pl.DataFrame({"y": response, **columns}),
        response="y",
        factors=("gene", "line"),
        nested="guide",
        sample="sample",
    )
    return data, {
        "intercept": whole.mean(),
        "gene_effect": a - a.mean(),
        "guide_effect": o,
        "sample_effect": s,
        "line_effect": whole - whole.mean(),
        "line_slope": k,
        "line_log_noise_sd": d,
        "gene_log_noise_sd": e,
        "guide_log_noise_sd": f,
        "gene_interaction_share": share,
        "gene_sd": sd_a,
        "guide_sd": sd_o,
        "sample_sd": sd_s,
        "line_sd": sd_b,
        "sigma": sigma,
        "line_log_slope_sd": sd_k,
        "line_log_noise_sd_sd": sd_d,
        "gene_log_noise_sd_sd": sd_e,
        "guide_log_noise_sd_sd": sd_f,
        "gene_logit_share_sd": sd_share,
        "interaction_share": 1.0 / (1.0 + np.exp(-logit)),
        "nested_share": nested,
        "interaction": gamma,
    }


def main() -> None:
    """Run it, and write what came of it."""
    num_tables = int(sys.argv[1]) if len(sys.argv) > 1 else NUM_TABLES
    result = calibration(num_tables, simulate, OF_GUIDES, SETTINGS, THIN, None)
    keep("screen_guide_calibration", result)


if __name__ == "__main__":
    main()
