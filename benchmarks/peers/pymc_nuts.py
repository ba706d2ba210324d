# /// script
# requires-python = ">=3.12"
# dependencies = ["pymc==6.4.0", "nutpie==0.16.11", "numpy>=2"]
# ///
"""PyMC 6: by default (which samples with nutpie), with its own NUTS, and nutpie compiled ahead."""

import numpy as np
from exchange import Job, counts_of


def main() -> None:
    """Build, compile, sample, summarize."""
    job = Job()
    with job.clock("import"):
        import arviz as az
        import nutpie
        import pymc as pm

    problem = job.problem
    with job.clock("build"):
        model = build(pm, problem, job.form)
    common = {"draws": job.draws, "tune": job.warmup, "chains": job.chains, "cores": job.cores}
    packages = ["pymc", "pytensor", "numpy"] + ["nutpie"] * (job.sampler != "pymc")
    with model:
        if job.sampler in ("pymc", "default"):
            compiling = time_compiling(job, pm, nutpie)
            with job.clock("run"):
                tree = pm.sample(
                    nuts_sampler=compiling,
                    discard_tuned_samples=False,
                    compute_convergence_checks=False,
                    random_seed=job.seed,
                    progressbar=False,
                    **common,
                )
            job.seconds["run"] -= job.seconds["compile"]
        else:
            with job.clock("compile"):
                compiled = nutpie.compile_pymc_model(model)
            more = {"adaptation": "low_rank"} if job.sampler == "nutpie low rank" else {}
            with job.clock("run"):
                tree = nutpie.sample(compiled, seed=job.seed, progress_bar=False, **common, **more)
    with job.clock("summary"):
        az.summary(tree)
    job.stamp()

    statistics, warming = tree["sample_stats"], tree["warmup_sample_stats"]
    depth = statistics["depth" if "depth" in statistics else "tree_depth"]
    warmup_steps = np.asarray(warming["n_steps"])
    steps = np.asarray(statistics["n_steps"])
    job.split_by_gradients(job.seconds.pop("run"), warmup_steps.sum(), steps.sum())
    wanted = {"intercept", "sigma"} | {
        f"{factor}_{part}" for factor in problem.factors for part in ("level", "sd", "mean")
    }
    posterior = tree["posterior"]
    draws = {name: np.asarray(posterior[name]) for name in wanted & set(posterior.data_vars)}
    counts = counts_of(steps, np.asarray(statistics["diverging"]), np.asarray(depth), warmup_steps)
    job.write(draws, counts, packages, split="by gradients")


def time_compiling(job: Job, pm, nutpie) -> str | None:
    """Time the part of ``pm.sample`` that compiles; returns the sampler to ask it for, if any."""
    place, name = (
        (pm.sampling.mcmc, "init_nuts") if job.sampler == "pymc" else (nutpie, "compile_pymc_model")
    )
    compiles = getattr(place, name)

    def timed(*arguments, **options):
        with job.clock("compile"):
            return compiles(*arguments, **options)

    setattr(place, name, timed)
    return "pymc" if job.sampler == "pymc" else None


def build(pm, problem, form: str):
    """The model in its original form, or with an intercept and zero-sum effects."""
    loc, scale, rate = problem.mean_loc, problem.mean_scale, 1.0 / problem.sd_scale
    factors = list(zip(problem.factors, problem.num_levels, problem.codes, strict=True))
    with pm.Model() as model:
        sds = {factor: pm.Exponential(f"{factor}_sd", rate) for factor in problem.factors}
        if form == "original":
            total = 0.0
            for factor, size, codes in factors:
                mean = pm.Normal(f"{factor}_mean", loc, scale)
                total += pm.Normal(f"{factor}_level", mean, sds[factor], shape=size)[codes]
        else:
            variance = len(factors) * scale**2
            variance += sum(sds[factor] ** 2 / size for factor, size, _ in factors)
            total = pm.Normal("intercept", len(factors) * loc, variance**0.5)
            for factor, size, codes in factors:
                level = pm.ZeroSumNormal(f"{factor}_level", sds[factor], shape=size)
                total += level[codes]
        sigma = pm.Exponential("sigma", rate)
        pm.Normal("y", total, sigma, observed=problem.response)
    return model


if __name__ == "__main__":
    main()
