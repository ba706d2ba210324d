"""Tables of the results in Markdown; nothing in them is typed by hand."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from benchmarks import summary
from benchmarks.entries import ESTIMATE
from benchmarks.problems import PROBLEMS
from benchmarks.screen.tables import TABLES as SCREEN_TABLES
from benchmarks.summary import Row, Spread
from crossed_jax.demo import POST_SECONDS

RESULTS = Path(__file__).parent / "results"


def demo_table(path: Path = RESULTS / "demo.csv") -> str:
    """Render the comparison that ``crossed-jax demo`` writes."""
    lines = [
        "| form | compile, s | sample, s | min ESS | ESS/s | divergences | at max depth | R-hat |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in pl.read_csv(path).iter_rows(named=True):
        bound = "< " if row["compile_s"] is None else ""
        cells = [
            row["form"],
            number(row["compile_s"], 1),
            number(row["sampling_s"], 1),
            bound + number(row["min_ess"]),
            bound + number(row["ess_per_s"], 0 if row["ess_per_s"] > 10 else 1),
            number(row["divergences"]),
            number(row["max_tree_depth_hits"]),
            number(row["max_r_hat"], 3),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def speed_table(problem: str, folder: Path = RESULTS) -> str:
    """What each sampler gets done, and whether it is right."""
    columns = {
        "min ESS": lambda row: short(row.spread(summary.min_ess)),
        "min ESS, all": lambda row: short(row.spread(_all)),
        "ESS/s, sampling": lambda row: speeds(row, summary.sampling_speed),
        "ESS/s, with warm-up": lambda row: speeds(row, summary.speed),
        "ESS/s, process": lambda row: speeds(row, summary.process_speed, cold=_cold_alone(row)),
        "all, ESS/s": lambda row: speeds(row, summary.speed_of_all),
        "process cold, s": lambda row: short(row.spread(summary.process_seconds, cold=True)),
        "warm, s": lambda row: short(row.spread(summary.process_seconds, cold=False)),
        "diverged": lambda row: short(row.spread(summary.count("divergences"))),
        "at max depth": lambda row: short(row.spread(summary.count("max_tree_depth_hits"))),
        "R-hat": lambda row: number(row.spread(_r_hat).most, 3),
        "agrees": lambda row: f"{row.agreeing} of {len(row.runs)}",
    }
    return _table(problem, folder, columns)


def brief_table(problem: str, folder: Path = RESULTS) -> str:
    """What matters most, for the README."""
    columns = {
        "min ESS": lambda row: short(row.spread(summary.min_ess)),
        "ESS/s, sampling": lambda row: speeds(row, summary.sampling_speed),
        "ESS/s, with warm-up": lambda row: speeds(row, summary.speed),
        "process cold, s": lambda row: short(row.spread(summary.process_seconds, cold=True)),
        "warm, s": lambda row: short(row.spread(summary.process_seconds, cold=False)),
        "diverged": lambda row: short(row.spread(summary.count("divergences"))),
        "agrees with truth": lambda row: f"{row.agreeing} of {len(row.runs)}",
    }
    return _table(problem, folder, columns)


def seconds_table(problem: str, folder: Path = RESULTS) -> str:
    """Where the time goes, and what else it takes."""
    columns: dict[str, Callable[[Row], str]] = {
        "import": lambda row: seconds(row.spread(summary.part("import"), cold=_cold_alone(row))),
        "build": lambda row: seconds(row.spread(summary.part("build"), cold=_cold_alone(row))),
        "compile cold": lambda row: seconds(row.spread(summary.part("compile"), cold=True)),
        "compile warm": lambda row: seconds(row.spread(summary.part("compile"), cold=False)),
        "warm-up": lambda row: seconds(row.spread(summary.part("warmup"))),
        "sampling": lambda row: seconds(row.spread(summary.part("sample"))),
        "summary": lambda row: seconds(row.spread(summary.part("summary"), cold=_cold_alone(row))),
        "gradients": lambda row: short(row.spread(summary.count("gradients"))),
        "ESS per gradient": lambda row: speeds(row, summary.gradients),
        "to ESS 400": lambda row: speeds(row, summary.seconds_to_enough),
        "memory, GiB": lambda row: short(row.spread(_memory)),
        "load": lambda row: number(row.load.median if row.load else None, 1),
        "measured": lambda row: row.date,
    }
    return _table(problem, folder, columns)


def verdict(problem: str, folder: Path = RESULTS, against: str | None = None) -> str:
    """Say by how much crossed_jax wins or loses, measure by measure.

    Against the best of all peers in each, or the best entry of one package.
    """
    found = [row for row in summary.rows(problem, folder) if row.trusted]
    ours = [row for row in found if row.entry.package == "crossed_jax"]
    peers = [
        row
        for row in found
        if row.entry.package != "crossed_jax" and against in (None, row.entry.package)
    ]
    if not ours or not peers:
        return ""
    measures = {
        "ESS/s of sampling": (summary.sampling_speed, None, False),
        "ESS/s with warm-up": (summary.speed, None, False),
        "ESS/s of all quantities, with warm-up": (summary.speed_of_all, None, False),
        "ESS per gradient": (summary.gradients, None, False),
        "seconds of the process, cold": (summary.process_seconds, True, True),
        "seconds of the process, warm": (summary.process_seconds, False, True),
        "seconds of the process to ESS 400": (summary.seconds_to_enough, None, True),
    }
    lines = [
        f"| measure | {against or 'best peer'} | "
        + " | ".join(row.entry.name for row in ours)
        + " |"
    ]
    lines.append("|---|---|" + "---:|" * len(ours))
    for name, (measure, cold, less_is_better) in measures.items():

        def median(row: Row, measure=measure, cold=cold) -> float:
            return row.spread(measure, cold).median

        known = [row for row in peers if math.isfinite(median(row))]
        if not known:
            continue
        best = (min if less_is_better else max)(known, key=median)
        cells = [name, f"{best.entry.name}: {short(best.spread(measure, cold))}"]
        for row in ours:
            ratio = median(best) / median(row) if less_is_better else median(row) / median(best)
            cells.append(_times(ratio))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _table(problem: str, folder: Path, columns: dict[str, Callable[[Row], str]]) -> str:
    lines = [
        "| sampler | algorithm | " + " | ".join(columns) + " |",
        "|---|---|" + "---:|" * len(columns),
    ]
    for row in summary.rows(problem, folder):
        if row.entry.family == ESTIMATE or (row.error and not row.runs):
            continue
        cells = [render(row) for render in columns.values()]
        lines.append(f"| {row.entry.name} | {row.entry.family} | {' | '.join(cells)} |")
    return "\n".join([*lines, *_remarks(problem, folder)])


def _remarks(problem: str, folder: Path) -> list[str]:
    remarks = []
    for row in summary.rows(problem, folder):
        if row.error:
            remarks.append(f"{row.entry.name}: {row.error}")
        elif row.entry.family == ESTIMATE:
            estimates = ", ".join(
                f"{name} {value:.4g}" for name, value in row.runs[0]["estimates"].items()
            )
            took = number(row.spread(summary.process_seconds).median, 1)
            remarks.append(f"{row.entry.name} ({took} s): {estimates}.")
        elif row.entry.own_priors:
            remarks.append(f"{row.entry.name} has priors of its own: another posterior.")
        elif not row.trusted:
            gate = next(run["gate"] for run in row.runs if not run["gate"]["agrees"])
            z = gate["largest_z"]
            remarks.append(
                f"{row.entry.name} disagrees with the truth: up to {max(z.values()):.1f} standard "
                f"errors where {gate['bound']:.1f} are allowed."
            )
        if row.entry.package == "pymc3" and row.runs:
            took = number(row.spread(_work).median)
            remarks.append(
                f"{row.entry.name}: {took} s of warm-up and sampling here; "
                f"{POST_SECONDS:.0f} s by the post's own account, on its machine."
            )
    return ["", *(f"- {remark}" for remark in remarks)] if remarks else []


def speeds(row: Row, measure: Callable[[dict], float | None], cold: bool | None = None) -> str:
    """Spell a speed, unless the posterior is another: then it is the speed of nothing."""
    return short(row.spread(measure, cold)) if row.trusted else ""


def short(spread: Spread) -> str:
    """Spell a median, with its range where there is one."""
    if not math.isfinite(spread.median):
        return ""
    middle = rounded(spread.median)
    low, high = rounded(spread.least), rounded(spread.most)
    return middle if low == high else f"{middle} ({low}–{high})"


def seconds(spread: Spread) -> str:
    """Spell seconds; how far below a hundredth nobody wants to know."""
    return "< 0.01" if spread.most < 0.01 else short(spread)


def rounded(value: float) -> str:
    """Round to two or three digits that matter."""
    if value == 0 or abs(value) >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"


def number(value: float | None, decimals: int = 0) -> str:
    """Spell a number that may be missing."""
    return "" if value is None or not math.isfinite(value) else f"{value:,.{decimals}f}"


def _times(ratio: float) -> str:
    if not math.isfinite(ratio):
        return ""
    return f"{rounded(ratio)} times" if ratio >= 1 else f"**loses: {ratio:.2g} times**"


def _cold_alone(row: Row) -> bool:
    """Whether only cold runs are there to be shown."""
    return all(run["cold"] for run in row.runs)


def _all(run: dict) -> float | None:
    return run.get("all", {}).get("min_ess_bulk")


def _r_hat(run: dict) -> float:
    return run["identified"]["max_r_hat"]


def _work(run: dict) -> float:
    return run["seconds"]["warmup"] + run["seconds"]["sample"]


def _memory(run: dict) -> float | None:
    return run["peak_memory"] / 2**30 if run.get("peak_memory") else None


TABLES: dict[str, Callable[[], str]] = {
    "demo": demo_table,
    "post-against-pymc3": partial(verdict, "post", against="pymc3"),
    **SCREEN_TABLES,
}
for _name in PROBLEMS:
    TABLES[_name] = partial(speed_table, _name)
    TABLES[f"{_name}-brief"] = partial(brief_table, _name)
    TABLES[f"{_name}-seconds"] = partial(seconds_table, _name)
    TABLES[f"{_name}-verdict"] = partial(verdict, _name)
