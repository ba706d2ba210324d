"""Simulation-based calibration of the screen model (Talts et al., 2018, arXiv:1804.06788).

    python -m benchmarks.screen.calibration [TABLES]

Parameters are drawn from the priors and a table from the parameters; the rank of each true value
among its draws, given the table, is then uniform. So is the posterior probability that an
interaction is below its true value. Writes results/screen_calibration.json.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpyro.distributions as dist
from scipy import stats
from scipy.special import ndtr

import crossed_jax as cj
from benchmarks.machine import keep
from crossed_jax.models.distributions import LogitNormal
from crossed_jax.tables.crossed_data import CrossedData, Factor

SEED = 20
NUM_TABLES = 200
NUM_GENES, NUM_LINES, REPLICATES, MISSING = 12, 5, 2, 0.12
SETTINGS = {
    "model": "screen",
    "num_chains": 1,
    "num_warmup": 500,
    "num_draws": 1980,
    "target_accept": 0.9,
}
THIN = 20

PRIORS = cj.Priors(
    (dist.Normal(0.5, 0.7), dist.Normal(-0.3, 0.7)),
    (dist.LogNormal(-0.5, 0.4), dist.LogNormal(-0.7, 0.4)),
    dist.LogNormal(-1.0, 0.3),
    {
        "line_log_slope_sd": dist.LogNormal(-1.0, 0.4),
        "line_log_noise_sd_sd": dist.LogNormal(-1.0, 0.4),
        "gene_log_noise_sd_sd": dist.LogNormal(-1.0, 0.4),
        "interaction_share": LogitNormal(0.0, 1.0),
    },
)


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Codes of gene and line, the same in all tables, which share a compiled program."""
    gene, line, _ = np.indices((NUM_GENES, NUM_LINES, REPLICATES)).reshape(3, -1)
    kept = np.random.default_rng(SEED).random(len(gene)) >= MISSING
    return gene[kept].astype(np.int32), line[kept].astype(np.int32)


def simulate(rng: np.random.Generator) -> tuple[CrossedData, dict[str, Any]]:
    """Draw parameters from the priors, and a table from those; the truth by the results' names."""
    gene, line = rows()
    m = rng.normal(0.5, 0.7) + rng.normal(-0.3, 0.7)
    sd_a, sd_b, sigma, sd_k, sd_d, sd_e = np.exp(
        rng.normal([-0.5, -0.7, -1.0, -1.0, -1.0, -1.0], [0.4, 0.4, 0.3, 0.4, 0.4, 0.4])
    )
    share = 1.0 / (1.0 + np.exp(-rng.normal()))
    a, e = rng.normal(0.0, sd_a, NUM_GENES), rng.normal(0.0, sd_e, NUM_GENES)
    b, log_k, d = (rng.normal(0.0, sd, NUM_LINES) for sd in (sd_b, sd_k, sd_d))
    log_k, d = log_k - log_k.mean(), d - d.mean()
    k = np.exp(log_k)
    sds = sigma * np.exp(d + e[:, None])
    gamma = np.sqrt(share) * sds * rng.normal(size=sds.shape)
    noise = np.sqrt(1.0 - share) * sds[gene, line] * rng.normal(size=len(gene))
    response = m + b[line] + k[line] * a[gene] + gamma[gene, line] + noise
    whole = m + b + k * a.mean()
    factors = tuple(
        Factor(name, tuple(f"{name}{i}" for i in range(number)), codes)
        for name, number, codes in (("gene", NUM_GENES, gene), ("line", NUM_LINES, line))
    )
    return CrossedData(response, "y", factors, 0, ()), {
        "intercept": whole.mean(),
        "gene_effect": a - a.mean(),
        "line_effect": whole - whole.mean(),
        "line_slope": k,
        "line_log_noise_sd": d,
        "gene_log_noise_sd": e,
        "gene_sd": sd_a,
        "line_sd": sd_b,
        "sigma": sigma,
        "line_log_slope_sd": sd_k,
        "line_log_noise_sd_sd": sd_d,
        "gene_log_noise_sd_sd": sd_e,
        "interaction_share": share,
        "gene_intercept": a,
        "line_intercept": m + b,
        "line_mean": m,
        "interaction": gamma,
    }


