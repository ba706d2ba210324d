"""From a table to a posterior: the one call that puts the other modules together."""

import dataclasses
import importlib
import importlib.metadata
import platform
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import numpy as np

from crossed_jax.arguments import path_of, real_number, seed_number, whole_number
from crossed_jax.errors import InputError, told
from crossed_jax.files.whole import reason
from crossed_jax.models import design_matrix, original, sum_to_zero
from crossed_jax.models.collapsed.collapse import OutsideBoxError, collapse, effects_at
from crossed_jax.models.collapsed.effect_draws import draw_effects, split
from crossed_jax.models.collapsed.modes import describe, find_modes, start_in
from crossed_jax.models.collapsed.quantiles import effect_quantiles
from crossed_jax.models.offset import add_offset, offset_of, subtract_offset
from crossed_jax.models.parameterization import (
    CENTERING_EVIDENCE,
    Parameterization,
    Quantities,
    model_data_of,
)
from crossed_jax.models.priors import PriorName, Priors, describe_priors, resolve_priors, within
from crossed_jax.sampling.cache_directory import describe_cache
from crossed_jax.sampling.checkpoint import Checkpoint, Commanded, open_checkpoint
from crossed_jax.sampling.chunks import Progress, Run, sample
from crossed_jax.sampling.devices import (
    CHAIN_METHODS,
    ChainMethod,
    available_devices,
    in_first_process,
)
from crossed_jax.sampling.evaluation import evaluate
from crossed_jax.sampling.identity import computing, exact_priors, table_digest
from crossed_jax.sampling.memory import check_draws, check_run
from crossed_jax.sampling.nuts import KEY_KIND
from crossed_jax.statistics.cells import Cells, blocks, cells_of, pair_counts
from crossed_jax.statistics.least_squares import Decomposition, decompose
from crossed_jax.statistics.point_estimate import Estimate, estimate
from crossed_jax.tables.data import CrossedData, require_table
from crossed_jax.tables.names import of_factor

if TYPE_CHECKING:
    import xarray as xr

    from crossed_jax.results.draws_file import DrawsFile

ParameterizationName = Literal["auto", "original", "design_matrix", "sum_to_zero", "collapsed"]
KeepEffects = Literal["draws", "summary"]

FORMS: dict[str, Parameterization] = {
    form.name: form for form in (original.FORM, design_matrix.FORM, sum_to_zero.FORM)
}


MOST_RUNS = 6
LEAST_NOISE = 1e-6  # of the response's spread
NEEDED_AFTERWARDS = ("crossed_jax.results.tree", "crossed_jax.results.diagnostics")


class Sampled(NamedTuple):
    """What sampling a form gives, and what there is to record about it."""

    run: Run
    draws: Quantities
    seconds: dict[str, float]
    attributes: dict[str, Any]
    moments: list[tuple[np.ndarray, np.ndarray]] | None = None
    quantiles: list[np.ndarray] | None = None


