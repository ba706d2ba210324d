"""``crossed-jax demo``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossed_jax.cli.figures import tell_left_out
from crossed_jax.cli.interruption import interruptible
from crossed_jax.cli.progress import progress

if TYPE_CHECKING:
    import polars as pl


def demo(
    out: Annotated[Path, typer.Option(help="Directory for table and figures.")] = Path(
        "crossed-jax-demo"
    ),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Fit the post's data in four forms at the post's settings, and show what the ridge costs."""
    from crossed_jax.results.output import staged_directory

    with interruptible(None), staged_directory(out) as folder:
        from crossed_jax.demo import compare, explain, fit_forms
        from crossed_jax.results import plots
        from crossed_jax.results.original_coordinates import original_coordinates
        from crossed_jax.results.output import write_csv, write_tree
        from crossed_jax.results.posterior_predictive import posterior_predictive
        from crossed_jax.tables.simulate import simulate_screen
        from crossed_jax.tables.simulated_table import screen_frame, write_table

        simulation = simulate_screen(seed=0)
        write_table(screen_frame(simulation), folder / "screen.csv")
        with progress(quiet) as report:
            trees = fit_forms(simulation.data, report)
        for form, tree in trees.items():
            write_tree(tree, folder / f"{form}.nc")
        comparison = compare(trees)
        write_csv(comparison, folder / "comparison.csv")
        tree = posterior_predictive(trees["sum_to_zero"], simulation.data, num_draws=500)
        failures = plots.save_figures(tree, folder / "figures", simulation.truth)
        recovered = original_coordinates(trees["sum_to_zero"])
        ridge = {"ridge": lambda: plots.ridge(trees["original"], recovered)}
        failures |= plots.save(ridge, folder / "figures")
    tell_left_out(failures, quiet)
    _print_comparison(comparison)
    print(explain(comparison))
    print(f"Tables, draws and figures are in {out}.")


def _print_comparison(comparison: "pl.DataFrame") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    headings = {
        "form": "form",
        "compile_s": "compile\ns",
        "sampling_s": "sample\ns",
        "min_ess": "min\nESS",
        "ess_per_s": "ESS\nper s",
        "divergences": "diver-\ngences",
        "max_tree_depth_hits": "at max\ndepth",
        "max_r_hat": "max\nR-hat",
    }
    decimals = {"compile_s": 1, "sampling_s": 1, "max_r_hat": 3}
    table = Table(
        title="The post's 90 rows, 2 chains x (1000 warm-up + 4000 draws)",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name, heading in headings.items():
        table.add_column(heading, justify="left" if name == "form" else "right", no_wrap=True)
    for row in comparison.iter_rows(named=True):
        cells = [row["form"]]
        for name, heading in list(headings.items())[1:]:
            # of the post's own ESS only an upper bound is known
            bound = "< " if row["compile_s"] is None and "ESS" in heading else ""
            value = row[name]
            cells.append("" if value is None else f"{bound}{value:,.{decimals.get(name, 0)}f}")
        table.add_row(*cells)
    Console().print(table)
