"""The two figures of the comparison: speed by sampler, and time to enough draws by table size."""

import json
import math
from pathlib import Path
from typing import Any

from benchmarks import summary
from benchmarks.entries import COLLAPSED, ORIGINAL, OTHER, ZERO_SUM
from benchmarks.problems import PROBLEMS
from benchmarks.summary import Row

FIGURES = Path(__file__).parent / "figures"
COLORS = {ORIGINAL: "#999999", OTHER: "#CC79A7", ZERO_SUM: "#0072B2", COLLAPSED: "#D55E00"}
MARKERS = {"crossed_jax": "o", "numpyro": "s", "nutpie": "^", "pymc": "D"}


def draw_all(results: Path, folder: Path = FIGURES) -> list[Path]:
    """Draw what there are results for; returns the files."""
    paths = [
        draw_speeds(name, results, folder / f"speed-{name}.png")
        for name in summary.measured_problems(results)
        if not name.startswith("screen-")  # they have a figure of their own
        and sum(row.trusted for row in summary.rows(name, results)) > 1
    ]
    paths.append(draw_sizes(results, folder / "time-to-ess.png"))
    return [path for path in paths if path is not None]


def draw_speeds(problem: str, results: Path, path: Path) -> Path:
    """Draw ESS a second by sampler: NUTS on all effects, and each package at its best."""
    import matplotlib.pyplot as plt

    found = [row for row in summary.rows(problem, results) if row.trusted]
    same = [row for row in found if row.entry.family != COLLAPSED]
    best = {
        package: max((row for row in found if row.entry.package == package), key=_speed)
        for package in {row.entry.package for row in found}
    }
    panels = {
        "the same algorithm: NUTS on all effects": sorted(same, key=_speed),
        "each package at its best": sorted(best.values(), key=_speed),
    }
    heights = [len(rows) for rows in panels.values()]
    figure, axes = plt.subplots(
        2,
        1,
        figsize=(8.5, 1.8 + 0.3 * sum(heights)),
        sharex=True,
        height_ratios=heights,
        layout="constrained",
    )
    for ax, (title, rows) in zip(axes, panels.items(), strict=True):
        for place, row in enumerate(rows):
            _draw_row(ax, place, row)
        ax.set_yticks(range(len(rows)), [row.entry.name for row in rows])
        for label, row in zip(ax.get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if row.entry.package == "crossed_jax" else "normal")
        ax.set(xscale="log", title=title, ylim=(-0.6, len(rows) - 0.4))
        ax.grid(axis="x", alpha=0.3)
    axes[-1].set_xlabel("smallest bulk ESS of the identified quantities, per second")
    families = [family for family in COLORS if any(r.entry.family == family for r in found)]
    handles = [
        plt.Line2D([], [], marker="o", ls="", color=COLORS[family], label=family)
        for family in families
    ]
    handles.append(
        plt.Line2D([], [], marker="o", ls="", mfc="white", color="k", label="sampling alone")
    )
    handles.append(plt.Line2D([], [], marker="o", ls="", color="k", label="with warm-up"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(PROBLEMS[problem].title)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


def _draw_row(ax: Any, place: int, row: Row) -> None:
    color = COLORS[row.entry.family]
    work, sampling = row.spread(summary.speed), row.spread(summary.sampling_speed)
    ax.plot([work.least, work.most], [place, place], color=color, lw=2)
    ax.plot(sampling.median, place, "o", color=color, mfc="white")
    ax.plot(work.median, place, "o", color=color)


def draw_sizes(results: Path, path: Path) -> Path | None:
    """Draw seconds to an ESS of 400 against the rows of simulated screens."""
    import matplotlib.pyplot as plt

    lines: dict[str, list[tuple[int, Row]]] = {}
    for problem in summary.measured_problems(results):
        if not problem.startswith("screen-"):
            continue
        for row in summary.rows(problem, results):
            # so few draws need no more chains than the peers have
            if row.trusted and not row.entry.options.get("all_cores"):
                lines.setdefault(row.entry.name, []).append((_num_rows(problem, results), row))
    lines = {name: line for name, line in lines.items() if len(line) > 1}
    if not lines:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), sharey=True, layout="constrained")
    panels = {
        "the whole process, caches warm": (summary.seconds_to_enough, False),
        "warm-up and sampling alone": (summary.work_to_enough, None),
    }
    for ax, (title, (measure, cold)) in zip(axes, panels.items(), strict=True):
        for name, line in lines.items():
            entry = line[0][1].entry
            sizes = [size for size, _ in sorted(line, key=lambda pair: pair[0])]
            ordered = [row for _, row in sorted(line, key=lambda pair: pair[0])]
            seconds = [row.spread(measure, cold).median for row in ordered]
            ax.plot(
                sizes,
                seconds,
                marker=MARKERS.get(entry.package, "x"),
                color=COLORS[entry.family],
                label=name,
            )
        ax.set(xscale="log", yscale="log", xlabel="rows of the table", title=title)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel(f"seconds to a smallest bulk ESS of {summary.ENOUGH}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle("Simulated screens: how long until there are enough draws")
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


def _speed(row: Row) -> float:
    value = row.spread(summary.speed).median
    return value if math.isfinite(value) else 0.0


def _num_rows(problem: str, results: Path) -> int:
    latest = max(results.glob(f"{problem}-2*.json"))
    return json.loads(latest.read_text())["problem"]["num_rows"]
