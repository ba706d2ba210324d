"""Crossed varying-intercept models without the ridge: exact, in JAX, sampled by BlackJAX NUTS."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossed_jax.errors import InputError
    from crossed_jax.fitting import fit
    from crossed_jax.log_density import sample
    from crossed_jax.models.distributions import Exponential, HalfNormal, Normal
    from crossed_jax.models.model import Model
    from crossed_jax.models.parameterization import Parameterization
    from crossed_jax.models.priors import Priors
    from crossed_jax.results.comparison import compare
    from crossed_jax.results.contrasts import contrast
    from crossed_jax.results.interaction_draws import interaction_draws
    from crossed_jax.results.interactions import interactions
    from crossed_jax.results.log_likelihood import log_likelihood
    from crossed_jax.results.original_coordinates import original_coordinates
    from crossed_jax.results.posterior_predictive import posterior_predictive
    from crossed_jax.results.predict import predict
    from crossed_jax.results.prior_predictive import prior_predictive
    from crossed_jax.results.summaries import effects, parameters
    from crossed_jax.results.timings import timings
    from crossed_jax.results.unit_evidence import unit_evidence
    from crossed_jax.results.variance_components import variance_components
    from crossed_jax.results.verdict import diagnose
    from crossed_jax.tables.crossed_data import CrossedData
    from crossed_jax.tables.examples import penicillin
    from crossed_jax.tables.read import read_table
    from crossed_jax.tables.simulate import simulate_screen
    from crossed_jax.tables.wide import read_wide

__all__ = [
    "CrossedData",
    "Exponential",
    "HalfNormal",
    "InputError",
    "Model",
    "Normal",
    "Parameterization",
    "Priors",
    "compare",
    "contrast",
    "diagnose",
    "effects",
    "fit",
    "interaction_draws",
    "interactions",
    "log_likelihood",
    "original_coordinates",
    "parameters",
    "penicillin",
    "posterior_predictive",
    "predict",
    "prior_predictive",
    "read_table",
    "read_wide",
    "sample",
    "simulate_screen",
    "timings",
    "unit_evidence",
    "variance_components",
]

_HOMES = {
    "CrossedData": "tables.crossed_data",
    "Exponential": "models.distributions",
    "HalfNormal": "models.distributions",
    "InputError": "errors",
    "Model": "models.model",
    "Normal": "models.distributions",
    "Parameterization": "models.parameterization",
    "Priors": "models.priors",
    "compare": "results.comparison",
    "contrast": "results.contrasts",
    "diagnose": "results.verdict",
    "effects": "results.summaries",
    "fit": "fitting",
    "interaction_draws": "results.interaction_draws",
    "interactions": "results.interactions",
    "log_likelihood": "results.log_likelihood",
    "original_coordinates": "results.original_coordinates",
    "parameters": "results.summaries",
    "penicillin": "tables.examples",
    "posterior_predictive": "results.posterior_predictive",
    "predict": "results.predict",
    "prior_predictive": "results.prior_predictive",
    "read_table": "tables.read",
    "read_wide": "tables.wide",
    "sample": "log_density",
    "simulate_screen": "tables.simulate",
    "timings": "results.timings",
    "unit_evidence": "results.unit_evidence",
    "variance_components": "results.variance_components",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that ``crossed-jax --help`` answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'crossed_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crossed_jax.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
