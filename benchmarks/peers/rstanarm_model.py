# /// script
# requires-python = ">=3.12"
# dependencies = ["numpy>=2"]
# ///
"""rstanarm's ``stan_lmer``, precompiled: random intercepts with priors of its own."""

import json

import numpy as np
from exchange import Job, counts_of
from r_program import read_array, run_r

PROGRAM = r"""
arguments <- commandArgs(trailingOnly = TRUE)
out <- arguments[1]; settings <- jsonlite::fromJSON(arguments[3])
seconds <- list(); clock <- function() proc.time()[["elapsed"]]
t <- clock()
suppressPackageStartupMessages(library(rstanarm))
seconds$import <- clock() - t
table <- read.csv(arguments[2], stringsAsFactors = TRUE)
formula <- as.formula(paste(settings$response, "~ 1 +",
                            paste0("(1 | ", settings$factors, ")", collapse = " + ")))
t <- clock()
fit <- stan_lmer(formula, data = table, chains = settings$chains, cores = settings$cores,
                 iter = settings$warmup + settings$draws, warmup = settings$warmup,
                 seed = settings$seed + 1, refresh = 0)
seconds$run <- clock() - t
t <- clock()
invisible(capture.output(print(summary(fit))))
seconds$summary <- clock() - t
stanfit <- fit$stanfit
elapsed <- rstan::get_elapsed_time(stanfit)
parameters <- rstan::get_sampler_params(stanfit, inc_warmup = TRUE)
names <- names(stanfit)
draws <- as.array(stanfit)
writeBin(as.vector(draws), file.path(out, "draws.bin"))
statistic <- function(name) sapply(parameters, function(p) p[, name])
jsonlite::write_json(list(
  seconds = seconds, warmup = max(elapsed[, "warmup"]), sample = max(elapsed[, "sample"]),
  names = dimnames(draws)[[3]], shape = dim(draws),
  n_steps = statistic("n_leapfrog__"), diverging = statistic("divergent__"),
  depth = statistic("treedepth__"), R = as.character(getRversion()),
  rstanarm = as.character(packageVersion("rstanarm")),
  rstan = as.character(packageVersion("rstan"))
), file.path(out, "r.json"), auto_unbox = TRUE, digits = 12)
"""


def main() -> None:
    """Hand settings to R, and give its draws the common names."""
    job = Job()
    problem = job.problem
    spec = json.loads((problem.folder / "spec.json").read_text())
    settings = {k: job.settings[k] for k in ("chains", "warmup", "draws", "cores", "seed")}
    settings |= {"response": spec["response"], "factors": problem.factors}
    found = run_r(PROGRAM, job.out, [str(problem.folder / "table.csv"), json.dumps(settings)])
    job.stamp()
    run = found["seconds"].pop("run")
    job.seconds |= found["seconds"]
    job.seconds["warmup"], job.seconds["sample"] = found["warmup"], found["sample"]
    job.seconds["other"] = run - found["warmup"] - found["sample"]

    # R's draws are (draws, chains, parameters)
    values = read_array(job.out / "draws.bin", found["shape"]).transpose(1, 0, 2)
    place = {name: k for k, name in enumerate(found["names"])}
    draws = {
        "intercept": values[..., place["(Intercept)"]],
        "sigma": values[..., place["sigma"]],
    }
    for name, size in zip(problem.factors, problem.num_levels, strict=True):
        levels = [place[f"b[(Intercept) {name}:{name}_{code:05d}]"] for code in range(size)]
        draws[f"{name}_level"] = values[..., levels]
        variance = values[..., place[f"Sigma[{name}:(Intercept),(Intercept)]"]]
        draws[f"{name}_sd"] = np.sqrt(variance)
    statistics = {k: np.array(found[k]) for k in ("n_steps", "diverging", "depth")}
    sampled = {k: v[job.warmup :] for k, v in statistics.items()}
    counts = counts_of(**sampled, warmup_steps=statistics["n_steps"][: job.warmup])
    versions = {name: found[name] for name in ("R", "rstanarm", "rstan")}
    job.write(draws, counts, ["numpy"], split="measured", r_versions=versions)


if __name__ == "__main__":
    main()
