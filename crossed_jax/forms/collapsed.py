"""The form that samples the SDs, and draws the effects given them."""

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from crossed_jax.errors import InputError
from crossed_jax.forms.table import Sampled, Table, estimated
from crossed_jax.models.collapsed.collapse import OutsideBoxError, collapse
from crossed_jax.models.collapsed.effect_draws import draw_effects, split
from crossed_jax.models.collapsed.modes import describe, find_modes, start_in
from crossed_jax.models.collapsed.quantiles import effect_quantiles
from crossed_jax.sampling.checkpoint import Checkpoint
from crossed_jax.sampling.chunks import Run
from crossed_jax.sampling.devices import in_first_process
from crossed_jax.sampling.evaluation import evaluate
from crossed_jax.sampling.settings import RunSettings
from crossed_jax.types import KeepEffects

if TYPE_CHECKING:
    from crossed_jax.results.draws_file import DrawsFile

MOST_RUNS = 6


def sample_collapsed(
    draw: Callable[..., Run],
    settings: RunSettings,
    table: Table,
    checkpoint: Checkpoint | None,
    keep_effects: KeepEffects,
    file: "DrawsFile | None",
) -> Sampled:
    """Sample the SDs, then draw the effects given them."""
    data, cells, priors = table.data, table.cells, table.priors
    clock = time.perf_counter()
    point = estimated(table)
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
