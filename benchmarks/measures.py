"""From draws to what is reported: the named quantities, their ESS, and agreement with the truth."""

import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from scipy.stats import norm

from crossed_jax.sampling.ess import rank_diagnostics

FALSE_ALARMS = 1e-3  # how often a right sampler is turned away, all its quantities together


class Errors(NamedTuple):
    """Monte Carlo standard errors of means and SDs, and the smaller effective number of both."""

    mean: np.ndarray
    sd: np.ndarray
    ess: np.ndarray


def mcse(draws: np.ndarray) -> Errors:
    """Monte Carlo standard errors, from draws of shape (chains, draws, quantities).

    By ArviZ, from the ESS of the draws as they are: that of their ranks, which is what bulk ESS is,
    says too little about the mean of a long tail.
    """
    axes = {"chain_axis": 0, "draw_axis": 1}
    error = {m: array_stats.mcse(draws, method=m, **axes) for m in ("mean", "sd")}
    ess = [array_stats.ess(draws, method=m, **axes) for m in ("mean", "sd")]
    return Errors(error["mean"], error["sd"], np.minimum(*ess))


def identified_names(spec: dict) -> list[str]:
    """Names of the quantities that the data identify: the one set that all are measured on."""
    names = ["intercept", "sigma", *(f"{factor}_sd" for factor in spec["factors"])]
    for factor, size in zip(spec["factors"], spec["num_levels"], strict=True):
        names += [f"{factor}_effect[{level}]" for level in range(size)]
    return names


def identified(draws: dict[str, np.ndarray], spec: dict) -> np.ndarray:
    """Give the identified quantities, shape (chains, draws, quantities), of any form's draws."""
    levels = [draws[f"{factor}_level"] for factor in spec["factors"]]
    intercept = draws.get("intercept", 0.0) + sum(level.mean(-1) for level in levels)
    scalars = [intercept, draws["sigma"], *(draws[f"{factor}_sd"] for factor in spec["factors"])]
    effects = [level - level.mean(-1, keepdims=True) for level in levels]
    return np.concatenate([np.stack(scalars, -1), *effects], axis=-1)


def original(draws: dict[str, np.ndarray], spec: dict, seed: int) -> np.ndarray:
    """Give the posted model's own coordinates, mu and alpha of each factor, as drawn or recovered.

    A form without them has integrated them out, and they are drawn from their exact conditional
    given the intercept and the SDs, as :func:`crossed_jax.original_coordinates` explains.
    """
    factors = spec["factors"]
    if f"{factors[0]}_mean" in draws:
        means = [draws[f"{factor}_mean"][..., None] for factor in factors]
        return np.concatenate([*means, *(draws[f"{f}_level"] for f in factors)], axis=-1)
    rng = np.random.default_rng(seed)
    known = identified(draws, spec)
    intercept, sds = known[..., 0], known[..., 2 : 2 + len(factors)]
    prior = spec["mean_scale"] ** 2
    of_levels = sds**2 / np.array(spec["num_levels"])
    variance = prior + of_levels
    center = spec["mean_loc"] + np.sqrt(variance) * rng.standard_normal(sds.shape)
    gap = intercept - center.sum(-1)
    center += variance / variance.sum(-1, keepdims=True) * gap[..., None]
    shrinkage = prior / variance
    means = spec["mean_loc"] + shrinkage * (center - spec["mean_loc"])
    means += np.sqrt(shrinkage * of_levels) * rng.standard_normal(sds.shape)
    owner = np.repeat(np.arange(len(factors)), spec["num_levels"])
    return np.concatenate([means, known[..., 2 + len(factors) :] + center[..., owner]], axis=-1)


def agreement(draws: np.ndarray, truth) -> dict:
    """Compare means and SDs with the truth's, in standard errors of both.

    The bound is that which the largest of so many standard normals passes one time in a thousand.
    """
    errors = mcse(draws)
    deviations = {
        "mean": (draws.mean((0, 1)) - truth.mean) / np.hypot(errors.mean, truth.mean_error),
        "sd": (draws.std((0, 1)) - truth.sd) / np.hypot(errors.sd, truth.sd_error),
    }
    bound = float(norm.isf(FALSE_ALARMS / (4 * draws.shape[-1])))
    worst = {moment: int(np.argmax(abs(z))) for moment, z in deviations.items()}
    largest = {moment: float(abs(z).max()) for moment, z in deviations.items()}
    return {
        "agrees": bool(max(largest.values()) < bound),
        "bound": bound,
        "largest_z": largest,
        "of": {moment: truth.names[k] for moment, k in worst.items()},
    }


def measure(folder: Path, spec: dict, truth, seed: int, same_posterior: bool) -> dict:
    """Read the draws that a peer left in a folder and say how good they are."""
    arrays = np.load(folder / "draws.npz")
    draws = {name: arrays[name] for name in arrays.files}
    known = identified(draws, spec)
    found = rank_diagnostics(known)
    worst = int(np.argmin(found.ess_bulk))
    measured = {
        "draws": known.shape[0] * known.shape[1],
        "identified": {
            "min_ess_bulk": float(found.ess_bulk.min()),
            "median_ess_bulk": float(np.median(found.ess_bulk)),
            "min_ess_tail": float(found.ess_tail.min()),
            "median_ess_tail": float(np.median(found.ess_tail)),
            "max_r_hat": float(found.r_hat.max()),
            "worst": truth.names[worst],
        },
        "gate": agreement(known, truth),
    }
    if same_posterior:
        clock = time.perf_counter()
        own = original(draws, spec, seed)
        seconds = time.perf_counter() - clock
        rest = rank_diagnostics(own)
        measured["all"] = {
            "min_ess_bulk": float(min(rest.ess_bulk.min(), found.ess_bulk.min())),
            "min_ess_tail": float(min(rest.ess_tail.min(), found.ess_tail.min())),
            "max_r_hat": float(max(rest.r_hat.max(), found.r_hat.max())),
            "seconds_to_recover": seconds,
        }
    return measured


def read_record(folder: Path) -> dict:
    """Read what a peer wrote about its run."""
    return json.loads((folder / "run.json").read_text())