def scalars(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Take the first and last level of what has levels, those on the last axis."""
    for name, each in values.items():
        if name.endswith(
            ("_effect", "_slope", "_log_noise_sd", "_intercept", "_interaction_share")
        ):
            yield f"{name}[first]", each[..., 0]
            yield f"{name}[last]", each[..., -1]
        else:
            yield name, each


def places(tree: Any, gamma: np.ndarray) -> dict[str, float]:
    """Posterior probability that the interaction of a cell of one row, and of two, is below truth.

    They are averages over the draws of genes and lines.
    """
    drawn = {name: values.values[0] for name, values in tree["posterior"].data_vars.items()}
    cells = tree["interactions"].to_dataset()
    found = {}
    for rows_seen in (1, 2):
        cell = cells.isel(cell=int(np.argmax(cells["n"].values == rows_seen)))
        gene, line = int(cell["gene_code"]), int(cell["line_code"])
        share = drawn["interaction_share"]
        expected = drawn["intercept"] + drawn["line_effect"][:, line]
        expected = expected + drawn["line_slope"][:, line] * drawn["gene_effect"][:, gene]
        log_noise = drawn["line_log_noise_sd"][:, line] + drawn["gene_log_noise_sd"][:, gene]
        variance = (drawn["sigma"] * np.exp(log_noise)) ** 2
        u = share + (1.0 - share) / rows_seen
        mean = share / u * (float(cell["raw_mean"]) - expected)
        sd = np.sqrt(share * (1.0 - share) * variance / (rows_seen * u))
        below = ndtr((gamma[gene, line] - mean) / sd).mean()
        found[f"interaction of {rows_seen} row(s)"] = float(below)
    return found


def of_interactions(tree: Any, gamma: np.ndarray) -> dict[str, float]:
    """Hold a fit's summaries to the truth: whether intervals cover, and signs are right."""
    cells = tree["interactions"].to_dataset()
    true = gamma[cells["gene_code"].values, cells["line_code"].values]
    wrong = np.sign(cells["mean"].values) != np.sign(true)
    covers = (cells["lower"].values < true) & (true < cells["upper"].values)
    z = (true - cells["mean"].values) / cells["sd"].values
    return {
        "coverage_95": float(covers.mean()),
        "squared_z": float((z**2).mean()),
        "wrong_sign_less_lfsr": float((wrong - cells["lfsr"].values).mean()),
    }


def uniformity(uniform: np.ndarray) -> dict[str, float]:
    """Chi-square on ten bins, and how far mean and variance are from a uniform number's."""
    number = len(uniform)
    counts = np.bincount((uniform * 10).astype(int), minlength=10)
    return {
        "chi_square_p": float(stats.chisquare(counts).pvalue),
        "z_of_mean": float((uniform.mean() - 0.5) / np.sqrt(1 / 12 / number)),
        "z_of_variance": float((uniform.var() - 1 / 12) / np.sqrt(1 / 180 / number)),
    }


def calibration(
    num_tables: int,
    simulate: Callable = simulate,
    priors: cj.Priors = PRIORS,
    settings: Mapping[str, Any] = SETTINGS,
    thin: int = THIN,
    places: Callable | None = places,
) -> dict[str, Any]:
    """Fit tables simulated from the priors, and look at the ranks of the truth."""
    rng = np.random.default_rng(SEED)
    uniform: dict[str, list[float]] = {}
    summaries: dict[str, list[float]] = {}
    divergences, depth_hits = 0, 0
    num_ranks = settings["num_draws"] // thin + 1
    for seed in range(num_tables):
        data, truth = simulate(rng)
        tree = cj.fit(data, priors=priors, seed=seed, **settings)
        divergences += int(tree["sample_stats"]["diverging"].sum())
        depth_hits += int(tree["sample_stats"]["reached_max_treedepth"].sum())
        gamma = truth.pop("interaction")
        posterior = tree["posterior"]
        if "gene_intercept" in truth:
            posterior = cj.original_coordinates(tree, seed=seed)["posterior"]
        drawn = dict(scalars({name: posterior[name].values[0] for name in truth}))
        for name, true in scalars(truth):
            rank = int((drawn[name][::thin] < true).sum())
            uniform.setdefault(name, []).append((rank + rng.random()) / num_ranks)
        for name, below in (places(tree, gamma) if places else {}).items():
            uniform.setdefault(name, []).append(below)
        for name, value in of_interactions(tree, gamma).items():
            summaries.setdefault(name, []).append(value)
        if seed % 10 == 9:
            print(f"{seed + 1} of {num_tables} tables, {divergences} divergences", flush=True)
    return {
        "tables": num_tables,
        "divergences": divergences,
        "max_tree_depth_hits": depth_hits,
        "ranks": {name: uniformity(np.array(each)) for name, each in uniform.items()},
        "interactions": {
            name: {
                "mean": float(np.mean(each)),
                "standard_error": float(np.std(each, ddof=1) / np.sqrt(len(each))),
            }
            for name, each in summaries.items()
        },
    }


def main() -> None:
    """Run it, and write what came of it."""
    result = calibration(int(sys.argv[1]) if len(sys.argv) > 1 else NUM_TABLES)
    keep("screen_calibration", result)


if __name__ == "__main__":
    main()
