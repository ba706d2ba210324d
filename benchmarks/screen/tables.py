"""Tables of the screen model's results in Markdown."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
DISTANCES = ("largest_z_mean", "largest_z_variance")
SDS = {
    "sigma": "sigma",
    "gene_sd": "gene SD",
    "cell_line_sd": "line SD",
    "cell_line_log_slope_sd": "slope SD",
    "gene_log_slope_sd": "slope SD",
    "cell_line_log_noise_sd_sd": "noise SD by line",
    "gene_log_noise_sd_sd": "noise SD by gene",
    "sgrna_log_noise_sd_sd": "noise SD by guide",
    "interaction_share": "share",
    "sgrna_sd": "guide SD",
    "nested_share": "guides' share",
    "sample_sd": "sample SD",
}


def held_out_table(result: str, screen: str | None = None) -> str:
    """Gain of each model over the first, and what its intervals cover."""
    found = _read(result)
    models = (found if screen is None else found[screen])["models"]
    rows = []
    for name, found in models.items():
        gain = f"{found['gain']:+.3f} ± {found['standard_error']:.3f}"
        coverage = "/".join(f"{each:.2f}".lstrip("0") for each in found["coverage"])
        means = ", ".join(
            f"{title} {found['means'][key]:.2f}"
            for key, title in SDS.items()
            if key in found["means"]
        )
        rows.append([name, f"{found['log_density']:.3f}", gain, coverage, means])
    return _table(["model", "log density", "gain", "50/90/99% cover", "fitted"], "l r r r l", rows)


def guide_extensions_table() -> str:
    """What heavier tails would add to the model with guides."""
    found = _read("guide_extensions")
    parts = {
        f"Student-t interactions, {float(nu):.0f} degrees of freedom": each
        for nu, each in found["student_t"].items()
    }
    rows = [
        [name, f"{each['gain']:+.4f} ± {each['standard_error']:.4f}"]
        for name, each in parts.items()
    ]
    return _table(["part", "gain of a held-out value"], "l r", rows)


def samples_table() -> str:
    """How sure line effects are with effects of samples and without."""
    rows = []
    for name in ("Avana", "KY"):
        found = _read("samples")[name]
        sds = (found["sample_sd"], *(found["line_effect_sd"][how] for how in ("without", "with")))
        moved = found["interactions_moved_in_sds"]["median"]
        numbers = [f"{found['lines']}", f"{found['samples']}", *(f"{sd:.3f}" for sd in sds)]
        rows.append([name, *numbers, f"{found['ratio_of_sds']:.1f}", f"{moved:.3f}"])
    header = ["screen", "lines", "samples", "sample SD", "SD of a line effect without", "with"]
    return _table(
        [*header, "times as wide", "interactions moved, median in SDs"], "l r r r r r r r", rows
    )


def leave_one_out_table() -> str:
    """Leave-one-out of three models of a cut of Avana, and how far from that of refits."""
    found = _read("leave_one_out")
    by_cell = {row["model"]: row for row in found["compared"]["cell"]}
    rows = []
    for row in found["compared"]["row"]:
        name, refits = row["model"], found["refits"][row["model"]]
        rows.append(
            [
                name,
                f"{row['elpd']:,.0f} ± {row['se']:.0f}",
                f"{by_cell[name]['elpd']:,.0f} ± {by_cell[name]['se']:.0f}",
                f"{row['bad_k']}, {by_cell[name]['bad_k']}",
                f"{refits['elpd']:.3f} ± {refits['standard_error']:.3f}",
                f"{refits['refit']:.3f}",
                f"{refits['largest_difference']:.4f}",
                f"{refits['largest_z']:.1f}",
            ]
        )
    header = ["model", "elpd by row", "by cell", "Pareto k too large", "20 rows", "refits of these"]
    header += ["largest difference of a row", "in Monte Carlo errors"]
    return _table(header, "l r r r r r r r", rows)


def cross_library_table() -> str:
    """How KY sees what is found in Avana."""
    rows = []
    for name, found in _read("cross_library")["methods"].items():
        of_top = "/".join(f"{100 * share:.0f}" for share in found["of_top"].values())
        calls = [f"{found['calls']:,}", f"{found['same_sign']:.2f}"] if "calls" in found else []
        controls = [f"{100 * found['controls_called']:.1f}%"] if calls else []
        rows.append([name, f"{of_top}%", *(calls + controls or ["", "", ""])])
    header = ["ranked by", "top 50/100/200 in KY's extreme 5%", "called", "same sign in KY"]
    return _table([*header, "controls called"], "l r r r r", rows)


def guide_calls_table() -> str:
    """How KY's guides see what is found in Avana's."""
    rows = []
    for name, found in _read("guide_calls")["methods"].items():
        of_top = "/".join(f"{100 * share:.0f}" for share in found["of_top"].values())
        row = [name, f"{of_top}%", f"{found['top_same_sign']['fit']:.2f}", *[""] * 4]
        if "calls" in found:
            called = found["called_same_sign"]
            signs = (called["fit"], called["where_ky_is_sure"])
            row[3:] = [f"{found['calls']:,}", *(f"{sign:.2f}" for sign in signs)]
            row.append(f"{100 * found['controls_called']:.1f}%")
        rows.append(row)
    header = ["ranked by", "top 50/100/200 in KY's extreme 5%", "same sign of top 400", "called"]
    header += ["same sign in KY", "where KY is sure", "controls called"]
    return _table(header, "l r r r r r r", rows)


def agreement_table(result: str) -> str:
    """How far the fit and NumPyro's long run are apart, in their Monte Carlo errors."""
    rows = []
    for name, found in _read(result).items():
        if not isinstance(found, dict) or "quantities" not in found:
            continue
        cells = found.get("interactions", {})
        z = [max(found[key], cells.get(key, 0.0)) for key in DISTANCES]
        gap = f"{cells['largest_lfsr_gap']:.3f}" if cells else ""
        number = found["quantities"] + cells.get("cells", 0)
        rows.append([name, f"{found['rows']:,}", f"{number:,}", *(f"{x:.1f}" for x in z), gap])
    header = ["table", "rows", "quantities", "largest z of means", "of variances"]
    return _table([*header, "largest gap of lfsr"], "l r r r r r", rows)