def fit(
    data: CrossedData,
    *,
    parameterization: ParameterizationName = "auto",
    priors: PriorName | Priors = "post",
    num_chains: int = 4,
    num_warmup: int = 1000,
    num_draws: int = 1000,
    seed: int = 0,
    target_accept: float = 0.8,
    max_tree_depth: int = 10,
    centered: Mapping[str, bool] | None = None,
    keep_effects: KeepEffects = "draws",
    chain_method: ChainMethod = "auto",
    checkpoint: str | Path | Commanded | None = None,
    stream_to: str | Path | None = None,
    report: Callable[[Progress], None] | None = None,
) -> "xr.DataTree":
    """Fit a crossed varying-intercept model.

    Parameters
    ----------
    data
        A table, as :func:`~crossed_jax.tables.data.read_table` gives it.
    parameterization
        The form of the model to sample, see :mod:`crossed_jax.models`. `auto` is `collapsed`.
    priors
        `post`, for log fold changes; `scaled`, for a response in any unit; or a
        :class:`~crossed_jax.models.priors.Priors`.
    num_chains, num_warmup, num_draws
        Chains, and warm-up steps and draws of each.
    seed
        The same seed gives the same draws.
    target_accept
        Mean acceptance rate that warm-up aims the step size at, between 0 and 1.
    max_tree_depth
        NUTS takes at most 2 to this power leapfrog steps a draw.
    centered
        For factors by name, whether to sample the centred parameterization. Factors not named are
        chosen from the data (the original form: centred, as posted).
    keep_effects
        `draws` of all effects, or of the collapsed form a `summary`: their exact posterior means
        and SDs, and quantiles, in little memory.
    chain_method
        How the chains share the machine: `vectorized`, `sequential` or `parallel`, see
        :mod:`crossed_jax.sampling.nuts`; `auto` goes by the devices there are. The draws
        do not depend on it but for rounding.
    checkpoint
        A directory of the run's own. A run that was killed goes on from there when it is asked
        for again, to the same draws; asking for more draws extends it, and those that it has
        given stay as they are. In the collapsed form the further draws of effects are not those of
        one longer run, which would have drawn them together.
    stream_to
        A netCDF file to write the draws of the effects to as they are drawn; they are not held in
        memory. The tree that is returned is that file, opened: it reads what it is asked for.
    report
        Called with a :class:`~crossed_jax.sampling.chunks.Progress` as the run goes on.

    Returns
    -------
    xarray.DataTree
        Groups `posterior` (`intercept`, `{factor}_effect`, `{factor}_sd`, `sigma`),
        `sample_stats`, `observed_data` and `constant_data`, and for the collapsed form
        `effect_moments` (exact `{factor}_mean` and `{factor}_sd` of the effects, and where their
        draws were not kept `{factor}_quantile`); how the run was made is in `attrs`.

    Raises
    ------
    InputError
        If an argument does not make sense, the checkpoint is of another run, the response is
        exactly additive, which leaves no noise to estimate, or too far from zero for its spread,
        or the draws would not fit into memory or on to the disk.
    """
    require_table(data, "fit")
    device = available_devices()[0]
    collapsing = parameterization in ("auto", "collapsed")
    form = None if collapsing else _form(parameterization)
    num_chains, num_warmup, num_draws, seed, target_accept, max_tree_depth = _check_settings(
        num_chains, num_warmup, num_draws, seed, target_accept, max_tree_depth
    )
    centered = _centering(centered, form, data)
    _check_keep_effects(keep_effects, collapsing)
    if checkpoint is not None and not isinstance(checkpoint, Commanded):
        checkpoint = path_of("checkpoint", checkpoint)
    if stream_to is not None:
        stream_to = path_of("stream_to", stream_to)
        _check_streaming(stream_to, keep_effects, parameterization)
    if chain_method not in CHAIN_METHODS:
        raise InputError(
            f"unknown chain method {told(chain_method)}: choose one of {', '.join(CHAIN_METHODS)}."
        )
    if report is not None and not callable(report):
        raise InputError(f"report is {told(report)}: give a function of a Progress.")
    chosen_priors = resolve_priors(priors, data)
    described = describe_priors(
        chosen_priors, data, priors if isinstance(priors, str) else "custom"
    )
    check_run(
        data,
        num_chains,
        num_warmup,
        num_draws,
        collapsing=collapsing,
        vectorized=chain_method == "vectorized",
    )
    if keep_effects == "draws" and stream_to is None:
        check_draws(data, num_chains * num_draws, parameterization)
    clock = time.perf_counter()
    offset = offset_of(data.response)
    measured, chosen_priors = subtract_offset(data, chosen_priors, offset)
    cells, point, notes = _prepare(measured, chosen_priors)
    import_beside(NEEDED_AFTERWARDS)
    key = _key(seed)
    seconds = {"prepare": time.perf_counter() - clock}
    settings = {
        "parameterization": "collapsed" if form is None else form.name,
        "priors": described,
        "seed": seed,
        "num_chains": num_chains,
        "num_warmup": num_warmup,
        "target_accept": target_accept,
        "max_tree_depth": max_tree_depth,
    }
    draw = partial(
        sample,
        key,
        num_chains=num_chains,
        num_warmup=num_warmup,
        num_draws=num_draws,
        target_accept=target_accept,
        max_tree_depth=max_tree_depth,
        chain_method=chain_method,
        report=report,
    )

    def fitted(kept: Checkpoint | None, file: "DrawsFile | None" = None) -> "xr.DataTree":
        # whatever the caller's defaults are, a seed gives the same draws
        with jax.enable_x64(True), jax.threefry_partitionable(True):
            if form is None:
                keep = keep_effects == "draws"
                lengths = partial(_lengths, num_warmup=num_warmup, num_draws=num_draws)
                sampled = _sample_collapsed(
                    draw,
                    kept,
                    lengths,
                    num_chains,
                    data,
                    cells,
                    chosen_priors,
                    point,
                    seed,
                    keep,
                    file,
                )
            else:
                keeping = {} if file is None else {"keep": file.keep}
                sampled = _sample_form(
                    partial(draw, checkpoint=kept, **keeping),
                    form,
                    cells,
                    chosen_priors,
                    point,
                    _weights(form, data, centered),
                    data,
                )
        from crossed_jax.results.tree import to_datatree

        return to_datatree(
            add_offset(sampled.draws, offset),
            sampled.run.statistics,
            dataclasses.replace(data, notes=data.notes + notes),
            {
                **settings,
                **sampled.attributes,
                "versions": versions(),
                "num_draws": num_draws,
                "num_rows": len(data.response),
                "num_missing": data.num_missing,
                "input_sha256": data.sha256 or "",
                "source": data.source or "",
                "seconds": seconds | sampled.seconds,
                "inference_library": "blackjax",
                "device": device.device_kind,
                "cache": describe_cache(),
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            sampled.moments,
            sampled.quantiles,
        )

    def opened() -> AbstractContextManager[Checkpoint | None]:
        if checkpoint is None:
            return nullcontext()
        with jax.enable_x64(True), jax.threefry_partitionable(True):  # as the draws are computed
            identity = {
                "table": table_digest(data),
                **settings,
                "priors": exact_priors(chosen_priors, data),
                "centered": centered,
                "chain_method": chain_method,
                **computing(),
            }
        return open_checkpoint(checkpoint, identity, num_warmup + num_draws)

    if stream_to is None:
        with opened() as kept:
            return fitted(kept)
    from crossed_jax.results.draws_file import drawing_to, open_draws

    with drawing_to(stream_to, data, num_chains, num_draws) as file, opened() as kept:
        file.finish(fitted(kept, file))
    return open_draws(stream_to)


def _prepare(data: CrossedData, priors: Priors) -> tuple[Cells, Estimate, tuple[str, ...]]:
    """Reduce a table to cells, estimate where chains start, and note what a reader should know."""
    cells = cells_of(data)
    unconnected = blocks(cells)
    pairs = pair_counts(cells)
    decomposition = decompose(cells, pairs, len(unconnected))
    _check_noise(decomposition)
    notes = describe_blocks(unconnected, data) + describe_freedom(decomposition)
    return cells, _within(estimate(cells, pairs, decomposition), priors), notes


def _key(seed: int) -> jax.Array:
    words = np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32)
    return jax.random.wrap_key_data(jax.device_put(words), impl=KEY_KIND)


