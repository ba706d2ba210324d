"""Student-t noise: speed on Avana beside GPBoost and NumPyro, agreement with NumPyro, calibration.

    python -m benchmarks.student_t avana          one run: GPBoost, crossed_jax, NumPyro
    python -m benchmarks.student_t agreement      two small tables against a long run of NumPyro
    python -m benchmarks.student_t calibration    ranks of 200 simulated tables

Each writes results/student_t_*.json. GPBoost runs in an environment of its own, which ``uv`` makes.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

import crossed_jax as cj
from benchmarks.machine import RESULTS, keep
from benchmarks.problems import DATA, PROBLEMS

SEED = 20
NUM_WARMUP = 300  # as much as NumPyro has
NUM_TABLES = 200

GPBOOST = """
import json, sys, time
import numpy as np, gpboost as gpb
held = np.load(sys.argv[1])
start = time.perf_counter()
model = gpb.GPModel(group_data=held["codes"].T, likelihood="t")
model.fit(y=held["response"], X=np.ones((len(held["response"]), 1)))
seconds = time.perf_counter() - start
print(json.dumps({
    "seconds": seconds,
    "variances": np.ravel(model.get_cov_pars()).tolist(),
    "noise": {k: float(np.ravel(v)[0]) for k, v in model.get_aux_pars().items()},
}))
"""


def avana() -> dict[str, Any]:
    """Fit Avana with each of three packages, in turn, on all cores."""
    import jax

    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    problem = PROBLEMS["avana"]
    frame = problem.load(DATA)
    data = cj.read_table(frame, response=problem.response, factors=problem.factors)
    return {
        "gpboost": _gpboost(data),
        "crossed_jax": _ours(data),
        "numpyro": _numpyro_speed(data),
    }


def _gpboost(data: cj.CrossedData) -> dict[str, Any]:
    held = RESULTS / "held.npz"
    np.savez(held, response=data.response, codes=np.stack([f.codes for f in data.factors]))
    command = ["uv", "run", "--no-project", "--python", "3.12", "--with", "gpboost==1.8.0"]
    command += ["--with", "numpy", "python", "-c", GPBOOST, str(held)]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    finally:
        held.unlink()
    return json.loads(done.stdout.splitlines()[-1])


def _ours(data: cj.CrossedData) -> dict[str, Any]:
    tree = cj.fit(
        data, noise="student_t", num_warmup=NUM_WARMUP, chain_method="parallel", seed=SEED
    )
    taken, verdict = cj.timings(tree), cj.diagnose(tree)
    posterior = tree["posterior"]
    return {
        "warmup": NUM_WARMUP,
        "seconds": json.loads(tree.attrs["seconds"]),
        "seconds_beside_compiling": taken.prepare_s + taken.warmup_s + taken.sampling_s,
        "converged": verdict.converged,
        "divergences": verdict.divergences,
        "gradients": taken.warmup_gradients + taken.sampling_gradients,
        "max_r_hat": verdict.max_r_hat,
        "min_ess_bulk": taken.min_ess_bulk,
        "min_ess_per_second": taken.ess_per_s_with_warmup,
        "leapfrog_steps": float(tree["sample_stats"]["n_steps"].mean()),
        "means": {
            name: float(posterior[name].mean())
            for name in ("intercept", "gene_sd", "cell_line_sd", "sigma", "nu")
        },
        "gene_variance": float((posterior["gene_sd"] ** 2).mean()),
    }


def _numpyro_speed(data: cj.CrossedData) -> dict[str, Any]:
    samples, seconds = _numpyro(
        data, "post", num_warmup=NUM_WARMUP, num_samples=300, num_chains=2, chain_method="parallel"
    )
    ess, _ = _ess(samples)
    smallest = min(float(value.min()) for value in ess.values())
    return {
        "seconds_beside_compiling": seconds,
        "warmup": NUM_WARMUP,
        "draws": 300,
        "chains": 2,
        "min_ess_bulk": smallest,
        "min_ess_per_second": smallest / seconds,
    }


def _numpyro(
    data: cj.CrossedData,
    priors: str,
    num_warmup: int,
    num_samples: int,
    num_chains: int,
    chain_method: str = "sequential",
) -> tuple[dict[str, np.ndarray], float]:
    """Sample the same posterior on the rows, with zero-sum effects; and tell its seconds."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    numpyro.enable_x64()
    unit = 1.0 if priors == "post" else float(np.std(data.response, ddof=1))
    loc = 0.0 if priors == "post" else float(np.mean(data.response))
    codes = [jnp.asarray(factor.codes) for factor in data.factors]
    sizes = [len(factor.levels) for factor in data.factors]

    def model(response: jax.Array) -> None:
        prior = dist.Exponential(1.0 / unit)
        sds = [numpyro.sample(f"{f}_sd", prior) for f in data.factor_names]
        variance = 2 * (5.0 * unit) ** 2
        variance += sum(sd**2 / size for sd, size in zip(sds, sizes, strict=True))
        mean = numpyro.sample("intercept", dist.Normal(loc, jnp.sqrt(variance)))
        for name, sd, size, code in zip(data.factor_names, sds, sizes, codes, strict=True):
            # centred, which these tables inform well enough for
            mean = mean + numpyro.sample(f"{name}_effect", dist.ZeroSumNormal(sd, (size,)))[code]
        sigma = numpyro.sample("sigma", prior)
        nu = numpyro.sample("nu", dist.Gamma(2.0, 0.1))
        numpyro.sample("response", dist.StudentT(nu, mean, sigma), obs=response)

    def run(warmup: int, samples: int) -> MCMC:
        sampler = MCMC(
            NUTS(model),
            num_warmup=warmup,
            num_samples=samples,
            num_chains=num_chains,
            chain_method=chain_method,
            progress_bar=False,
        )
        sampler.run(jax.random.key(SEED), jnp.asarray(data.response))
        return sampler

    clock = time.perf_counter()
    sampler = run(num_warmup, num_samples)
    samples = jax.tree.map(np.asarray, sampler.get_samples(group_by_chain=True))
    seconds = time.perf_counter() - clock
    clock = time.perf_counter()
    run(1, 1)
    seconds -= time.perf_counter() - clock
    return samples, seconds


