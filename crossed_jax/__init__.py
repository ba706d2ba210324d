"""Crossed varying-intercept models without the ridge: exact, in JAX, sampled by BlackJAX NUTS."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossed_jax.data import CrossedData, InputError, read_table
    from crossed_jax.diagnostics import diagnose
    from crossed_jax.examples import penicillin
    from crossed_jax.fitting import fit
    from crossed_jax.posterior import original_coordinates
    from crossed_jax.predict import posterior_predictive, prior_predictive
    from crossed_jax.priors import Priors
    from crossed_jax.simulate import simulate_screen
    from crossed_jax.summaries import effects, variance_components

__all__ = [
    "CrossedData",
    "InputError",
    "Priors",
    "diagnose",
    "effects",
    "fit",
    "original_coordinates",
    "penicillin",
    "posterior_predictive",
    "prior_predictive",
    "read_table",
    "simulate_screen",
    "variance_components",
]

_HOMES = {
    "CrossedData": "data",
    "InputError": "data",
    "Priors": "priors",
    "diagnose": "diagnostics",
    "effects": "summaries",
    "fit": "fitting",
    "original_coordinates": "posterior",
    "penicillin": "examples",
    "posterior_predictive": "predict",
    "prior_predictive": "predict",
    "read_table": "data",
    "simulate_screen": "simulate",
    "variance_components": "summaries",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that ``crossed-jax --help`` answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'crossed_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crossed_jax.{_HOMES[name]}"), name)
