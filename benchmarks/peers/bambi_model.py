# /// script
# requires-python = ">=3.12"
# dependencies = ["bambi==0.21.0", "nutpie==0.16.11", "numpy>=2"]
# ///
"""bambi: an intercept and two random intercepts, by its defaults or with the problem's priors.

Its defaults are non-centred with weakly informative priors of its own: another posterior. With the
problem's priors and centred effects it is the problem's posterior: the factors' means, which the
form lacks, add up to the intercept's prior.
"""

import numpy as np
from exchange import Job, counts_of


def main() -> None:
    """Build, compile, sample, summarize."""
    job = Job()
    with job.clock("import"):
        import arviz as az
        import bambi as bmb
        import pandas as pd

    problem = job.problem
    columns = {
        name: pd.Categorical([f"{code:05d}" for code in codes])
        for name, codes in zip(problem.factors, problem.codes, strict=True)
    }
    frame = pd.DataFrame({"y": problem.response, **columns})
    priors, centred = None, job.form == "centred"
    if centred:
        sd = bmb.Prior("Exponential", lam=1.0 / problem.sd_scale)
        number = len(problem.factors)
        mean = {"mu": number * problem.mean_loc, "sigma": number**0.5 * problem.mean_scale}
        effect = bmb.Prior("Normal", mu=0.0, sigma=sd)
        priors = {f"1|{name}": effect for name in problem.factors}
        priors |= {"Intercept": bmb.Prior("Normal", **mean), "sigma": sd}
    with job.clock("build"):
        formula = "y ~ 1 + " + " + ".join(f"(1|{name})" for name in problem.factors)
        model = bmb.Model(formula, frame, priors=priors, noncentered=not centred)
        model.build()
    with job.clock("run"):
        tree = model.fit(
            draws=job.draws,
            tune=job.warmup,
            chains=job.chains,
            cores=job.cores,
            random_seed=job.seed,
            discard_tuned_samples=False,
            progressbar=False,
        )
    with job.clock("summary"):
        az.summary(tree)
    job.stamp()

    posterior, statistics = tree["posterior"], tree["sample_stats"]
    sampling_time = posterior.attrs.get("sampling_time", statistics.attrs.get("sampling_time"))
    total = job.seconds.pop("run")
    job.seconds["compile"] = total - sampling_time if sampling_time else 0.0
    steps = np.asarray(statistics["n_steps"])
    warmup_steps = np.asarray(tree["warmup_sample_stats"]["n_steps"])
    job.split_by_gradients(total - job.seconds["compile"], warmup_steps.sum(), steps.sum())
    draws = {"intercept": posterior["Intercept"], "sigma": posterior["sigma"]}
    for name in problem.factors:
        draws[f"{name}_level"] = posterior[f"1|{name}"]
        draws[f"{name}_sd"] = posterior[f"1|{name}_sigma"]
    depth = statistics["depth" if "depth" in statistics else "tree_depth"]
    counts = counts_of(steps, np.asarray(statistics["diverging"]), np.asarray(depth), warmup_steps)
    job.write(
        {name: np.asarray(values) for name, values in draws.items()},
        counts,
        ["bambi", "pymc", "numpy"],
        split="by gradients",
    )


if __name__ == "__main__":
    main()
