"""What the screen model costs as a table grows to the size of a genome.

Screens of two replicates are simulated from the model with all its parts, and 2% of their rows left
out at random. The cost of a gradient is set against a pass over the table as it is laid out, one
sum over all its numbers; both are the fastest of several. ``genome_run`` samples the lines of the
largest: what follows a fit's draws, effects and interactions, is not part of it.
"""

import dataclasses
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import crossed_jax as cj
from benchmarks.machine import load_average
from crossed_jax.models.distributions import Exponential, LogitNormal, Normal
from crossed_jax.models.screen.model_data import screen_data
from crossed_jax.models.screen.parameterization import (
    PARAMETERIZATION,
    OfSDs,
    ScreenData,
    ScreenPriors,
    log_density,
    start,
)
from crossed_jax.models.screen.parts import Parts
from crossed_jax.sampling.chunks import Progress, sample
from crossed_jax.sampling.ess import rank_diagnostics
from crossed_jax.sampling.settings import own_settings
from crossed_jax.statistics.cells import cells_of

FIGURE = Path(__file__).parents[1] / "figures" / "screen-genome.png"
SIZES = ((1_000, 50), (3_000, 150), (6_000, 400), (18_000, 1_100))  # genes, lines
MISSING = 0.02
SEED = 1
CHAINS = 4
REPEATS = 10
MOST_FITTED = 200_000  # rows
WARMUP, DRAWS = 200, 200
RUN_WARMUP, RUN_DRAWS = 60, 50
ONE = Exponential(1.0)
PRIORS = ScreenPriors(
    Normal(0.0, 50**0.5), ONE, ONE, OfSDs(ONE, ONE, ONE, ONE), LogitNormal(0.0, 1.5)
)


class Laid(NamedTuple):
    """A table as the likelihood has it, and the seconds that this took by part."""

    rows: int
    data: ScreenData
    seconds: dict[str, float]


def simulated(genes: int, lines: int) -> cj.CrossedData:
    """Simulate a screen, and leave some of its rows out."""
    data = cj.simulate_screen(
        num_genes=genes,
        num_cell_lines=lines,
        num_replicates=2,
        noise_sd=0.4,
        slope_sd=0.5,
        noise_sd_by_gene_sd=0.3,
        noise_sd_by_line_sd=0.4,
        interaction_share=0.4,
        seed=SEED,
    ).data
    kept = np.random.default_rng(SEED).random(data.num_rows) >= MISSING
    factors = tuple(dataclasses.replace(f, codes=f.codes[kept]) for f in data.factors)
    return dataclasses.replace(data, response=data.response[kept], factors=factors)


def laid_out(data: cj.CrossedData) -> Laid:
    """Reduce a table to what the likelihood needs of it."""
    clock = time.perf_counter()
    cells = cells_of(data)
    to_cells = time.perf_counter() - clock
    _, laid = screen_data(data, cells, Parts(), PRIORS)
    seconds = {"cells": to_cells, "estimate": time.perf_counter() - clock - to_cells}
    return Laid(data.num_rows, laid, seconds)


def genome() -> dict[str, Any]:
    """Measure each size, and draw the figure."""
    sizes = [measured(*size) for size in SIZES]
    draw(sizes)
    return {"missing": MISSING, "chains": CHAINS, "sizes": sizes}


def measured(genes: int, lines: int) -> dict[str, Any]:
    """Measure a gradient, and a fit where the table is small."""
    data = simulated(genes, lines)
    with own_settings():
        found = {"genes": genes, "lines": lines, **_costs(laid_out(data))}
    if data.num_rows <= MOST_FITTED:
        found["fit"] = _fit(data)
    return found


def _costs(table: Laid) -> dict[str, Any]:
    """Seconds of a pass and of gradients, the fastest of some."""
    load = load_average()
    data = jax.device_put(table.data)
    matrices = data.statistics.matrices
    positions = jax.vmap(start, (0, None))(jax.random.split(jax.random.key(SEED), CHAINS), data)
    first = jax.tree.map(lambda x: x[0], positions)
    gradient = jax.grad(log_density)
    one = _seconds(jax.jit(gradient), first, data)
    together = _seconds(jax.jit(jax.vmap(gradient, (0, None))), positions, data)
    total = _seconds(jax.jit(lambda all_: sum(jnp.sum(x) for x in jax.tree.leaves(all_))), matrices)
    return {
        "rows": table.rows,
        "mb": sum(x.nbytes for x in jax.tree.leaves(matrices)) / 1e6,
        "nodes": len(table.data.rule.nodes),
        "pass": total,
        "one_chain": one,
        "chains_together": together,
        "passes_of_one_chain": one / total,
        "chains_together_in_one": together / one,
        "load_average": load,
    }


