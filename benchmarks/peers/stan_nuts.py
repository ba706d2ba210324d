# /// script
# requires-python = ">=3.12"
# dependencies = ["pystan==3.14.0", "pandas>=2.2", "numpy>=2"]
# ///
"""Stan, by PyStan: the original form, and ``sum_to_zero_vector`` with an exact prior.

On the n numbers of a zero-sum vector ``normal(0, sd)`` would count one dimension too many, so its
prior is written for the n - 1 that there are.
"""

import numpy as np
from exchange import Job, counts_of

DATA = """
data {{
  int N;
  vector[N] y;
  {codes}
}}
"""


def program(problem, form: str) -> str:
    """Write the model for any number of factors."""
    factors = list(zip(problem.factors, problem.num_levels, strict=True))
    kind = "vector" if form == "original" else "sum_to_zero_vector"
    declared = [f"{kind}[{size}] {name}_level; real<lower=0> {name}_sd;" for name, size in factors]
    prior = [f"{name}_sd ~ exponential({1 / problem.sd_scale!r});" for name, _ in factors]
    mean = " + ".join(f"{name}_level[{name}]" for name, _ in factors)
    if form == "original":
        for name, _ in factors:
            declared.append(f"real {name}_mean;")
            prior.append(f"{name}_mean ~ normal({problem.mean_loc!r}, {problem.mean_scale!r});")
            prior.append(f"{name}_level ~ normal({name}_mean, {name}_sd);")
    else:
        declared.append("real intercept;")
        variance = " + ".join(
            [repr(len(factors) * problem.mean_scale**2)]
            + [f"square({name}_sd) / {size}" for name, size in factors]
        )
        loc = len(factors) * problem.mean_loc
        prior.append(f"intercept ~ normal({loc!r}, sqrt({variance}));")
        for name, size in factors:
            prior.append(
                f"target += -{size - 1} * log({name}_sd) "
                f"- 0.5 * dot_self({name}_level) / square({name}_sd);"
            )
        mean = f"intercept + {mean}"
    codes = "\n  ".join(f"array[N] int {name};" for name, _ in factors)
    return (
        DATA.format(codes=codes)
        + "parameters {\n  real<lower=0> sigma;\n  "
        + "\n  ".join(declared)
        + "\n}\nmodel {\n  "
        + "\n  ".join(prior)
        + f"\n  sigma ~ exponential({1 / problem.sd_scale!r});\n  y ~ normal({mean}, sigma);\n}}\n"
    )


def main() -> None:
    """Compile C++, sample, summarize."""
    job = Job()
    with job.clock("import"):
        import stan

    problem = job.problem
    data = {"N": len(problem.response), "y": problem.response.tolist()}
    data |= {
        name: (codes + 1).tolist()
        for name, codes in zip(problem.factors, problem.codes, strict=True)
    }
    with job.clock("compile"):
        posterior = stan.build(program(problem, job.form), data=data, random_seed=job.seed + 1)
    with job.clock("run"):
        fit = posterior.sample(
            num_chains=job.chains,
            num_warmup=job.warmup,
            num_samples=job.draws,
            save_warmup=True,
        )
    with job.clock("summary"):
        fit.to_frame().describe()
    job.stamp()

    def draws_of(name: str) -> np.ndarray:
        # PyStan's shape is (parameter, draws, chains)
        values = np.moveaxis(
            np.asarray(fit[name]).reshape(-1, fit.num_samples + fit.num_warmup, fit.num_chains),
            (2, 1),
            (0, 1),
        )
        return values if values.shape[-1] > 1 else values[..., 0]

    steps = draws_of("n_leapfrog__")
    warmup_steps, steps = steps[:, : job.warmup], steps[:, job.warmup :]
    job.split_by_gradients(job.seconds.pop("run"), warmup_steps.sum(), steps.sum())
    parts = ("level", "sd", "mean") if job.form == "original" else ("level", "sd")
    wanted = ["sigma", *(f"{name}_{part}" for name in problem.factors for part in parts)]
    wanted += [] if job.form == "original" else ["intercept"]
    draws = {name: draws_of(name)[:, job.warmup :] for name in wanted}
    counts = counts_of(
        steps,
        draws_of("divergent__")[:, job.warmup :],
        draws_of("treedepth__")[:, job.warmup :],
        warmup_steps,
    )
    job.write(draws, counts, ["pystan", "httpstan", "numpy"], split="by gradients")


if __name__ == "__main__":
    main()
