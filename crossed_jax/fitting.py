"""From a table to a posterior: the one call that puts the other modules together."""

import dataclasses
import importlib
import importlib.metadata
import platform
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import numpy as np

from crossed_jax.cells import Cells, blocks, cells_of
from crossed_jax.checkpoint import Checkpoint, open_checkpoint, table_digest
from crossed_jax.data import CrossedData, InputError
from crossed_jax.mixture import effect_quantiles
from crossed_jax.models import back_substitution, balanced, design_matrix, original, sum_to_zero
from crossed_jax.models.back_substitution import OutsideBoxError, effects_at
from crossed_jax.models.form import Form, Quantities, problem_of
from crossed_jax.moments import Estimate, backfit, estimate
from crossed_jax.nuts import KEY_KIND
from crossed_jax.offset import add_offset, offset_of, subtract_offset
from crossed_jax.priors import PriorName, Priors, describe_priors, resolve_priors
from crossed_jax.sampler import CHAIN_METHODS, ChainMethod, Progress, Run, sample

if TYPE_CHECKING:
    import xarray as xr

    from crossed_jax.draws_file import DrawsFile

type EffectsGivenSDs = balanced.EffectsGivenSDs | back_substitution.EffectsGivenSDs
Parameterization = Literal["auto", "original", "design_matrix", "sum_to_zero", "collapsed"]
KeepEffects = Literal["draws", "summary"]

FORMS: dict[str, Form] = {
    form.name: form for form in (original.FORM, design_matrix.FORM, sum_to_zero.FORM)
}


