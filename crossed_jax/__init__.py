"""Crossed varying-intercept models without the ridge: exact, in JAX, sampled by BlackJAX NUTS."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossed_jax.errors import InputError
    from crossed_jax.fitting import fit
    from crossed_jax.models.priors import Priors
    from crossed_jax.results.diagnostics import diagnose
    from crossed_jax.results.predict import posterior_predictive, prior_predictive
    from crossed_jax.results.summaries import effects, variance_components
    from crossed_jax.results.tree import original_coordinates
    from crossed_jax.tables.data import CrossedData, read_table
    from crossed_jax.tables.examples import penicillin
    from crossed_jax.tables.simulate import simulate_screen

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
    "CrossedData": "tables.data",
    "InputError": "errors",
    "Priors": "models.priors",
    "diagnose": "results.diagnostics",
    "effects": "results.summaries",
    "fit": "fitting",
    "original_coordinates": "results.tree",
    "penicillin": "tables.examples",
    "posterior_predictive": "results.predict",
    "prior_predictive": "results.predict",
    "read_table": "tables.data",
    "simulate_screen": "tables.simulate",
    "variance_components": "results.summaries",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that ``crossed-jax --help`` answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'crossed_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crossed_jax.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
