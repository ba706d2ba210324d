"""From a table to a posterior: the one call that puts the other modules together."""

import dataclasses
import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

import jax
import numpy as np
import xarray as xr

from crossed_jax.cells import Cells, blocks, cells_of
from crossed_jax.data import CrossedData, InputError
from crossed_jax.models import design_matrix, original, sum_to_zero
from crossed_jax.models.form import Form, problem_of
from crossed_jax.moments import backfit
from crossed_jax.posterior import to_datatree
from crossed_jax.priors import PriorName, Priors, describe_priors, resolve_priors
from crossed_jax.sampler import Progress, sample

Parameterization = Literal["auto", "original", "design_matrix", "sum_to_zero"]

FORMS: dict[str, Form] = {
    form.name: form for form in (original.FORM, design_matrix.FORM, sum_to_zero.FORM)
}


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
    report: Callable[[Progress], None] | None = None,
) -> xr.DataTree:
    """Fit a crossed varying-intercept model.

    Parameters
    ----------
    data
        A table, as :func:`~crossed_jax.data.read_table` gives it.
    parameterization
        The form of the model to sample, see :mod:`crossed_jax.models`. `auto` is `sum_to_zero`.
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
    report
        Called with a :class:`~crossed_jax.sampler.Progress` as the run goes on.

    Returns
    -------
    xarray.DataTree
        Groups `posterior` (`intercept`, `{factor}_effect`, `{factor}_sd`, `sigma`),
        `sample_stats`, `observed_data` and `constant_data`; how the run was made is in `attrs`.

    Raises
    ------
    InputError
        If an argument does not make sense, or the response is exactly additive, which leaves no
        noise to estimate.
    """
    form = _form(parameterization)
    _check_settings(num_chains, num_warmup, num_draws, target_accept, max_tree_depth)
    chosen_priors = resolve_priors(priors, data)
    clock = time.perf_counter()
    cells = cells_of(data)
    _check_noise(cells)
    problem = problem_of(cells, chosen_priors, _centering(form, data, centered))
    seconds = {"prepare": time.perf_counter() - clock}

    with jax.enable_x64(True):
        run = sample(
            jax.random.key(seed),
            form,
            problem,
            num_chains=num_chains,
            num_warmup=num_warmup,
            num_draws=num_draws,
            target_accept=target_accept,
            max_tree_depth=max_tree_depth,
            report=report,
        )
    return to_datatree(
        run.draws,
        run.statistics,
        dataclasses.replace(data, notes=data.notes + describe_blocks(cells, data)),
        {
            "parameterization": form.name,
            "centered": {
                factor.name: bool(weight)
                for factor, weight in zip(data.factors, problem.centering, strict=True)
            },
            "priors": describe_priors(
                chosen_priors, data, priors if isinstance(priors, str) else "custom"
            ),
            "seed": seed,
            "num_chains": num_chains,
            "num_warmup": num_warmup,
            "num_draws": num_draws,
            "target_accept": target_accept,
            "max_tree_depth": max_tree_depth,
            "num_rows": len(data.response),
            "num_missing": data.num_missing,
            "input_sha256": data.sha256 or "",
            "source": data.source or "",
            "seconds": seconds | run.seconds,
            "inference_library": "blackjax",
            "versions": versions(),
            "device": jax.devices()[0].device_kind,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
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
    if parameterization == "auto":
        return sum_to_zero.FORM
    if parameterization not in FORMS:
        raise InputError(
            f"unknown parameterization {parameterization!r}: choose one of auto, "
            f"{', '.join(FORMS)}."
        )
    return FORMS[parameterization]


def _check_settings(
    num_chains: int, num_warmup: int, num_draws: int, target_accept: float, max_tree_depth: int
) -> None:
    for name, value, least in (
        ("chains", num_chains, 1),
        ("warm-up steps", num_warmup, 1),
        ("draws", num_draws, 4),
        ("doublings of the tree", max_tree_depth, 1),
    ):
        if value < least:
            raise InputError(f"{value} {name} were asked for: ask for at least {least}.")
    if not 0.0 < target_accept < 1.0:
        raise InputError(
            f"the target acceptance rate is {target_accept}: choose one between 0 and 1, "
            "0.8 by default."
        )


def _check_noise(cells: Cells) -> None:
    """Refuse a table that intercept and effects fit exactly: its posterior has no finite mass."""
    intercept, effects = backfit(cells, np.zeros(len(cells.num_levels)))
    residual = cells.means - intercept
    for k, effect in enumerate(effects):
        residual = residual - effect[cells.codes[:, k]]
    noise = cells.sum_squares_within + cells.counts @ residual**2
    if noise <= 1e-16 * (cells.counts @ (cells.means - intercept) ** 2):
        raise InputError(
            "the response is exactly a sum of one number per level of each factor, which leaves "
            "no noise to estimate: check that it is a measurement and not a fitted or copied value."
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