MOST_RUNS = 6
NEEDED_AFTERWARDS = ("crossed_jax.posterior", "crossed_jax.diagnostics")


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
    parameterization: Parameterization = "auto",
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
    checkpoint: str | Path | None = None,
    stream_to: str | Path | None = None,
    report: Callable[[Progress], None] | None = None,
) -> "xr.DataTree":
    """Fit a crossed varying-intercept model.

    Parameters
    ----------
    data
        A table, as :func:`~crossed_jax.data.read_table` gives it.
    parameterization
        The form of the model to sample, see :mod:`crossed_jax.models`. `auto` is `collapsed`.
    priors
        `post`, for log fold changes; `scaled`, for a response in any unit; or a
        :class:`~crossed_jax.priors.Priors`.
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
        :mod:`crossed_jax.nuts`; `auto` goes by the devices there are. The draws
        do not depend on it but for rounding.
    checkpoint
        A directory of the run's own. A run that was killed goes on from there when it is asked
        for again, to the same draws; asking for more draws extends it.
    stream_to
        A netCDF file to write the draws of the effects to as they are drawn; they are not held in
        memory. The tree that is returned is that file, opened: it reads what it is asked for.
    report
        Called with a :class:`~crossed_jax.sampler.Progress` as the run goes on.

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
    collapsing = parameterization in ("auto", "collapsed")
    form = None if collapsing else _form(parameterization)
    _check_settings(num_chains, num_warmup, num_draws, seed, target_accept, max_tree_depth)
    _check_keep_effects(keep_effects, collapsing)
    if stream_to is not None:
        _check_streaming(Path(stream_to), keep_effects, parameterization)
    if chain_method not in CHAIN_METHODS:
        raise InputError(
            f"unknown chain method {chain_method!r}: choose one of {', '.join(CHAIN_METHODS)}."
        )
    if collapsing and centered:
        raise InputError(
            "the collapsed form samples no effects that could be centered: leave out centered, or "
            "choose parameterization='sum_to_zero'."
        )
    chosen_priors = resolve_priors(priors, data)
    described = describe_priors(
        chosen_priors, data, priors if isinstance(priors, str) else "custom"
    )
    if keep_effects == "draws" and stream_to is None:
        _check_memory(data, num_chains * num_draws, parameterization)
    clock = time.perf_counter()
    offset = offset_of(data.response)
    measured, chosen_priors = subtract_offset(data, chosen_priors, offset)
    cells = cells_of(measured)
    _check_noise(cells)
    import_beside(NEEDED_AFTERWARDS)
    point = estimate(cells)
    words = np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32)
    key = jax.random.wrap_key_data(jax.device_put(words), impl=KEY_KIND)
    seconds = {"prepare": time.perf_counter() - clock}
    settings = {
        "parameterization": "collapsed" if form is None else form.name,
        "priors": described,
        "seed": seed,
        "num_chains": num_chains,
        "num_warmup": num_warmup,
        "target_accept": target_accept,
        "max_tree_depth": max_tree_depth,
        "versions": versions(),
    }
    kept = None
    if checkpoint is not None:
        asked = {"centered": dict(centered or {}), "chain_method": chain_method}
        kept = open_checkpoint(checkpoint, {"table": table_digest(data)} | settings | asked)
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

    def fitted(file: "DrawsFile | None") -> "xr.DataTree":
        with jax.enable_x64(True):
            if form is None:
                keep = keep_effects == "draws"
                sampled = _sample_collapsed(
                    draw, kept, cells, chosen_priors, point, seed, keep, file
                )
            else:
                centering = _centering(form, data, centered)
                keeping = {} if file is None else {"keep": file.keep}
                sampled = _sample_form(
                    partial(draw, checkpoint=kept, **keeping),
                    form,
                    cells,
                    chosen_priors,
                    point,
                    centering,
                    data,
                )
        from crossed_jax.posterior import to_datatree

        return to_datatree(
            add_offset(sampled.draws, offset),
            sampled.run.statistics,
            dataclasses.replace(data, notes=data.notes + describe_blocks(cells, data)),
            {
                **settings,
                **sampled.attributes,
                "num_draws": num_draws,
                "num_rows": len(data.response),
                "num_missing": data.num_missing,
                "input_sha256": data.sha256 or "",
                "source": data.source or "",
                "seconds": seconds | sampled.seconds,
                "inference_library": "blackjax",
                "device": jax.devices()[0].device_kind,
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            sampled.moments,
            sampled.quantiles,
        )

    if stream_to is None:
        return fitted(None)
    from crossed_jax.draws_file import drawing_to, open_draws

    with drawing_to(stream_to, data, num_chains, num_draws) as file:
        file.finish(fitted(file))
    return open_draws(stream_to)


def import_beside(names: tuple[str, ...]) -> None:
    """Import in a thread of its own: compiling and sampling leave the interpreter free."""
    thread = threading.Thread(target=lambda: [importlib.import_module(name) for name in names])
    thread.start()


def _sample_form(
    draw: Callable[..., Run],
    form: Form,
    cells: Cells,
    priors: Priors,
    point: Estimate,
    centering: tuple[bool | None, ...],
    data: CrossedData,
) -> Sampled:
    point, effect_sds = effects_at(cells, priors, point)
    problem = problem_of(cells, priors, point, effect_sds, centering)
    run = draw(form, problem)
    centered = {
        factor.name: bool(weight)
        for factor, weight in zip(data.factors, problem.centering, strict=True)
    }
    return Sampled(run, run.draws, run.seconds, {"centered": centered})


def _sample_collapsed(
    draw: Callable[..., Run],
    checkpoint: Checkpoint | None,
    cells: Cells,
    priors: Priors,
    point: Estimate,
    seed: int,
    keep_effects: bool,
    file: "DrawsFile | None",
) -> Sampled:
    """Sample the SDs, then draw the effects given them."""
    clock = time.perf_counter()
    collapsed: balanced.Balanced | back_substitution.Collapsed
    if cells.balanced:
        collapsed = balanced.collapse(cells, priors, point)
    else:
        collapsed = back_substitution.collapse(cells, priors, point)
    seconds = {"collapse": time.perf_counter() - clock}
    for attempt in range(MOST_RUNS):
        if checkpoint is not None:
            checkpoint = checkpoint._replace(attempt=attempt)
        run = draw(collapsed.form, collapsed.problem, checkpoint=checkpoint)
        try:
            effects = collapsed.given(run.draws)
            break
        except OutsideBoxError as outside:
            collapsed = back_substitution.collapse(cells, priors, point, outside.box)
    else:
        raise InputError(
            "the posterior of the SDs lies too far from what the data say for the collapsed form: "
            "look at the priors, or fit with --parameterization sum_to_zero."
        )
    clock = time.perf_counter()
    draws = draw_effects(effects, seed, cells.num_levels, keep_effects=keep_effects, file=file)
    seconds |= run.seconds | {"effects": time.perf_counter() - clock}
    clock = time.perf_counter()
    moments = effects.moments()
    quantiles = None if keep_effects else effect_quantiles(effects, moments)
    errors = effects.approximation(moments)
    seconds["moments"] = time.perf_counter() - clock
    return Sampled(run, draws, seconds, {"interpolation_error": errors}, moments, quantiles)


def draw_effects(
    given: EffectsGivenSDs,
    seed: int,
    num_levels: tuple[int, ...],
    *,
    keep_effects: bool = True,
    file: "DrawsFile | None" = None,
) -> Quantities:
    """Complete draws of the SDs with the intercept, and with the effects if they are to be kept.

    Parameters
    ----------
    given
        The effects' posterior given those SDs.
    seed
        Of the draws.
    num_levels
        Of each factor.
    keep_effects
        Whether to draw the effects, or the intercept alone.
    file
        Where to put them; by default they are held in memory.
    """
    scales = given.scales
    chains_draws = np.shape(scales.sigma)
    number = int(np.prod(chains_draws))
    held = [np.empty((number, size)) for size in num_levels if keep_effects and file is None]
    put = None if not keep_effects else held if file is None else file.effects
    intercept = given.draw(np.random.SeedSequence(seed), put)
    return scales._replace(
        intercept=intercept.reshape(chains_draws),
        effects=tuple(effects.reshape(*chains_draws, -1) for effects in held),
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run computes."""
    packages = ("crossed-jax", "jax", "jaxlib", "blackjax", "numpyro", "numpy", "xarray")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}


