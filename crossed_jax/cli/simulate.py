"""``crossed-jax simulate``."""

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    out: Annotated[Path, typer.Option(help="The table to write: .csv, .tsv or .parquet.")],
    genes: Annotated[int, typer.Option(help="Number of genes.")] = 3,
    cell_lines: Annotated[int, typer.Option(help="Number of cell lines.")] = 10,
    replicates: Annotated[
        str,
        typer.Option(
            metavar="N or N-N",
            help="Replicates of each gene in each line; 1-4: each line draws its number.",
        ),
    ] = "3",
    missing: Annotated[
        float, typer.Option(help="Fraction of the gene x line combinations to leave out.")
    ] = 0.0,
    gene_mean: Annotated[float, typer.Option(help="Mean of the genes' intercepts.")] = -1.0,
    cell_line_mean: Annotated[float, typer.Option(help="Mean of the lines' intercepts.")] = 0.0,
    gene_sd: Annotated[float, typer.Option(help="SD of the genes' intercepts.")] = 0.5,
    cell_line_sd: Annotated[float, typer.Option(help="SD of the lines' intercepts.")] = 0.5,
    noise_sd: Annotated[float, typer.Option(help="SD of the noise.")] = 0.05,
    slope_sd: Annotated[
        float, typer.Option(help="SD of the log slopes of lines on the genes' effects.")
    ] = 0.0,
    noise_sd_by_gene_sd: Annotated[
        float, typer.Option(help="SD of the genes' log noise SDs.")
    ] = 0.0,
    noise_sd_by_line_sd: Annotated[
        float, typer.Option(help="SD of the lines' log noise SDs.")
    ] = 0.0,
    interaction_share: Annotated[
        float,
        typer.Option(help="Share of the noise's variance that replicates have in common."),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same table.")] = 0,
) -> None:
    """Simulate a gene x cell line screen; the post's, unless told otherwise."""
    from crossed_jax.tables.simulate import replicate_range, simulate_screen
    from crossed_jax.tables.simulated_table import require_replaceable, screen_frame, write_table

    require_replaceable(out)
    simulation = simulate_screen(
        num_genes=genes,
        num_cell_lines=cell_lines,
        num_replicates=replicate_range(replicates),
        missing=missing,
        gene_mean=gene_mean,
        cell_line_mean=cell_line_mean,
        gene_sd=gene_sd,
        cell_line_sd=cell_line_sd,
        noise_sd=noise_sd,
        slope_sd=slope_sd,
        noise_sd_by_gene_sd=noise_sd_by_gene_sd,
        noise_sd_by_line_sd=noise_sd_by_line_sd,
        interaction_share=interaction_share,
        seed=seed,
    )
    write_table(screen_frame(simulation), out)
