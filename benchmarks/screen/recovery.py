"""What a fit recovers of simulated screens: how often its intervals cover the truth.

All screens are drawn from the same scalars, about those of Avana, and not from the priors: a
level's intervals are to cover at their rate over screens and levels, as levels are drawn from
their population; those of scalars need only do so roughly, with twenty screens to tell. Standard
errors are over screens, as levels of a screen share its scalars.
"""

from typing import Any

import numpy as np

import crossed_jax as cj

NUM_SCREENS = 20
INTERVALS = (0.5, 0.9, 0.95)
SCREEN = {
    "num_genes": 200,
    "num_cell_lines": 30,
    "num_replicates": 2,
    "gene_mean": -0.3,
    "gene_sd": 0.55,
    "cell_line_sd": 0.45,
    "noise_sd": 0.28,
    "slope_sd": 0.6,
    "noise_sd_by_line_sd": 0.45,
    "noise_sd_by_gene_sd": 0.33,
    "interaction_share": 0.45,
}
SETTINGS = {"num_chains": 4, "num_warmup": 300, "num_draws": 250}
QUANTITIES = (
    "gene_effect",
    "cell_line_effect",
    "cell_line_slope",
    "cell_line_log_noise_sd",
    "gene_log_noise_sd",
    "interaction",
    "gene_sd",
    "cell_line_sd",
    "sigma",
    "cell_line_log_slope_sd",
    "cell_line_log_noise_sd_sd",
    "gene_log_noise_sd_sd",
    "interaction_share",
)


def recovery() -> dict[str, Any]:
    """Simulate screens, fit them, and hold the fits to the truth."""
    fits = [_fit(seed) for seed in range(NUM_SCREENS)]
    return {
        "screens": NUM_SCREENS,
        "simulated": SCREEN,
        **SETTINGS,
        "converged": sum(fit["converged"] for fit in fits),
        "divergences": sum(fit["divergences"] for fit in fits),
        "quantities": {
            name: _over_screens([fit["covers"][name] for fit in fits]) for name in QUANTITIES
        },
    }


def _fit(seed: int) -> dict[str, Any]:
    simulation = cj.simulate_screen(**SCREEN, seed=seed)
    tree = cj.fit(simulation.data, model="screen", **SETTINGS, seed=seed)
    verdict = cj.diagnose(tree)
    posterior = {str(name): draws.values for name, draws in tree["posterior"].data_vars.items()}
    posterior["interaction"] = cj.interaction_draws(tree, seed=seed).values
    print(f"screen {seed}", *verdict.reasons, flush=True)
    return {
        "converged": verdict.converged,
        "divergences": verdict.divergences,
        "covers": {name: covered(posterior[name], simulation.truth[name]) for name in QUANTITIES},
    }


def covered(draws: np.ndarray, truth: np.ndarray | float) -> list[float]:
    """Share of a quantity's entries that central intervals cover; draws lead, (chains, draws)."""
    below = (draws < truth).mean((0, 1))
    return [float((np.abs(2.0 * below - 1.0) < level).mean()) for level in INTERVALS]


def _over_screens(covers: list[list[float]]) -> dict[str, list[float]]:
    return {
        "coverage": np.mean(covers, 0).tolist(),
        "standard_error": (np.std(covers, 0, ddof=1) / len(covers) ** 0.5).tolist(),
    }