def describe_blocks(cells: Cells, data: CrossedData) -> tuple[str, ...]:
    """Say in words if the levels fall into unconnected blocks, and what that means."""
    found = blocks(cells)
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


def _form(parameterization: str) -> Form:
    if parameterization not in FORMS:
        raise InputError(
            f"unknown parameterization {parameterization!r}: choose one of auto, "
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
) -> None:
    for name, value, least in (
        ("chains", num_chains, 1),
        ("warm-up steps", num_warmup, 1),
        ("draws", num_draws, 4),
        ("doublings of the tree", max_tree_depth, 1),
    ):
        if value < least:
            raise InputError(f"{value} {name} were asked for: ask for at least {least}.")
    if not 0 <= seed < 2**63:
        raise InputError(f"the seed is {seed}: give a whole number from 0 to 2**63 - 1.")
    if not 0.0 < target_accept < 1.0:
        raise InputError(
            f"the target acceptance rate is {target_accept}: choose one between 0 and 1, "
            "0.8 by default."
        )


def _check_keep_effects(keep_effects: str, collapsing: bool) -> None:
    if keep_effects not in ("draws", "summary"):
        raise InputError(f"cannot keep {keep_effects!r} of the effects: choose draws or summary.")
    if keep_effects == "summary" and not collapsing:
        raise InputError(
            "only the collapsed form can keep a summary of the effects: leave out "
            "--keep-effects, or --parameterization."
        )


def _check_streaming(path: Path, keep_effects: str, parameterization: str) -> None:
    if keep_effects == "summary":
        raise InputError(
            "a summary of the effects leaves no draws to stream: leave out one of the two."
        )
    if parameterization == "original":
        raise InputError(
            "the original form cannot stream its draws: choose another, from which "
            "original_coordinates recovers this one's."
        )
    if not path.parent.is_dir():
        raise InputError(
            f"cannot write {str(path)!r}: {str(path.parent)!r} is not a directory, and must be."
        )


def most_draws_in_memory(data: CrossedData) -> int | None:
    """How many draws of all effects would fit into memory; None where the system does not say."""
    available = _available_memory()
    if available is None:
        return None
    # the draws, and a copy while they are written
    return available // (16 * sum(len(factor.levels) for factor in data.factors))


def _check_memory(data: CrossedData, num_draws: int, parameterization: str) -> None:
    """Refuse draws that would not fit, before anything large is allocated."""
    most = most_draws_in_memory(data)
    if most is not None and num_draws > most:
        num_levels = sum(len(factor.levels) for factor in data.factors)
        ways = [f"ask for {max(1, most):,} draws in all"]
        if parameterization != "original":
            ways.append("stream them to a file (--stream, stream_to=)")
        if parameterization in ("auto", "collapsed"):
            ways.append("keep a summary alone (--keep-effects summary, keep_effects='summary')")
        raise InputError(
            f"{num_draws:,} draws of {num_levels:,} effects need "
            f"{16 * num_draws * num_levels / 2**30:.1f} GiB of memory, which is not free: "
            f"{', or '.join(ways)}."
        )


def _available_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024


def _check_noise(cells: Cells) -> None:
    """Refuse a table that intercept and effects fit exactly: its posterior has no finite mass."""
    intercept, effects = backfit(cells, np.zeros(len(cells.num_levels)))
    residual = cells.residuals(intercept, effects)
    noise = cells.sum_squares_within + cells.counts @ residual**2
    if noise <= 1e-16 * (cells.counts @ (cells.means - intercept) ** 2):
        raise InputError(
            "one number per level of each factor reproduces the response exactly, which leaves no "
            "noise to estimate: add replicates, or check that the response is a measurement and "
            "not a fitted or copied value."
        )


def _centering(
    form: Form, data: CrossedData, centered: Mapping[str, bool] | None
) -> tuple[bool | None, ...]:
    wanted = dict(centered or {})
    names = [factor.name for factor in data.factors]
    for name in wanted:
        if name not in names:
            raise InputError(f"cannot center {name!r}: the factors are {', '.join(names)}.")
    default = True if form.name == "original" else None
    return tuple(wanted.get(name, default) for name in names)