def _within(point: Estimate, priors: Priors) -> Estimate:
    """Move SDs from where the priors say they cannot be, as chains start about them."""
    sds = [within(p, sd) for p, sd in zip(priors.factor_sds, point.factor_sds, strict=True)]
    sigma = within(priors.sigma, float(point.sigma))
    return point._replace(factor_sds=np.array(sds), sigma=np.asarray(sigma))


def import_beside(names: tuple[str, ...]) -> None:
    """Import in a thread of its own: compiling and sampling leave the interpreter free."""
    thread = threading.Thread(target=lambda: [importlib.import_module(name) for name in names])
    thread.start()


def _sample_form(
    draw: Callable[..., Run],
    form: Parameterization,
    cells: Cells,
    priors: Priors,
    point: Estimate,
    centering: tuple[bool | None, ...],
    data: CrossedData,
) -> Sampled:
    point, effect_sds = effects_at(cells, priors, point)
    model_data = model_data_of(cells, priors, point, effect_sds, centering)
    run = draw(form, model_data)
    centered = {
        factor.name: bool(weight)
        for factor, weight in zip(data.factors, model_data.centering, strict=True)
    }
    funnels = [
        of_factor(name, "sd")
        for (name, chosen), evidence in zip(centered.items(), point.evidence, strict=True)
        if chosen and evidence < CENTERING_EVIDENCE
    ]
    attributes = {"centered": centered, "funnels": funnels}
    return Sampled(run, run.draws, run.seconds, attributes)


