"""What a collapsed fit costs as the table grows: ``python -m benchmarks ladder``.

Screens of 3 to 18,000 genes are simulated, complete and with 2% of their cells missing, and fitted
twice in one process: the second fit, which compiles nothing, is the one recorded, by part. Writes
``results/ladder.csv``; ``--draw`` redraws ``figures/ladder.png`` from it.
"""

import argparse
import json
from pathlib import Path

import polars as pl

import crossed_jax as cj

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "ladder.csv"
FIGURE = HERE / "figures" / "ladder.png"

# genes, cell lines, replicates
SIZES = (
    (3, 10, 3),
    (10, 30, 3),
    (30, 100, 3),
    (100, 300, 2),
    (600, 300, 2),
    (3_000, 500, 2),
    (18_000, 1_100, 2),
)
PARTS = {
    "prepare": "reduce rows to cells",
    "collapse": "integrate effects out",
    "nuts": "NUTS on the SDs",
    "effects": "draw effects",
    "moments": "exact moments",
}


def measure(genes: int, lines: int, replicates: int, missing: float) -> dict:
    """Fit one simulated screen twice and give the second fit's seconds by part."""
    data = cj.simulate_screen(
        num_genes=genes,
        num_cell_lines=lines,
        num_replicates=replicates,
        missing=missing,
        noise_sd=0.3,
        seed=1,
    ).data
    for _ in range(2):
        tree = cj.fit(data, seed=1)
    seconds = json.loads(tree.attrs["seconds"])
    seconds["nuts"] = seconds["warmup"] + seconds["sample"]
    return {
        "genes": genes,
        "cell_lines": lines,
        "replicates": replicates,
        "missing": missing,
        "rows": data.num_rows,
        **{part: seconds.get(part, 0.0) for part in PARTS},
    }


def draw() -> None:
    """Draw seconds against rows on logarithmic axes, a panel for each kind of table."""
    import matplotlib.pyplot as plt

    table = pl.read_csv(RESULTS)
    colors = ("#E69F00", "#0072B2", "#999999", "#009E73", "#CC79A7")
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    titles = {0.0: "complete and balanced: closed form", 0.02: "2% of cells missing"}
    for ax, (missing, title) in zip(axes, titles.items(), strict=True):
        rows = table.filter(pl.col("missing") == missing).sort("rows")
        total = rows.select(pl.sum_horizontal(*PARTS)).to_series()
        ax.plot(rows["rows"], total, "k-o", lw=2, label="all")
        for (part, label), color in zip(PARTS.items(), colors, strict=True):
            ax.plot(rows["rows"], rows[part], "-o", ms=4, color=color, label=label)
        ax.set(xscale="log", yscale="log", xlabel="rows of the table", title=title, ylim=(1e-4, 60))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("seconds (4 chains x 1000 draws, compiled)")
    axes[1].legend(fontsize=8, loc="upper left")
    figure.savefig(FIGURE, dpi=150)
    plt.close(figure)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what ``python -m benchmarks ladder`` takes."""
    parser.add_argument("--draw", action="store_true", help="draw what was measured before")
    parser.add_argument("--most-rows", type=float, default=1e9, help="leave out larger tables")


def main(arguments: argparse.Namespace) -> None:
    """Measure every size, unless only a drawing is asked for."""
    if not arguments.draw:
        rows = [
            measure(*size, missing)
            for size in SIZES
            for missing in (0.0, 0.02)
            if size[0] * size[1] * size[2] <= arguments.most_rows
        ]
        pl.DataFrame(rows).write_csv(RESULTS)
    draw()
