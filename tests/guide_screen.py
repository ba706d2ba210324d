"""A small screen with guides, all seen alike, simulated from the model."""

import numpy as np
import polars as pl

import crossed_jax as cj

NUM_GENES, NUM_LINES = 24, 6


def guide_rows(seed: int = 3) -> pl.DataFrame:
    """Three guides of each gene, two replicates of each line."""
    rng = np.random.default_rng(seed)
    guide, line, _ = np.indices((3 * NUM_GENES, NUM_LINES, 2)).reshape(3, -1)
    gene = guide // 3
    a, o = rng.normal(0.0, 0.6, NUM_GENES), rng.normal(0.0, 0.3, 3 * NUM_GENES)
    b, d, log_k = rng.normal(0.0, [[0.4], [0.3], [0.3]], (3, NUM_LINES))
    e = rng.normal(0.0, 0.3, NUM_GENES)
    share = 1.0 / (1.0 + np.exp(1.5 - rng.normal(0.0, 1.0, NUM_GENES)))[gene]
    values = rng.normal(size=(NUM_GENES, NUM_LINES))[gene, line] * np.sqrt(share)
    values += rng.normal(size=(3 * NUM_GENES, NUM_LINES))[guide, line] * np.sqrt(0.3 * (1 - share))
    values += rng.normal(size=len(gene)) * np.sqrt(0.7 * (1.0 - share))
    response = b[line] + np.exp(log_k)[line] * (a[gene] + o[guide])
    response += 0.5 * np.exp(d[line] + e[gene]) * values
    return pl.DataFrame(
        {
            "gene": [f"gene{i}" for i in gene],
            "line": [f"line{i}" for i in line],
            "guide": [f"{i % 3}" for i in guide],
            "y": response,
        }
    )


def guide_screen() -> cj.CrossedData:
    return cj.read_table(guide_rows(), response="y", factors=("gene", "line"), nested="guide")