def _ess(samples: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Bulk ESS of each quantity, and its R-hat."""
    from crossed_jax.sampling.ess import rank_diagnostics

    found = {
        name: rank_diagnostics(draws.reshape(*draws.shape[:2], -1))
        for name, draws in samples.items()
    }
    return {n: f.ess_bulk for n, f in found.items()}, {n: f.r_hat for n, f in found.items()}


def agreement() -> dict[str, Any]:
    """Hold means and SDs of all quantities to a long run of NumPyro, in Monte Carlo errors."""
    outliers = cj.simulate_screen(seed=0).data
    outliers.response[[5, 40, 77]] += [1.5, -1.0, 2.0]
    tables = {"post_with_outliers": (outliers, "post"), "penicillin": (cj.penicillin(), "scaled")}
    found = {}
    for name, (data, priors) in tables.items():
        theirs, _ = _numpyro(data, priors, num_warmup=2000, num_samples=10_000, num_chains=4)
        for form in ("sum_to_zero", "original"):
            tree = cj.fit(
                data,
                noise="student_t",
                priors=priors,
                parameterization=form,
                num_draws=10_000,
                seed=SEED,
            )
            ours = {key: tree["posterior"][key].values for key in theirs}
            found[f"{name}, {form}"] = _compare(ours, theirs)
    return found


def _compare(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, Any]:
    """Largest differences of means and of SDs over all quantities, in their standard errors."""
    ours, theirs = (
        {n: np.log(d) if n.endswith("_sd") or n in ("sigma", "nu") else d for n, d in each.items()}
        for each in (ours, theirs)
    )
    ess = [_ess(draws)[0] for draws in (ours, theirs)]
    squared = [
        _ess({n: (d - d.mean((0, 1))) ** 2 for n, d in draws.items()})[0]
        for draws in (ours, theirs)
    ]
    z_mean, z_sd, number = 0.0, 0.0, 0
    for name in theirs:
        flat = [d[name].reshape(-1, int(np.prod(d[name].shape[2:]))) for d in (ours, theirs)]
        sds = [f.std(0) for f in flat]
        error = np.sqrt(sum(sd**2 / e[name] for sd, e in zip(sds, ess, strict=True)))
        z_mean = max(z_mean, float(np.max(np.abs(flat[0].mean(0) - flat[1].mean(0)) / error)))
        variances = [(f - f.mean(0)) ** 2 for f in flat]
        error = np.sqrt(sum(v.var(0) / e[name] for v, e in zip(variances, squared, strict=True)))
        gap = np.abs(variances[0].mean(0) - variances[1].mean(0))
        z_sd = max(z_sd, float(np.max(gap / error)))
        number += flat[0].shape[1]
    smallest = [min(float(v.min()) for v in e.values()) for e in ess]
    return {
        "quantities": number,
        "largest_z_of_means": z_mean,
        "largest_z_of_variances": z_sd,
        "min_ess_crossed_jax": smallest[0],
        "min_ess_numpyro": smallest[1],
    }


def calibration() -> dict[str, Any]:
    """Rank true values among draws given tables simulated from them (Talts et al., 2018)."""
    import numpyro.distributions as dist
    from scipy import stats

    from crossed_jax.tables.crossed_data import CrossedData, Factor

    priors = cj.Priors(
        (dist.Normal(0.0, 5.0),) * 2,
        (dist.LogNormal(-0.5, 0.5), dist.LogNormal(-1.0, 0.5)),
        dist.LogNormal(-1.0, 0.4),
        {"nu": dist.LogNormal(1.5, 0.5)},
    )
    rng = np.random.default_rng(SEED)
    gene, line = np.repeat(np.indices((4, 6)).reshape(2, -1), 2, axis=1).astype(np.int32)
    ranks: dict[str, list[int]] = {}
    for seed in range(NUM_TABLES):
        sds = np.exp(rng.normal([-0.5, -1.0], 0.5))
        sigma, nu = np.exp(rng.normal(-1.0, 0.4)), np.exp(rng.normal(1.5, 0.5))
        levels = [
            rng.normal(rng.normal(0.0, 5.0), sd, n) for sd, n in zip(sds, (4, 6), strict=True)
        ]
        response = levels[0][gene] + levels[1][line] + sigma * rng.standard_t(nu, len(gene))
        factors = tuple(
            Factor(name, tuple(f"{name}{i}" for i in range(int(codes.max()) + 1)), codes)
            for name, codes in (("gene", gene), ("line", line))
        )
        data = CrossedData(response, "y", factors, 0, ())
        tree = cj.fit(
            data,
            noise="student_t",
            priors=priors,
            num_chains=1,
            num_draws=990,
            seed=seed,
            target_accept=0.9,
        )
        truth = {
            "intercept": sum(each.mean() for each in levels),
            "gene_sd": sds[0],
            "line_sd": sds[1],
            "sigma": sigma,
            "nu": nu,
        }
        drawn = {name: tree["posterior"][name].values[0] for name in truth}
        for name, each in zip(("gene", "line"), levels, strict=True):
            drawn[f"{name}_effect"] = tree["posterior"][f"{name}_effect"].values[0, :, 0]
            truth[f"{name}_effect"] = each[0] - each.mean()
        for name, values in drawn.items():
            ranks.setdefault(name, []).append(int((values[::10] < truth[name]).sum()))
    found = {}
    for name, each in ranks.items():
        counts = np.bincount(np.array(each) * 10 // 100, minlength=10)
        uniform = (np.array(each) + 0.5) / 100
        found[name] = {
            "chi_square_p": float(stats.chisquare(counts).pvalue),
            "z_of_mean_rank": float((uniform.mean() - 0.5) / np.sqrt(1 / 12 / NUM_TABLES)),
        }
    return {"tables": NUM_TABLES, "ranks": found}


def main() -> None:
    """Run what is named, and write what came of it."""
    name = sys.argv[1]
    result = {"avana": avana, "agreement": agreement, "calibration": calibration}[name]()
    keep(f"student_t_{name}", result)


if __name__ == "__main__":
    main()
