"""From a table to a posterior: the one call that puts the other modules together."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from crossed_jax.arguments import path_of
from crossed_jax.errors import InputError, told
from crossed_jax.forms.collapsed import sample_collapsed
from crossed_jax.forms.effects import sample_effects
from crossed_jax.forms.guides import sample_guides
from crossed_jax.forms.screen import sample_screen
from crossed_jax.forms.table import adequacy_of, prepared
from crossed_jax.models.centering import checked_centering
from crossed_jax.models.model import (
    Model,
    describe_model,
    own_names,
    priors_of,
    require_normal,
    resolved,
)
from crossed_jax.models.noise import noise_named
from crossed_jax.models.offset import add_offset, offset_of
from crossed_jax.models.parts import Noise
from crossed_jax.models.priors import (
    Priors,
    describe_priors,
    exact_priors,
    resolve_priors,
)
from crossed_jax.models.screen.parts import Parts
from crossed_jax.sampling.checkpoint import Checkpoint, open_checkpoint
from crossed_jax.sampling.chunks import Progress, sample
from crossed_jax.sampling.devices import available_devices
from crossed_jax.sampling.identity import computing
from crossed_jax.sampling.memory import check_draws, check_run
from crossed_jax.sampling.nuts import key_of
from crossed_jax.sampling.settings import RunSettings, own_settings, run_settings
from crossed_jax.tables.crossed_data import CrossedData, require_table
from crossed_jax.tables.names import check_names
from crossed_jax.types import (
    ChainMethod,
    KeepEffects,
    ModelName,
    NoiseName,
    ParameterizationName,
    PriorName,
)

if TYPE_CHECKING:
    import xarray as xr

    from crossed_jax.results.draws_file import DrawsFile


def fit(
    data: CrossedData,
    *,
    model: ModelName | Model = "additive",
    parameterization: ParameterizationName = "auto",
    noise: NoiseName = "normal",
    priors: PriorName | Priors = "post",
    num_chains: int = 4,
    num_warmup: int = 1000,
    num_draws: int = 1000,
    seed: int = 0,
    target_accept: float | None = None,
    max_tree_depth: int = 10,
    centered: Mapping[str, bool] | None = None,
    keep_effects: KeepEffects = "draws",
    chain_method: ChainMethod = "auto",
    checkpoint: str | Path | None = None,
    stream_to: str | Path | None = None,
    report: Callable[[Progress], None] | None = None,
) -> "xr.DataTree":
    """Fit a crossed varying-intercept model, or one of its extensions for screens.

    Parameters
    ----------
    data
        A table, as :func:`~crossed_jax.tables.read.read_table` gives it.
    model
        `additive`; `screen`, with slopes and noise by level and an interaction, as far as the
        table can inform them; or a :class:`~crossed_jax.models.model.Model` with some of these.
        They are for two factors, see :mod:`crossed_jax.models.screen`.
    parameterization
        The form of the model to sample, see :mod:`crossed_jax.models`. `auto` is `collapsed`, or
        `sum_to_zero` where the noise does not let the effects be integrated out.
    noise
        `normal`; or `student_t`, for a response with outliers, which the `sum_to_zero` and
        `original` forms can have.
    priors
        `post`, for log fold changes; `scaled`, for a response in any unit; or a
        :class:`~crossed_jax.models.priors.Priors`.
    num_chains, num_warmup, num_draws
        Chains, and warm-up steps and draws of each.
    seed
        The same seed gives the same draws.
    target_accept
        Mean acceptance rate that warm-up aims the step size at, between 0 and 1. By default it is
        0.8, and 0.95 for a screen model with fewer than 20 lines, whose SDs may be near zero.
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
        Groups `posterior` (`intercept`, `{factor}_effect`, `{factor}_sd` and `sigma`, the noise's
        SD; of Student-t noise its scale, and `nu`; of the screen model `{factor}_slope`,
        `{factor}_log_noise_sd`, their SDs and `interaction_share`; of what is nested, such as
        guides and samples, `{unit}_effect` and `{unit}_sd`, with guides `nested_share`,
        `{gene}_interaction_share` and `{gene}_logit_share_sd`, and where they differ in their noise
        `{unit}_log_noise_sd` and its SD), `sample_stats`, `observed_data` and `constant_data`; for
        the screen model `interactions`, which :func:`crossed_jax.interactions` tabulates, and
        `seen`, counts and means of rows by what is nested; and for the collapsed form
        `effect_moments` (exact `{factor}_effect_mean` and `{factor}_effect_sd`, and where their
        draws were not kept `{factor}_effect_quantile`); how the run was made is in `attrs`.

    Raises
    ------
    InputError
        If an argument does not make sense, the checkpoint is of another run, the response is
        exactly additive, which leaves no noise to estimate, or too far from zero for its spread,
        or the draws would not fit into memory or on to the disk.
    """
    require_table(data, "fit")
    device = available_devices()[0]
    chosen_noise, form, parts, left_out = _model(data, model, noise, parameterization)
    collapsing = form == "collapsed"
    settings = run_settings(
        num_chains=num_chains,
        num_warmup=num_warmup,
        num_draws=num_draws,
        seed=seed,
        target_accept=_usual_rate(parts, data) if target_accept is None else target_accept,
        max_tree_depth=max_tree_depth,
        chain_method=chain_method,
        report=report,
    )
    centered = checked_centering(centered, form, data.factor_names)
    checkpoint = None if checkpoint is None else path_of("checkpoint", checkpoint)
    stream_to = None if stream_to is None else path_of("stream_to", stream_to)
    _check_kept(keep_effects, stream_to, form, parts)
    others = chosen_noise.priors | priors_of(parts, data.factor_names)
    chosen = resolve_priors(priors, data, others)
    priors_told = describe_priors(chosen, data, priors)
    _check_memory(data, settings, form, parts, keeps=keep_effects == "draws" and stream_to is None)

    clock = time.perf_counter()
    offset = offset_of(data.response)
    table, notes = prepared(data, chosen, offset)
    notes += left_out
    against = None
    if parts is None and chosen_noise.name == "normal":
        against = adequacy_of(table)
    seconds = {"prepare": time.perf_counter() - clock}
    model_told = {
        **describe_model(parts, data.factor_names),
        "parameterization": form,
        "noise": chosen_noise.name,
    }

    def fitted(kept: Checkpoint | None, file: "DrawsFile | None" = None) -> "xr.DataTree":
        draw = partial(sample, key_of(settings.seed), **settings.of_chains(), report=report)
        with own_settings():
            if parts is not None:
                draw = partial(draw, checkpoint=kept)
                form_of = sample_screen if parts.nested is None else sample_guides
                sampled = form_of(draw, settings, table, parts)
            elif collapsing:
                sampled = sample_collapsed(draw, settings, table, kept, keep_effects, file)
            else:
                keeping = {} if file is None else {"keep": file.keep}
                draw = partial(draw, checkpoint=kept, **keeping)
                wanted = [centered.get(name, CENTERED.get(form)) for name in data.factor_names]
                sampled = sample_effects(draw, form, chosen_noise, table, wanted)
        from crossed_jax.results.record import describe_run, describe_table
        from crossed_jax.results.screen_scores import with_adequacy
        from crossed_jax.results.tree import to_datatree

        tree = to_datatree(
            add_offset(sampled.draws, offset),
            sampled.run.statistics,
            {
                **model_told,
                "priors": priors_told,
                **describe_run(
                    settings, seconds | sampled.seconds, sampled.run.warmup_gradients, device
                ),
                **describe_table(data, notes),
                **sampled.attributes,
                "adequacy": against,
            },
            data,
            sampled.moments,
            sampled.quantiles,
            sampled.interactions,
            sampled.seen,
        )
        return tree if parts is None else with_adequacy(tree, data, parts)

    def opened() -> AbstractContextManager[Checkpoint | None]:
        if checkpoint is None:
            return nullcontext()
        with own_settings():  # as the draws are computed
            identity = {
                "table": data.digest(),
                **model_told,
                "priors": exact_priors(chosen, data),
                **settings.recorded(),
                "centered": centered,
                "chain_method": chain_method,
                **computing(),
            }
        return open_checkpoint(checkpoint, identity, settings.num_steps)

    if stream_to is None:
        with opened() as kept:
            return fitted(kept)
    from crossed_jax.results.draws_file import drawing_to, open_draws

    with (
        drawing_to(stream_to, data, settings.num_chains, settings.num_draws) as file,
        opened() as kept,
    ):
        file.finish(fitted(kept, file))
    return open_draws(stream_to)


FEW_LINES = 20
CENTERED = {"original": True}  # as posted; elsewhere the data choose


def _model(
    data: CrossedData, model: object, noise: str, parameterization: str
) -> tuple[Noise, str, Parts | None, tuple[str, ...]]:
    """Look the parts of a model up by name, and check that they go together and with the table.

    Returns
    -------
    noise, form
    parts
        Of the screen model, or None.
    notes
        Parts that it goes without, and why.
    """
    if isinstance(model, Model) and noise == "normal":
        noise = model.noise
    chosen = noise_named(noise)
    known = get_args(ParameterizationName)
    if parameterization not in known:
        raise InputError(
            f"unknown parameterization {told(parameterization)}: choose one of {', '.join(known)}."
        )
    possible = chosen.parameterizations
    form = possible[0] if parameterization == "auto" else parameterization
    if form not in possible:
        raise InputError(
            f"the {form} form cannot have {noise} noise: choose "
            f"parameterization={possible[0]!r}, or noise='normal'."
        )
    parts, notes = resolved(model, data)
    require_normal(parts, noise)
    if parts is not None and form != "collapsed":
        raise InputError(
            f"the screen model cannot be had in the {form} form: leave out "
            f"parameterization={form!r}."
        )
    names = tuple(factor.name for factor in data.factors_and_units)
    check_names(data.response_name, names, (*chosen.names, *own_names(parts)))
    return chosen, form, parts, notes


def _usual_rate(parts: Parts | None, data: CrossedData) -> float:
    """Acceptance rate to aim at where none is asked for."""
    few = parts is not None and len(data.factors[1 - parts.genes].levels) < FEW_LINES
    return 0.95 if few else 0.8


def _check_memory(
    data: CrossedData, settings: RunSettings, form: str, parts: Parts | None, *, keeps: bool
) -> None:
    """Refuse what would not fit into memory; `keeps`, the draws of the effects among it."""
    number = settings.num_chains * settings.num_draws
    if parts is not None:  # slopes and noise, too
        by_lines = 3 * len(data.factors[1 - parts.genes].levels)
        units = [len(each.units.levels) for each in data.units]
        noise = len(data.nested.units.levels) if data.nested and parts.guide_noise else 0
        samples = len(data.samples.units.levels) if data.samples else 0
        check_run(settings, 5 + by_lines + samples + noise)
        check_draws(2 * data.num_levels + by_lines + sum(units) + noise, number, None)
        return
    check_run(settings, len(data.factors) + 1 + (0 if form == "collapsed" else data.num_levels))
    if keeps:
        check_draws(data.num_levels, number, form)


def _check_kept(keep_effects: str, stream_to: Path | None, form: str, parts: Parts | None) -> None:
    """Refuse to keep the effects in a way that the model cannot."""
    if keep_effects not in (known := get_args(KeepEffects)):
        raise InputError(
            f"cannot keep {told(keep_effects)} of the effects: choose {' or '.join(known)}."
        )
    if keep_effects == "summary" and form != "collapsed":
        raise InputError(
            "only the collapsed form, with normal noise, can keep a summary of the effects: leave "
            "out keep_effects='summary', or choose parameterization='collapsed'."
        )
    if parts is not None and (keep_effects == "summary" or stream_to is not None):
        raise InputError(
            "the screen model keeps the draws of its effects in memory: leave out keep_effects "
            "and stream_to, and ask for fewer draws where they would not fit."
        )
    if stream_to is not None:
        from crossed_jax.results.draws_file import check_streaming

        check_streaming(stream_to, keep_effects, form)
