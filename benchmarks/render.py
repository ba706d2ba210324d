"""Write the README's tables from the committed results: ``python -m benchmarks.render``.

A table stands between two comments that name it, ``<!-- table: demo -->`` and ``<!-- end -->``.
"""

import re
from pathlib import Path

import polars as pl

HERE = Path(__file__).parent
README = HERE.parent / "README.md"


def demo_table(path: Path = HERE / "results" / "demo.csv") -> str:
    """Render the comparison that ``crossed-jax demo`` writes as a Markdown table."""
    lines = [
        "| form | compile, s | sample, s | min ESS | ESS/s | divergences | at max depth | R-hat |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in pl.read_csv(path).iter_rows(named=True):
        bound = "< " if row["compile_s"] is None else ""
        cells = [
            row["form"],
            _number(row["compile_s"], 1),
            _number(row["sampling_s"], 1),
            bound + _number(row["min_ess"]),
            bound + _number(row["ess_per_s"], 0 if row["ess_per_s"] > 10 else 1),
            _number(row["divergences"]),
            _number(row["max_tree_depth_hits"]),
            _number(row["max_r_hat"], 3),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float | None, decimals: int = 0) -> str:
    return "" if value is None else f"{value:,.{decimals}f}"


TABLES = {"demo": demo_table}


def render(text: str) -> str:
    """Put the current tables into a README's text."""
    for name, table in TABLES.items():
        pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text, found = re.subn(pattern, rf"\g<1>{table()}\n\g<2>", text, flags=re.DOTALL)
        if found != 1:
            raise ValueError(f"the README has {found} places for the table {name!r}, not one")
    return text


if __name__ == "__main__":
    README.write_text(render(README.read_text()))