def _sample_collapsed(
    draw: Callable[..., Run],
    checkpoint: Checkpoint | None,
    lengths_of: Callable[[Checkpoint | None], list[int]],
    num_chains: int,
    data: CrossedData,
    cells: Cells,
    priors: Priors,
    point: Estimate,
    seed: int,
    keep_effects: bool,
    file: "DrawsFile | None",
) -> Sampled:
    """Sample the SDs, then draw the effects given them."""
    clock = time.perf_counter()
    collapsed = collapse(cells, priors, point)
    seconds = {"collapse": time.perf_counter() - clock}
    kept = checkpoint
    for attempt in range(MOST_RUNS):
        lengths = lengths_of(kept)
        clock = time.perf_counter()
        modes = find_modes(collapsed.form, collapsed.model_data, evaluate)
        shifts = None
        if modes is not None:
            model_data, shifts = start_in(modes, collapsed.model_data, num_chains)
            collapsed = dataclasses.replace(collapsed, model_data=model_data)
        seconds["collapse"] += time.perf_counter() - clock
        try:
            # where an extension leaves the box, what was given out in it is drawn anew
            for length in lengths:
                run = draw(
                    collapsed.form,
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
            "look at the priors ('scaled' ones suit a response in any unit), or fit the "
            "sum_to_zero form."
        )
    clock = time.perf_counter()
    parts = [effects]
    if len(lengths) > 1:
        parts = [collapsed.given(sds) for sds in split(run.draws, lengths)]
    shape = np.shape(run.draws.sigma)
    held = keep_effects and file is None
    arrays = tuple(np.empty((*shape, size)) for size in cells.num_levels) if held else ()
    written = arrays if file is None else file.effects
    intercept = draw_effects(parts, seed, written if keep_effects else None)
    draws = Quantities(
        sigma=run.draws.sigma,
        intercept=intercept,
        effects=arrays,
        factor_sds=run.draws.factor_sds,
    )
    seconds |= run.seconds | {"effects": time.perf_counter() - clock}
    clock = time.perf_counter()
    moments = effects.moments()
    quantiles = None if keep_effects else effect_quantiles(effects, moments)
    errors = effects.approximation(moments)
    seconds["moments"] = time.perf_counter() - clock
    attributes: dict[str, Any] = {"interpolation_error": errors, "effects_drawn_to": lengths}
    if modes is not None:
        attributes["modes"] = describe(modes, data.factor_names)
    return Sampled(run, draws, seconds, attributes, moments, quantiles)


