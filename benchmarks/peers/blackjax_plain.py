# /// script
# requires-python = ">=3.12"
# dependencies = ["blackjax==1.7.1", "jax>=0.11", "numpy>=2"]
# ///
"""BlackJAX as its guide drives it, on the original form: window adaptation, then NUTS in a scan.

A chain per device, as the guide has it for CPUs.
"""

import os

import numpy as np
from exchange import Job, counts_of


def main() -> None:
    """Compile both stages ahead of time, so that what is timed is work."""
    job = Job()
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={job.chains}"
    with job.clock("import"):
        import blackjax
        import jax

        jax.config.update("jax_enable_x64", True)

    log_density, start = model_of(job.problem)

    def warm_up(key):
        first, second = jax.random.split(key)
        warmup = blackjax.window_adaptation(blackjax.nuts, log_density)
        (state, parameters), history = warmup.run(second, start(first), num_steps=job.warmup)
        return state, parameters, history.info.num_integration_steps

    def sample(key, state, parameters):
        kernel = blackjax.nuts(log_density, **parameters)

        def one_step(state, key):
            state, info = kernel.step(key, state)
            return state, (
                state.position,
                info.num_integration_steps,
                info.is_divergent,
                info.num_trajectory_expansions,
            )

        return jax.lax.scan(one_step, state, jax.random.split(key, job.draws))[1]

    keys = jax.random.split(jax.random.key(job.seed), (2, job.chains))
    with job.clock("compile"):
        warm_up = jax.pmap(warm_up).lower(keys[0]).compile()
    with job.clock("warmup"):
        state, parameters, warmup_steps = jax.block_until_ready(warm_up(keys[0]))
    with job.clock("compile"):
        sample = jax.pmap(sample).lower(keys[1], state, parameters).compile()
    with job.clock("sample"):
        found = jax.block_until_ready(sample(keys[1], state, parameters))
        position, steps, diverging, depth = jax.tree.map(np.asarray, found)
    with job.clock("summary"):
        from blackjax.diagnostics import effective_sample_size, potential_scale_reduction

        for draws in position.values():
            effective_sample_size(draws), potential_scale_reduction(draws)
    job.stamp()

    draws = {"sigma": np.exp(position["log_sigma"])}
    for name in job.problem.factors:
        draws[f"{name}_level"] = position[f"{name}_level"]
        draws[f"{name}_mean"] = position[f"{name}_mean"]
        draws[f"{name}_sd"] = np.exp(position[f"{name}_log_sd"])
    counts = counts_of(steps, diverging, depth, np.asarray(warmup_steps))
    job.write(draws, counts, ["blackjax", "jax", "numpy"], split="measured")


def model_of(problem):
    """The model's log-density, and where chains start."""
    import jax
    import jax.numpy as jnp
    from jax.scipy.stats import norm

    sizes, names = problem.num_levels, problem.factors
    response = jnp.asarray(problem.response)
    codes = [jnp.asarray(code) for code in problem.codes]

    def log_density(position):
        total, log_prior = 0.0, 0.0
        for name, code in zip(names, codes, strict=True):
            mean, level, log_sd = (position[f"{name}_{p}"] for p in ("mean", "level", "log_sd"))
            sd = jnp.exp(log_sd)
            log_prior += norm.logpdf(mean, problem.mean_loc, problem.mean_scale)
            log_prior += norm.logpdf(level, mean, sd).sum() + log_sd - sd / problem.sd_scale
            total += level[code]
        sigma = jnp.exp(position["log_sigma"])
        log_prior += position["log_sigma"] - sigma / problem.sd_scale
        return log_prior + norm.logpdf(response, total, sigma).sum()

    def start(key):
        # Stan's starting points: uniform on (-2, 2) in unconstrained space
        shapes = {f"{n}_level": (size,) for n, size in zip(names, sizes, strict=True)}
        shapes |= {f"{n}_{part}": () for n in names for part in ("mean", "log_sd")}
        shapes["log_sigma"] = ()
        keys = jax.random.split(key, len(shapes))
        return {
            name: jax.random.uniform(k, shape, minval=-2.0, maxval=2.0)
            for k, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    return log_density, start


if __name__ == "__main__":
    main()
