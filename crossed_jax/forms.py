"""A form sampled: with its effects, or without them, which are then drawn back."""

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.models.centering import describe_centering
from crossed_jax.models.collapsed.collapse import OutsideBoxError, collapse
from crossed_jax.models.collapsed.effect_draws import draw_effects, split
from crossed_jax.models.collapsed.modes import describe, find_modes, start_in
from crossed_jax.models.collapsed.quantiles import effect_quantiles
from crossed_jax.models.distributions import inside_support
from crossed_jax.models.offset import subtract_offset
from crossed_jax.models.parts import Noise, model_data_of, parameterization_of
from crossed_jax.models.priors import Priors
from crossed_jax.models.terms import TERMS
from crossed_jax.sampling.checkpoint import Checkpoint
from crossed_jax.sampling.chunks import Run
from crossed_jax.sampling.devices import in_first_process
from crossed_jax.sampling.evaluation import evaluate
from crossed_jax.sampling.settings import RunSettings
from crossed_jax.statistics.cells import Cells, blocks, cells_of, pair_counts
from crossed_jax.statistics.design import describe_design, require_noise
from crossed_jax.statistics.least_squares import decompose
from crossed_jax.statistics.point_estimate import Estimate, estimate
from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.types import KeepEffects

if TYPE_CHECKING:
    from crossed_jax.results.draws_file import DrawsFile

MOST_RUNS = 6


class Table(NamedTuple):
    """A table made ready: measured from near its mean, with its cells, priors and an estimate."""

    data: CrossedData
    cells: Cells
    priors: Priors
    point: Estimate


class Sampled(NamedTuple):
    """What sampling gives by name, and what there is to record about it."""

    run: Run
    draws: dict[str, Any]
    seconds: dict[str, float]
    attributes: dict[str, Any]
    moments: list[tuple[np.ndarray, np.ndarray]] | None = None
    quantiles: list[np.ndarray] | None = None


def prepared(data: CrossedData, priors: Priors, offset: float) -> tuple[Table, tuple[str, ...]]:
    """Reduce a table to cells, estimate where chains start, and note what a reader should know."""
    measured, priors = subtract_offset(data, priors, offset)
    cells = cells_of(measured)
    unconnected = blocks(cells)
    pairs = pair_counts(cells)
    decomposition = decompose(cells, pairs, len(unconnected))
    require_noise(decomposition)
    notes = describe_design(unconnected, decomposition, data.factor_names)
    point = _within(estimate(cells, pairs, decomposition), priors)
    return Table(measured, cells, priors, point), notes


def _within(point: Estimate, priors: Priors) -> Estimate:
    """Move SDs from where the priors say they cannot be, as chains start about them."""
    sds = [inside_support(p, sd) for p, sd in zip(priors.factor_sds, point.factor_sds, strict=True)]
    sigma = inside_support(priors.sigma, float(point.sigma))
    return point._replace(factor_sds=np.array(sds), sigma=np.asarray(sigma))


def sample_effects(
    draw: Callable[..., Run],
    form: str,
    noise: Noise,
    table: Table,
    centering: list[bool | None],
) -> Sampled:
    """Sample the effects along with all else."""
    clock = time.perf_counter()
    model_data = model_data_of(*table, noise, centering)
    seconds = {"estimate": time.perf_counter() - clock}
    run = draw(parameterization_of(TERMS[form], noise), model_data)
    evidence, names = model_data.estimate.evidence, table.data.factor_names
    attributes = describe_centering(model_data.centering, evidence, names)
    return Sampled(run, run.draws, seconds | run.seconds, attributes)


def sample_collapsed(
    draw: Callable[..., Run],
    settings: RunSettings,
    table: Table,
    checkpoint: Checkpoint | None,
    keep_effects: KeepEffects,
    file: "DrawsFile | None",
) -> Sampled:
    """Sample the SDs, then draw the effects given them."""
    data, cells, priors, point = table
    clock = time.perf_counter()
    collapsed = collapse(cells, priors, point)
    seconds = {"collapse": time.perf_counter() - clock}
    kept = checkpoint
    for attempt in range(MOST_RUNS):
        lengths = _lengths(kept, settings)
        clock = time.perf_counter()
        modes = find_modes(collapsed.parameterization, collapsed.model_data, evaluate)
        shifts = None
        if modes is not None:
            model_data, shifts = start_in(modes, collapsed.model_data, settings.num_chains)
            collapsed = dataclasses.replace(collapsed, model_data=model_data)
        seconds["collapse"] += time.perf_counter() - clock
        try:
            # where an extension leaves the box, what was given out in it is drawn anew
            for length in lengths:
                run = draw(
                    collapsed.parameterization,
                    collapsed.model_data,
                    checkpoint=kept,
                    shifts=shifts,
                    num_draws=length,
                )
                effects = collapsed.given(run.draws)
            break
        except OutsideBoxError as outside:
            collapsed = collapse(cells, priors, point, outside.box)
            if checkpoint is not None:
                kept = checkpoint.again(attempt + 1, outside.box.tobytes())
    else:
        raise InputError(
            "the posterior of the SDs lies too far from what the data say for the collapsed form: "
            "look at the priors (priors='scaled' suits a response in any unit), or fit with "
            "parameterization='sum_to_zero'."
        )
    clock = time.perf_counter()
    keep = keep_effects == "draws"
    parts = [effects]
    if len(lengths) > 1:
        parts = [collapsed.given(sds) for sds in split(run.draws, lengths)]
    shape = np.shape(run.draws.sigma)
    held = keep and file is None
    arrays = tuple(np.empty((*shape, size)) for size in cells.num_levels) if held else ()
    written = arrays if file is None else file.effects
    intercept = draw_effects(parts, settings.seed, written if keep else None)
    draws = {
        "intercept": intercept,
        "{factor}_sd": tuple(np.moveaxis(np.asarray(run.draws.factor_sds), -1, 0)),
        "sigma": run.draws.sigma,
    }
    if held:
        draws["{factor}_effect"] = arrays
    seconds |= run.seconds | {"effects": time.perf_counter() - clock}
    clock = time.perf_counter()
    moments = effects.moments()
    quantiles = None if keep else effect_quantiles(effects, moments)
    errors = effects.approximation(moments)
    seconds["moments"] = time.perf_counter() - clock
    attributes: dict[str, Any] = {"interpolation_error": errors, "effects_drawn_to": lengths}
    if modes is not None:
        attributes["modes"] = describe(modes, data.factor_names)
    return Sampled(run, draws, seconds, attributes, moments, quantiles)


def _lengths(checkpoint: Checkpoint | None, settings: RunSettings) -> list[int]:
    """Numbers of each chain's draws that a run was given out with, and is now."""
    ends = [] if checkpoint is None else in_first_process(checkpoint.ends)
    before = [end for end in ends if end < settings.num_steps]
    return [end - settings.num_warmup for end in [*before, settings.num_steps]]
