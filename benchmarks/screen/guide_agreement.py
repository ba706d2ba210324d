"""Posterior with guides against NumPyro's NUTS with every latent variable a parameter."""

from typing import Any

import crossed_jax as cj
from benchmarks.screen.agreement import RESULTS, held_to, kept_reference
from benchmarks.screen.screens import small_guide_tables, with_guides

REFERENCE = RESULTS / "screen_guide_agreement_numpyro.csv"


def guide_reference() -> dict[str, Any]:
    """Run NumPyro for long on two tables, and keep the moments of everything."""
    return kept_reference(_tables(), REFERENCE)


def guide_agreement() -> dict[str, Any]:
    """Fit the two tables, and hold all quantities to NumPyro's."""
    return held_to(_tables(), REFERENCE)


def _tables() -> dict[str, cj.CrossedData]:
    return {name: with_guides(table) for name, table in small_guide_tables().items()}
