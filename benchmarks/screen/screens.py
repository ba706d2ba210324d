"""The real screens that the benchmarks read, and the tables cut from them.

Every table has the columns gene, cell_line, replicate, sample and lfc, sorted by all but the last,
so that what is drawn from it with a seed does not depend on the files' order. Replicates of a line
may share a name, samples do not.
"""

import numpy as np
import polars as pl

import crossed_jax as cj
from benchmarks.problems import DATA

SEED = 12
COLUMNS = ("gene", "cell_line", "replicate", "sample")
RESPONSE = "lfc"


def library(name: str) -> pl.DataFrame:
    """Samples of a library, Avana or KY, that pass quality control: a row per gene and sample."""
    kept = _passing(name, "lfc_gene_by_replicate.csv.gz").rename({"sequence_ID": "sample"})
    return kept.select(*COLUMNS, RESPONSE).sort(COLUMNS)


def _passing(name: str, file: str) -> pl.DataFrame:
    """Rows of a library's samples that pass quality control."""
    table = pl.read_csv(DATA / "avana_ky_screens" / file)
    # true/false are spelled as Python does, which readers take for text
    passes = pl.col("passes_qc").cast(pl.String).str.to_lowercase() == "true"
    return table.filter((pl.col("library") == name) & passes)


def depmap() -> pl.DataFrame:
    """Chronos gene effects, a value per gene and line."""
    wide = pl.read_csv(DATA / "depmap_24q4_subset" / "CRISPRGeneEffect.csv.gz")
    long = wide.unpivot(index="V1", variable_name="gene", value_name=RESPONSE)
    long = long.drop_nulls().rename({"V1": "cell_line"})
    long = long.with_columns(replicate=pl.lit("A"), sample=pl.col("cell_line"))
    return long.select(*COLUMNS, RESPONSE).sort(COLUMNS)


def small_tables() -> dict[str, pl.DataFrame]:
    """Three tables cut from KY that are small enough to sample everything of."""
    rng = np.random.default_rng(SEED)
    whole = library("KY")
    replicated = _cut(whole, rng, genes=40, lines=8)
    ragged = _cut(whole, rng, genes=30, lines=12)
    ragged = _with_gaps(ragged, rng, "gene", cells=0.8, rows=0.7)
    single = _cut(whole, rng, genes=40, lines=10)
    single = single.unique(["gene", "cell_line"], keep="first", maintain_order=True)
    return {"replicated": replicated, "ragged": ragged, "single": single}


def _cut(table: pl.DataFrame, rng: np.random.Generator, genes: int, lines: int) -> pl.DataFrame:
    for column, size in (("gene", genes), ("cell_line", lines)):
        levels = table[column].unique().sort().to_numpy()
        table = table.filter(pl.col(column).is_in(rng.choice(levels, size, replace=False)))
    return table


def _with_gaps(
    table: pl.DataFrame, rng: np.random.Generator, units: str, cells: float, rows: float
) -> pl.DataFrame:
    """Keep so many of the cells of units and lines, at random, and so many of their rows."""
    cell = table.select(pl.struct(units, "cell_line").rank("dense")).to_series().to_numpy() - 1
    kept = rng.random(cell.max() + 1) < cells
    return table.filter(pl.Series(kept[cell] & (rng.random(len(cell)) < rows)))


def crossed(table: pl.DataFrame) -> cj.CrossedData:
    """Read a table for fitting."""
    return cj.read_table(table, response=RESPONSE, factors=("gene", "cell_line"))


def guide_library(name: str) -> pl.DataFrame:
    """Samples of a library that pass quality control: a row per guide and sample."""
    kept = _passing(name, "lfc_long.csv.gz")
    return kept.select("gene", "cell_line", "sgrna", "sequence_ID", RESPONSE).sort(pl.all())


def small_guide_tables() -> dict[str, pl.DataFrame]:
    """Two tables of guides cut from KY, the second with rows and cells of guides left out."""
    rng = np.random.default_rng(SEED)
    whole = guide_library("KY")
    complete, ragged = (_cut(whole, rng, genes=genes, lines=6) for genes in (16, 24))
    ragged = _with_gaps(ragged, rng, "sgrna", cells=0.85, rows=0.8)
    return {"guides": complete, "ragged guides": ragged}


def with_guides(table: pl.DataFrame) -> cj.CrossedData:
    """Read a table of guides for fitting."""
    return cj.read_table(table, response=RESPONSE, factors=("gene", "cell_line"), nested="sgrna")