def _lengths(checkpoint: Checkpoint | None, num_warmup: int, num_draws: int) -> list[int]:
    """Numbers of each chain's draws that a run was given out with, and is now."""
    ends = [] if checkpoint is None else in_first_process(checkpoint.ends)
    return [*(end - num_warmup for end in ends if end < num_warmup + num_draws), num_draws]


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run is made with."""
    packages = ("crossed-jax", "jax", "jaxlib", "blackjax", "numpyro", "numpy", "xarray")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}


def describe_blocks(found: list[list[np.ndarray]], data: CrossedData) -> tuple[str, ...]:
    """Say in words if the levels fall into unconnected blocks, and what that means."""
    if len(found) == 1:
        return ()
    names = [factor.name for factor in data.factors]
    sizes = "; ".join(
        " x ".join(f"{len(codes)} {name}" for codes, name in zip(block, names, strict=True))
        for block in found[:5]
    )
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    return (
        f"The levels fall into {len(found)} unconnected blocks ({sizes}{more}): no row ties one "
        f"to another, so contrasts of {' or '.join(names)} between blocks are informed by the "
        "priors alone; only contrasts within a block are informed by the data.",
    )


def describe_freedom(decomposition: Decomposition) -> tuple[str, ...]:
    """Say in words if there are as many effects as rows, and what that means."""
    if decomposition.residual.freedom:
        return ()
    return (
        "There are as many effects as rows, so every response could be its effects' alone: how "
        "much of the variance is noise is told by the priors and by how the effects spread.",
    )


def _form(parameterization: str) -> Parameterization:
    if parameterization not in tuple(FORMS):
        raise InputError(
            f"unknown parameterization {told(parameterization)}: choose one of auto, "
            f"{', '.join(FORMS)}, collapsed."
        )
    return FORMS[parameterization]


def _check_settings(
    num_chains: int,
    num_warmup: int,
    num_draws: int,
    seed: int,
    target_accept: float,
    max_tree_depth: int,
) -> tuple[int, int, int, int, float, int]:
    """Give the settings as plain numbers, which can be recorded."""
    rate = real_number("target acceptance rate", target_accept)
    if not 0.0 < rate < 1.0:
        raise InputError(
            f"the target acceptance rate is {rate}: choose one between 0 and 1, 0.8 by default."
        )
    return (
        whole_number("number of chains", num_chains, at_least=1),
        whole_number("number of warm-up steps", num_warmup, at_least=1),
        whole_number("number of draws", num_draws, at_least=4),
        seed_number(seed),
        rate,
        whole_number("maximum tree depth", max_tree_depth, at_least=1),
    )


def _check_keep_effects(keep_effects: str, collapsing: bool) -> None:
    if keep_effects not in ("draws", "summary"):
        raise InputError(
            f"cannot keep {told(keep_effects)} of the effects: choose draws or summary."
        )
    if keep_effects == "summary" and not collapsing:
        raise InputError(
            "only the collapsed form can keep a summary of the effects: leave out "
            "--keep-effects, or --parameterization."
        )


def _check_streaming(path: Path, keep_effects: str, parameterization: str) -> None:
    from h5py import is_hdf5

    if keep_effects == "summary":
        raise InputError(
            "a summary of the effects leaves no draws to stream: leave out one of the two."
        )
    if parameterization == "original":
        raise InputError(
            "the original form cannot stream its draws: choose another, from which "
            "original_coordinates recovers this one's."
        )
    try:
        if not path.parent.is_dir():
            raise InputError(
                f"cannot write {str(path)!r}: {str(path.parent)!r} is not a directory, and must be."
            )
        if path.is_dir():
            raise InputError(f"cannot write {str(path)!r}: it is a directory; name a file.")
        if path.exists() and not is_hdf5(path):
            raise InputError(
                f"cannot write {str(path)!r}: a file that holds no draws is in its place; name "
                "another file."
            )
    except OSError as error:
        raise InputError(
            f"cannot write {str(path)!r} ({reason(error)}): name a file in another directory."
        ) from None


def _check_noise(decomposition: Decomposition) -> None:
    """Refuse a table whose noise float64 cannot tell from its effects.

    Without any, the posterior has no finite mass; unless there are as many effects as rows, which
    leaves what noise there is to the priors.
    """
    total, residual = decomposition.total, decomposition.residual
    # sums of squares over all rows are rounded, and the noise is a difference of two
    least = max(LEAST_NOISE, np.sqrt(np.finfo(float).eps * total.freedom))
    if residual.freedom and residual.squares <= least**2 * total.squares:
        raise InputError(
            f"one number per level of each factor reproduces the response to within {least:.0e} of "
            "its spread, which leaves no noise to estimate: add replicates, or check that the "
            "response is a measurement and not a fitted or copied value."
        )


def _centering(
    centered: Mapping[str, bool] | None, form: Parameterization | None, data: CrossedData
) -> dict[str, bool]:
    """Check which factors are to be centred, or not to be."""
    if centered is None:
        return {}
    if not isinstance(centered, Mapping):
        raise InputError(
            f"centered is {told(centered)}: give True or False by factor, such as "
            f"centered={{{data.factors[0].name!r}: True}}."
        )
    if centered and form not in (original.FORM, sum_to_zero.FORM):
        raise InputError(
            f"the {'collapsed' if form is None else form.name} form samples no effects that could "
            "be centered: leave out centered, or choose parameterization='sum_to_zero'."
        )
    for name, wanted in centered.items():
        if name not in data.factor_names:
            raise InputError(
                f"cannot center {told(name)}: the factors are {', '.join(data.factor_names)}."
            )
        if not isinstance(wanted, bool | np.bool_):
            raise InputError(f"centered is {told(wanted)} for {name!r}: give True or False.")
    return {str(name): bool(wanted) for name, wanted in centered.items()}


def _weights(
    form: Parameterization, data: CrossedData, centered: dict[str, bool]
) -> tuple[bool | None, ...]:
    default = True if form.name == "original" else None
    return tuple(centered.get(name, default) for name in data.factor_names)
