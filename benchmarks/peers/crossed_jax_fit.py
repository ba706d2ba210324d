"""crossed_jax itself, in the project's own environment: any form of the model."""

import json

import numpy as np
from exchange import Job, counts_of


def main() -> None:
    """Fit, summarize, recover the original coordinates."""
    job = Job()
    with job.clock("import"):
        if job.all_cores:
            import jax

            jax.config.update("jax_num_cpu_devices", job.cores)
        import crossed_jax as cj

        read_table, fit, effects = cj.read_table, cj.fit, cj.effects
        components, diagnose, recover = cj.variance_components, cj.diagnose, cj.original_coordinates
        import polars as pl

    problem = job.problem
    spec = json.loads((problem.folder / "spec.json").read_text())
    with job.clock("read"):
        table = problem.folder / "table.csv"
        data = read_table(table, response=spec["response"], factors=problem.factors)
    with job.clock("fit"):
        tree = fit(
            data,
            parameterization=job.form,
            priors=spec["priors"],
            num_chains=job.chains,
            num_warmup=job.warmup,
            num_draws=job.draws,
            seed=job.seed,
        )
    parts = json.loads(tree.attrs["seconds"])
    total = job.seconds.pop("fit")
    job.seconds["build"] = parts["prepare"]
    job.seconds["compile"] = parts["compile"]
    # integrating the effects out is work that each table costs anew, as warm-up is
    job.seconds["warmup"] = (
        parts.get("collapse", 0.0) + parts.get("estimate", 0.0) + parts["warmup"]
    )
    # all else that fit does is sampling, whatever it is: peers' calls are timed whole as well
    job.seconds["sample"] = total - sum(job.seconds[p] for p in ("build", "compile", "warmup"))
    with job.clock("summary"), pl.Config(fmt_str_lengths=20):
        print(effects(tree), components(tree), diagnose(tree))
    job.stamp()
    with job.clock("recover"):
        tree = recover(tree, seed=job.seed)

    posterior = tree["posterior"].to_dataset()
    draws = {"sigma": posterior["sigma"]}
    for factor in problem.factors:
        # levels in the order of the codes, whatever the table's
        levels = posterior[f"{factor}_intercept"].sel({factor: sorted(posterior[factor].values)})
        draws[f"{factor}_level"] = levels.transpose("chain", "draw", factor)
        draws[f"{factor}_sd"] = posterior[f"{factor}_sd"]
        draws[f"{factor}_mean"] = posterior[f"{factor}_mean"]
    sampled, in_warmup = tree["sample_stats"], cj.timings(tree).warmup_gradients
    counts = counts_of(sampled["n_steps"], sampled["diverging"], sampled["tree_depth"], in_warmup)
    job.write(
        {name: np.asarray(values) for name, values in draws.items()},
        counts,
        ["crossed-jax", "jax", "blackjax", "numpy"],
        split="measured",
    )


if __name__ == "__main__":
    main()