def _seconds(function: Callable, *arguments: Any) -> float:
    def once() -> float:
        clock = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        return time.perf_counter() - clock

    once()
    return min(once() for _ in range(REPEATS))


def _fit(data: cj.CrossedData) -> dict[str, Any]:
    """Seconds of a whole fit, effects and interactions included; of the second, compiled."""
    for _ in range(2):
        tree = cj.fit(data, model="screen", num_warmup=WARMUP, num_draws=DRAWS, seed=SEED)
    seconds = json.loads(tree.attrs["seconds"])
    verdict = cj.diagnose(tree)
    return {
        "warmup": WARMUP,
        "draws": DRAWS,
        "seconds": seconds,
        "seconds_beside_compiling": sum(s for part, s in seconds.items() if part != "compile"),
        "divergences": verdict.divergences,
        "max_r_hat": verdict.max_r_hat,
        "min_ess_bulk": verdict.min_ess_bulk,
    }


def genome_run() -> dict[str, Any]:
    """Sample the lines of the largest screen for a while."""
    data = simulated(*SIZES[-1])
    after = {"simulate": _peak_gb()}
    with own_settings():
        table = laid_out(data)
        after["lay_out"] = _peak_gb()
        run = sample(
            jax.random.key(SEED),
            PARAMETERIZATION,
            table.data,
            num_chains=CHAINS,
            num_warmup=RUN_WARMUP,
            num_draws=RUN_DRAWS,
            chain_method="vectorized",
            report=_tell,
        )
    after["sample"] = _peak_gb()
    draws = jax.tree.leaves(run.draws)
    found = [rank_diagnostics(np.reshape(x, (*np.shape(x)[:2], -1))) for x in draws]
    steps = np.asarray(run.statistics.n_steps)
    return {
        "genes": SIZES[-1][0],
        "lines": SIZES[-1][1],
        "rows": table.rows,
        "chains": CHAINS,
        "warmup": RUN_WARMUP,
        "draws": RUN_DRAWS,
        "seconds": table.seconds | run.seconds,
        "leapfrog_steps_per_draw": float(steps.mean()),
        "divergences": int(np.sum(run.statistics.diverging)),
        "min_ess_bulk": min(float(each.ess_bulk.min()) for each in found),
        "max_r_hat": max(float(each.r_hat.max()) for each in found),
        "peak_gb": after,
        "load_average": load_average(),
    }


def _tell(progress: Progress) -> None:
    print(progress, flush=True)


def _peak_gb() -> float:
    """Most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def draw(sizes: list[dict[str, Any]]) -> None:
    """Draw seconds of a pass and of gradients against a table's numbers."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4.6), layout="constrained")
    numbers = [each["mb"] for each in sizes]
    for key, label, color, marker in (
        ("chains_together", f"gradient, {CHAINS} chains together", "#D55E00", "s"),
        ("one_chain", "gradient, one chain", "#0072B2", "o"),
        ("pass", "sum over the table", "#999999", "^"),
    ):
        seconds = [1e3 * each[key] for each in sizes]
        ax.plot(numbers, seconds, color=color, marker=marker, label=label)
    for each in sizes:
        title = f"{each['genes']:,} x {each['lines']:,}"
        at = (each["mb"], 1e3 * each["pass"])
        ax.annotate(title, at, (7, -8), textcoords="offset points", fontsize=8)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="MB of the table as it is laid out (genes x lines, 2% of rows missing)",
        ylabel="milliseconds",
        title="Screen model: a gradient of the lines' log-density",
    )
    ax.margins(x=0.27, y=0.12)
    ax.grid(alpha=0.3)
    ax.legend()
    figure.savefig(FIGURE, dpi=150)
    plt.close(figure)
