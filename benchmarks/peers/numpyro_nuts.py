# /// script
# requires-python = ">=3.11"
# dependencies = ["numpyro==0.22.0", "numpy>=2"]
# ///
"""NumPyro's NUTS on the original form and with ``ZeroSumNormal``, in float64."""

import contextlib
import io
import os

import numpy as np
from exchange import Job, counts_of


def main() -> None:
    """Sample in one call of ``run``, as a user does; then count warm-up's steps by repeating it."""
    job = Job()
    devices = f"--xla_force_host_platform_device_count={job.chains}"
    if job.chain_method == "parallel":
        os.environ["XLA_FLAGS"] = devices
    with job.clock("import"):
        import jax
        import numpyro
        from numpyro.infer import MCMC, NUTS

        numpyro.enable_x64()

    problem = job.problem
    time_work(job)

    def mcmc() -> MCMC:
        return MCMC(
            NUTS(model_of(problem, job.form)),
            num_warmup=job.warmup,
            num_samples=job.draws,
            num_chains=job.chains,
            chain_method=job.chain_method,
            progress_bar=False,
        )

    arguments = (jax.numpy.asarray(problem.response), [jax.numpy.asarray(c) for c in problem.codes])
    with job.clock("build"):
        sampler = mcmc()
    with job.clock("run"):
        sampler.run(jax.random.key(job.seed), *arguments, extra_fields=("num_steps", "diverging"))
        samples = jax.tree.map(np.asarray, sampler.get_samples(group_by_chain=True))
    work = job.seconds.pop("work")
    job.seconds["compile"] = job.seconds.pop("run") - work
    with job.clock("summary"), contextlib.redirect_stdout(io.StringIO()):
        sampler.print_summary()
    job.stamp()

    statistics = sampler.get_extra_fields(group_by_chain=True)
    steps = np.asarray(statistics["num_steps"])
    again = mcmc()
    again.warmup(
        jax.random.key(job.seed), *arguments, extra_fields=("num_steps",), collect_warmup=True
    )
    warmup_steps = np.asarray(again.get_extra_fields(group_by_chain=True)["num_steps"])
    # chains side by side wait for one another at every draw
    slowest = (lambda n: n.max(0).sum()) if job.chain_method == "vectorized" else np.sum
    job.seconds.pop("work")
    job.split_by_gradients(work, slowest(warmup_steps), slowest(steps))
    depth = np.ceil(np.log2(steps + 1))
    counts = counts_of(steps, statistics["diverging"], depth, warmup_steps)
    job.write(samples, counts, ["numpyro", "jax", "numpy"], split="by gradients")


def model_of(problem, form: str):
    """The model in its original form, or with an intercept and zero-sum effects."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    loc, scale, sd_scale = problem.mean_loc, problem.mean_scale, problem.sd_scale

    def sds():
        prior = dist.Exponential(1.0 / sd_scale)
        return {f: numpyro.sample(f"{f}_sd", prior) for f in problem.factors}

    def original(response, codes):
        total = 0.0
        for (factor, sd), size, code in zip(sds().items(), problem.num_levels, codes, strict=True):
            mean = numpyro.sample(f"{factor}_mean", dist.Normal(loc, scale))
            with numpyro.plate(factor, size):
                total += numpyro.sample(f"{factor}_level", dist.Normal(mean, sd))[code]
        sigma = numpyro.sample("sigma", dist.Exponential(1.0 / sd_scale))
        numpyro.sample("y", dist.Normal(total, sigma), obs=response)

    def zero_sum(response, codes):
        factor_sds = sds()
        sizes = problem.num_levels
        variance = len(sizes) * scale**2 + sum(
            sd**2 / size for sd, size in zip(factor_sds.values(), sizes, strict=True)
        )
        prior = dist.Normal(len(sizes) * loc, jnp.sqrt(variance))
        total = numpyro.sample("intercept", prior)
        for (factor, sd), size, code in zip(factor_sds.items(), sizes, codes, strict=True):
            total += numpyro.sample(f"{factor}_level", dist.ZeroSumNormal(sd, (size,)))[code]
        sigma = numpyro.sample("sigma", dist.Exponential(1.0 / sd_scale))
        numpyro.sample("y", dist.Normal(total, sigma), obs=response)

    return {"original": original, "zero_sum": zero_sum}[form]


def time_work(job: Job) -> None:
    """Have NumPyro's sampling loops compiled ahead of time, so that work and compiling part."""
    import jax
    import numpyro

    def timed(transform):
        def transformed(function, **options):
            fixed = options.get("static_argnums", ())

            def call(*arguments):
                made = transform(function, **options)
                if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(arguments)):
                    return made(*arguments)  # a loop inside another is that one's work
                compiled = made.lower(*arguments).compile()
                with job.clock("work"):
                    return jax.block_until_ready(
                        compiled(*(x for k, x in enumerate(arguments) if k not in fixed))
                    )

            return call

        return transformed

    if job.chain_method == "parallel":
        numpyro.infer.mcmc.pmap = timed(jax.pmap)
    else:
        numpyro.util.maybe_jit = timed(jax.jit)


if __name__ == "__main__":
    main()
