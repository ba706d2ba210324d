# /// script
# requires-python = ">=3.9,<3.11"
# dependencies = [
#     "setuptools<60",
#     "numpy==1.21.6",
#     "scipy==1.7.3",
#     "pandas==1.3.5",
#     "xarray==0.20.2",
#     "xarray-einstats==0.5.0",
#     "arviz==0.12.1",
#     "netCDF4==1.7.2",
#     "cftime==1.6.4.post1",
#     "matplotlib==3.8.4",
#     "contourpy==1.2.1",
#     "Theano-PyMC==1.1.2",
#     "pymc3==3.11.6",
#     "fastprogress==1.0.5",
#     "dill==0.4.1",
#     "patsy==1.0.3",
#     "semver==3.0.4",
#     "cachetools==6.2.6",
#     "deprecat==2.1.3",
#     "filelock==3.19.1",
#     "typing_extensions==4.16.0",
# ]
# ///
"""PyMC3 3.11 itself, on the model and at the settings of the post."""

import numpy as np
from exchange import Job, counts_of


def main() -> None:
    """Build, compile, sample, summarize."""
    job = Job()
    with job.clock("import"):
        import arviz as az
        import pymc3 as pm

    problem = job.problem
    with job.clock("build"), pm.Model() as model:
        total = 0.0
        rate = 1.0 / problem.sd_scale
        factors = zip(problem.factors, problem.num_levels, problem.codes)  # noqa: B905
        for factor, size, codes in factors:
            mean = pm.Normal(f"{factor}_mean", problem.mean_loc, problem.mean_scale)
            sd = pm.Exponential(f"{factor}_sd", rate)
            total = total + pm.Normal(f"{factor}_level", mean, sd, shape=size)[codes]
        sigma = pm.Exponential("sigma", rate)
        pm.Normal("y", total, sigma, observed=problem.response)
    with model:
        with job.clock("compile"):
            # what pm.sample does first when it is given no step
            start, step = pm.init_nuts(
                init="auto", chains=job.chains, random_seed=job.seed, progressbar=False
            )
        with job.clock("run"):
            trace = pm.sample(
                draws=job.draws,
                tune=job.warmup,
                chains=job.chains,
                cores=job.cores,
                start=start,
                step=step,
                random_seed=job.seed,
                progressbar=False,
                compute_convergence_checks=False,
                discard_tuned_samples=False,
                return_inferencedata=False,
            )
        with job.clock("summary"):
            az.summary(az.from_pymc3(trace[job.warmup :], model=model))
    job.stamp()

    def statistic(name: str) -> np.ndarray:
        return np.stack(trace.get_sampler_stats(name, combine=False))

    warming = statistic("tune").astype(bool)
    steps = statistic("tree_size")
    job.split_by_gradients(job.seconds.pop("run"), steps[warming].sum(), steps[~warming].sum())
    kept = slice(job.warmup, None)
    wanted = ["sigma"] + [
        f"{f}_{part}" for f in problem.factors for part in ("level", "sd", "mean")
    ]
    draws = {name: np.stack(trace.get_values(name, combine=False))[:, kept] for name in wanted}
    counts = counts_of(
        steps[:, kept],
        statistic("diverging")[:, kept],
        statistic("depth")[:, kept],
        steps[:, : job.warmup],
    )
    job.write(draws, counts, ["pymc3", "Theano-PyMC", "numpy"], split="by gradients")


if __name__ == "__main__":
    main()
