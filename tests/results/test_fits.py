"""The verdict on the model, in words."""

import dataclasses
import json

import numpy as np
import polars as pl
import xarray as xr
from example_tables import balanced
from heavy_noise import with_heavy_noise
from screen_tables import SCREEN, SETTINGS
from synthetic_tree import synthetic_tree

import crossed_jax as cj
from crossed_jax.forms.table import adequacy_of, prepared
from crossed_jax.models.priors import post_priors
from crossed_jax.results.adequacy import Fits, adequacy

# score of six workers with three machines, three times each: Machines of R's nlme (Milliken and
# Johnson, 1992, Analysis of Messy Data)
MACHINES = {
    "A": "52 52.8 53.1 51.8 52.8 53.1 60 60.2 58.4 51.1 52.3 50.3 50.9 51.8 51.4 46.4 44.8 49.2",
    "B": "62.1 62.6 64 59.7 60 59 68.6 65.8 69.7 63.2 62.8 62.2 64.8 65 65.4 43.7 44.2 43",
    "C": "67.5 67.2 66.9 61.5 61.7 62.3 70.8 70.6 71 64.1 66.2 64 72.1 72 71.1 62 61.4 60.5",
}


def machines() -> cj.CrossedData:
    rows = [
        {"Worker": str(1 + i // 3), "Machine": machine, "score": float(score)}
        for machine, scores in MACHINES.items()
        for i, score in enumerate(scores.split())
    ]
    return cj.read_table(pl.DataFrame(rows), response="score", factors=("Worker", "Machine"))


def verdict(data: cj.CrossedData) -> Fits:
    """That on the additive model, without sampling it."""
    ready, _ = prepared(data, post_priors(len(data.factors)), 0.0)
    tree = xr.DataTree.from_dict(
        {"constant_data": xr.Dataset(coords={f.name: f.labels for f in data.factors})}
    )
    tree.attrs["factors"] = json.dumps(data.factor_names)
    tree.attrs["adequacy"] = json.dumps(adequacy_of(ready))
    return adequacy(tree)


def test_machines_have_an_interaction() -> None:
    found = verdict(machines())
    assert found.fits is False
    assert "of the variance that it takes for noise is an interaction of Worker" in found.misfits[0]
    assert "fit model='screen'" in found.misfits[-1]


def test_a_screen_is_told_its_genes_slopes_and_lines() -> None:
    data = cj.simulate_screen(
        num_genes=60,
        num_cell_lines=12,
        num_replicates=2,
        noise_sd=0.3,
        slope_sd=0.6,
        noise_sd_by_gene_sd=0.4,
        noise_sd_by_line_sd=0.4,
        interaction_share=0.5,
    ).data
    told = verdict(data).misfits
    for words, sentence in zip(
        (
            "interaction of gene and cell_line",
            "levels of cell_line differ in how strongly they show the effects of gene",
            "levels of gene differ in their noise: the residuals of 'gene_",
            "levels of cell_line differ in their noise: the residuals of 'line_",
            "the screen model has all of these",
        ),
        told,
        strict=True,
    ):
        assert words in sentence


def test_three_factors_are_shown_no_screen_model() -> None:
    data = balanced((5, 6, 7), 2, sds=(1.0, 1.0, 1.0), sigma=1.0)
    assert verdict(data) == Fits(True, ())
    wide = data.factors[0].codes == 2
    data.response[wide] += np.random.default_rng(1).normal(0.0, 4.0, wide.sum())
    (told,) = verdict(data).misfits
    assert "levels of a differ in their noise: the residuals of 'a2' are" in told


def test_outliers_are_shown_student_t() -> None:
    data = balanced((20, 10), 2, sds=(1.0, 0.7), sigma=0.5)
    data.response[np.random.default_rng(0).choice(400, 8, replace=False)] += 4.0
    (told,) = verdict(data).misfits
    assert "heavier tails than a Normal" in told
    assert "noise='student_t'" in told


def test_the_screen_model_fits_a_screen_and_not_one_with_outliers(screen_fit: xr.DataTree) -> None:
    assert adequacy(screen_fit) == Fits(True, ())
    response = SCREEN.response.copy()
    response[np.random.default_rng(0).choice(SCREEN.num_rows, 8, replace=False)] += 5.0
    data = dataclasses.replace(SCREEN, response=response)
    (told,) = adequacy(cj.fit(data, model="screen", **SETTINGS)).misfits
    assert "heavier tails than a Normal" in told
    assert "single values stray further than its intervals say" in told


def test_noise_that_a_screen_model_has_not_by_level_is_told(screen_fit: xr.DataTree) -> None:
    tree = screen_fit.copy()
    found = json.loads(tree.attrs["adequacy"])
    for spread in found["spread"]:
        spread["departure"] = {"p": 1e-9, "size": 0.2}
    tree.attrs["adequacy"] = json.dumps(found)
    assert adequacy(tree).fits
    tree.attrs["parts"] = json.dumps(json.loads(tree.attrs["parts"]) | {"noise_by": ["gene"]})
    told, way_out = adequacy(tree).misfits
    assert "levels of line differ in their noise" in told
    assert "noise_by=" in way_out


def test_student_t_noise_is_not_looked_at() -> None:
    tree, _ = synthetic_tree()
    assert adequacy(with_heavy_noise(tree, 4.0)) == Fits(None, ())


def test_a_fit_has_both_verdicts() -> None:
    settings = {"num_chains": 2, "num_warmup": 100, "num_draws": 100}
    tree = cj.fit(machines(), priors="scaled", **settings)
    diagnosis = cj.diagnose(tree)
    assert str(diagnosis).splitlines()[1] == "THE MODEL DOES NOT FIT THE DATA, see below."
    assert "Where the model does not fit:" in str(diagnosis)
    told = json.loads(json.dumps(diagnosis.to_dict()))
    assert told["fits"] is False
    assert told["misfits"] == list(diagnosis.misfits)
    found = cj.diagnose(cj.fit(cj.simulate_screen().data, **settings))
    assert found.fits is True
    assert "The model fits" in str(found._replace(converged=True))
    assert "as far as these draws can tell" in str(found._replace(converged=False))
