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
    guides: Annotated[int, typer.Option(help="Guides of each gene; 0: none.")] = 0,
    guide_sd: Annotated[
        float, typer.Option(help="SD of the guides' effects about their genes'.")
    ] = 0.0,
    noise_sd_by_guide_sd: Annotated[
        float, typer.Option(help="SD of the guides' log noise SDs about their genes'.")
    ] = 0.0,
    nested_share: Annotated[
        float,
        typer.Option(help="Share that a guide's replicates have in common of what is left."),
    ] = 0.0,
    logit_share_sd: Annotated[
        float, typer.Option(help="SD of the logits of the genes' interaction shares.")
    ] = 0.0,
    sample_sd: Annotated[
        float, typer.Option(help="SD of what each replicate of a line adds to all its rows.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same table.")] = 0,
) -> None:
    """Simulate a gene x cell line screen; the post's, unless told otherwise."""
    from crossed_jax.tables.screen_settings import replicate_range
    from crossed_jax.tables.simulate import simulate_screen
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
        num_guides=guides,
        guide_sd=guide_sd,
        noise_sd_by_guide_sd=noise_sd_by_guide_sd,
        nested_share=nested_share,
        logit_share_sd=logit_share_sd,
        sample_sd=sample_sd,
        seed=seed,
    )
    write_table(screen_frame(simulation), out)
