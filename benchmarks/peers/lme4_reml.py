# /// script
# requires-python = ">=3.12"
# dependencies = ["numpy>=2"]
# ///
"""lme4's REML estimates: no posterior, but where it should lie when the data are many."""

import json

from exchange import Job
from r_program import run_r

PROGRAM = r"""
arguments <- commandArgs(trailingOnly = TRUE)
out <- arguments[1]; settings <- jsonlite::fromJSON(arguments[3])
seconds <- list(); clock <- function() proc.time()[["elapsed"]]
t <- clock()
suppressPackageStartupMessages(library(lme4))
seconds$import <- clock() - t
t <- clock()
table <- read.csv(arguments[2], stringsAsFactors = TRUE)
seconds$read <- clock() - t
formula <- as.formula(paste(settings$response, "~ 1 +",
                            paste0("(1 | ", settings$factors, ")", collapse = " + ")))
t <- clock()
fit <- lmer(formula, data = table, REML = TRUE)
seconds$estimate <- clock() - t
t <- clock()
invisible(capture.output(print(summary(fit))))
seconds$summary <- clock() - t
sds <- as.data.frame(VarCorr(fit))
estimates <- as.list(sds$sdcor)
names(estimates) <- ifelse(sds$grp == "Residual", "sigma", paste0(sds$grp, "_sd"))
estimates$intercept <- unname(fixef(fit))
jsonlite::write_json(list(
  seconds = seconds, estimates = estimates, R = as.character(getRversion()),
  lme4 = as.character(packageVersion("lme4"))
), file.path(out, "r.json"), auto_unbox = TRUE, digits = 12)
"""


def main() -> None:
    """Hand settings to R, and keep its estimates."""
    job = Job()
    problem = job.problem
    spec = json.loads((problem.folder / "spec.json").read_text())
    settings = {"response": spec["response"], "factors": problem.factors}
    found = run_r(PROGRAM, job.out, [str(problem.folder / "table.csv"), json.dumps(settings)])
    job.stamp()
    job.seconds |= found["seconds"]
    versions = {name: found[name] for name in ("R", "lme4")}
    job.write({}, {}, ["numpy"], estimates=found["estimates"], r_versions=versions)


if __name__ == "__main__":
    main()