def avana_table() -> str:
    """What a fit of Avana takes, and others' NUTS with every latent variable a parameter."""
    avana, guides = _read("avana"), _read("guide_avana")
    rows = []
    for sampler, algorithm, each in (
        ("crossed_jax", "genes integrated out", avana["crossed_jax"]),
        ("numpyro", "NUTS on all", avana["numpyro"]),
        ("nutpie", "NUTS on all", _read("nutpie")["nutpie"]),
        (
            f"crossed_jax, {guides['rows']:,} rows of guides",
            "genes and guides integrated out",
            guides["crossed_jax"],
        ),
    ):
        rows.append(
            [
                f"{sampler}, {each['chains']} x ({each['warmup']} + {each['draws']})",
                algorithm,
                f"{each['seconds_beside_compiling']:.0f}",
                f"{each['leapfrog_steps_per_effective_draw']:,.0f}",
                f"{each['min_ess_bulk']:,.0f}",
                f"{each['min_ess_per_second']:.2g}",
            ]
        )
    header = ["sampler", "algorithm", "s beside compiling", "leapfrog steps per effective draw"]
    return _table([*header, "min ESS", "ESS/s"], "l l r r r r", rows)


def recovery_table() -> str:
    """What intervals of simulated screens cover."""
    rows = []
    for name, found in _read("recovery")["quantities"].items():
        both = zip(found["coverage"], found["standard_error"], strict=True)
        rows.append([name, *(f"{covers:.3f} ± {error:.3f}" for covers, error in both)])
    return _table(["quantity", "50%", "90%", "95%"], "l r r r", rows)


def genome_table() -> str:
    """What a gradient costs as the table grows."""
    rows = []
    for each in _read("genome")["sizes"]:
        milliseconds = (1e3 * each[part] for part in ("pass", "one_chain", "chains_together"))
        fit = f"{each['fit']['seconds_beside_compiling']:.0f}" if "fit" in each else ""
        rows.append(
            [
                f"{each['genes']:,} x {each['lines']:,}",
                f"{each['rows']:,}",
                f"{each['mb']:,.0f}",
                *(f"{value:.3g}" for value in milliseconds),
                fit,
            ]
        )
    header = ["genes x lines", "rows", "MB", "sum over the table, ms", "gradient, one chain, ms"]
    header += ["4 chains together, ms", "fit, s beside compiling"]
    return _table(header, "l r r r r r r", rows)


def genome_run_table() -> str:
    """Some draws at the size of a genome."""
    found = _read("genome_run")
    seconds = found["seconds"]
    row = [
        f"{found['genes']:,} x {found['lines']:,}",
        f"{found['chains']} x ({found['warmup']} + {found['draws']})",
        f"{seconds['warmup']:.0f} + {seconds['sample']:.0f}",
        f"{found['leapfrog_steps_per_draw']:.0f}",
        f"{found['max_r_hat']:.2f}",
        f"{found['peak_gb']['sample']:.1f}",
    ]
    header = ["genes x lines", "chains", "s of warm-up + sampling", "leapfrog steps a draw"]
    return _table([*header, "largest R-hat", "peak memory, GB"], "l l r r r r", [row])


def _read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"screen_{name}.json").read_text())


def _table(header: list[str], align: str, rows: list[list[str]]) -> str:
    rule = ["---:" if side == "r" else "---" for side in align.split()]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])


TABLES: dict[str, Callable[[], str]] = {
    "screen-agreement": partial(agreement_table, "agreement"),
    "screen-guide-agreement": partial(agreement_table, "guide_agreement"),
    "screen-avana": avana_table,
    "screen-cross-library": cross_library_table,
    "screen-guide-calls": guide_calls_table,
    "screen-guide-prediction": partial(held_out_table, "guide_prediction"),
    "screen-guide-extensions": guide_extensions_table,
    "screen-samples": samples_table,
    "screen-leave-one-out": leave_one_out_table,
    "screen-recovery": recovery_table,
    "screen-genome": genome_table,
    "screen-genome-run": genome_run_table,
    **{
        f"screen-held-out-{name}": partial(held_out_table, "held_out", name)
        for name in ("avana", "ky", "depmap")
    },
}
