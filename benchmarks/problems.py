"""The problems: tables, priors, and the settings that every sampler is given.

Each becomes a folder that all samplers read: ``table.csv``, ``input.npz`` (the response and the
factors' codes), ``spec.json`` (factors and priors) and ``truth.npz`` (see
:mod:`benchmarks.truth`). Factors are relabelled by the order of their first appearance, so that a
label sorts as its code, whatever reads it.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

import crossed_jax as cj

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
WORK = ROOT / "out" / "benchmarks"


class Problem(NamedTuple):
    """A table, its priors, and the chains, warm-up steps and draws that samplers are given.

    Attributes
    ----------
    load
        Makes the table, given the folder of the shared data.
    priors
        `post` or `scaled`, as :func:`crossed_jax.fit` has them.
    by_quadrature
        Whether the truth is by quadrature; else it is a long run of the collapsed form.
    """

    name: str
    title: str
    load: Callable[[Path], pl.DataFrame]
    response: str
    factors: tuple[str, ...]
    priors: str
    chains: int
    warmup: int
    draws: int
    by_quadrature: bool = False


def _post(data: Path) -> pl.DataFrame:
    del data
    return _frame(cj.simulate_screen(seed=0).data)


def _screen(data: Path, *, genes: int, lines: int, replicates: int) -> pl.DataFrame:
    del data
    simulation = cj.simulate_screen(
        num_genes=genes, num_cell_lines=lines, num_replicates=replicates, noise_sd=0.3, seed=1
    )
    return _frame(simulation.data)


def _penicillin(data: Path) -> pl.DataFrame:
    return pl.read_csv(data / "penicillin" / "Penicillin.csv")


def _insteval(data: Path) -> pl.DataFrame:
    return pl.read_csv(data / "insteval" / "InstEval.csv.gz").select(
        "y", pl.col("s", "d").cast(pl.String)
    )


def _avana(data: Path) -> pl.DataFrame:
    table = pl.read_csv(data / "avana_ky_screens" / "lfc_gene_by_replicate.csv.gz")
    # true/false are spelled as Python does, which readers take for text
    passes = pl.col("passes_qc").cast(pl.String).str.to_lowercase() == "true"
    return table.filter((pl.col("library") == "Avana") & passes).select("gene", "cell_line", "lfc")


def _frame(data: cj.CrossedData) -> pl.DataFrame:
    labels = {f.name: np.array(f.levels)[f.codes] for f in data.factors}
    return pl.DataFrame({**labels, data.response_name: data.response})


SCREEN = ("logfc", ("gene", "cell_line"), "post")
LADDER = tuple(
    Problem(
        f"screen-{genes}x{lines}x{replicates}",
        f"simulated screen, {genes:,} genes x {lines:,} lines x {replicates}",
        partial(_screen, genes=genes, lines=lines, replicates=replicates),
        *SCREEN,
        chains=2,
        warmup=500,
        draws=1000,
    )
    for genes, lines, replicates in ((3, 10, 3), (10, 30, 3), (30, 100, 3), (100, 300, 3))
)
PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem(
            "post",
            "the post's data: 3 genes x 10 cell lines x 3",
            _post,
            *SCREEN,
            chains=2,
            warmup=1000,
            draws=4000,
            by_quadrature=True,
        ),
        Problem(
            "penicillin",
            "Penicillin: 24 plates x 6 samples",
            _penicillin,
            "diameter",
            ("plate", "sample"),
            "scaled",
            chains=2,
            warmup=1000,
            draws=4000,
            by_quadrature=True,
        ),
        Problem(
            "insteval",
            "InstEval: 2,972 students x 1,128 lecturers",
            _insteval,
            "y",
            ("s", "d"),
            "scaled",
            chains=2,
            warmup=500,
            draws=1000,
        ),
        Problem(
            "avana",
            "Avana: 883 genes x 41 cell lines",
            _avana,
            "lfc",
            ("gene", "cell_line"),
            "post",
            chains=2,
            warmup=500,
            draws=1000,
        ),
        *LADDER,
    )
}


def prepare(problem: Problem, data: Path = DATA, work: Path = WORK) -> Path:
    """Write the files that every sampler reads; returns their folder."""
    folder = work / problem.name
    folder.mkdir(parents=True, exist_ok=True)
    frame = problem.load(data)
    read = cj.read_table(frame, response=problem.response, factors=problem.factors)
    names = [factor.name for factor in read.factors]
    labels = {f.name: [f"{f.name}_{code:05d}" for code in f.codes] for f in read.factors}
    pl.DataFrame({**labels, problem.response: read.response}).write_csv(folder / "table.csv")
    codes = np.stack([factor.codes for factor in read.factors])
    np.savez(folder / "input.npz", response=read.response, codes=codes)
    loc, scale = 0.0, 1.0
    if problem.priors == "scaled":
        loc, scale = read.response.mean() / len(names), read.response.std(ddof=1)
    spec = {
        "name": problem.name,
        "response": problem.response,
        "factors": names,
        "num_levels": [len(factor.levels) for factor in read.factors],
        "num_rows": read.num_rows,
        "priors": problem.priors,
        "mean_loc": float(loc),
        "mean_scale": float(5.0 * scale),
        "sd_scale": float(scale),
    }
    (folder / "spec.json").write_text(json.dumps(spec, indent=1))
    return folder
