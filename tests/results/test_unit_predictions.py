"""Predictions with guides and samples: Normal, given what was seen of their cells."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import xarray as xr
from truth import assert_normal
from unit_screen import EVERY_PART, NUM_GUIDES, TABLE, moments

import crossed_jax as cj
from crossed_jax.errors import InputError

NUMBER = 4000
GENE, LINE, GUIDE, SAMPLE = (factor.codes for factor in TABLE.factors_and_units)
SAMPLE_GIVEN = TABLE.samples.given.codes


@pytest.fixture(scope="module")
def tree(unit_fit: xr.DataTree) -> xr.DataTree:
    """A fit whose only draw, as good as any, is where a chain would start, over and over."""
    fitted = unit_fit.copy()
    draw = unit_fit["posterior"].to_dataset().isel(chain=[0], draw=np.full(NUMBER, 2))
    fitted["posterior"] = xr.DataTree(draw.assign_coords(draw=np.arange(NUMBER)))
    return fitted


def row_of_cells() -> tuple[int, int]:
    """A row of a cell in which one guide was seen and one was not; and one never seen."""
    for row in range(TABLE.num_rows):
        in_cell = (GENE[row] == GENE) & (LINE[row] == LINE)
        if len(np.unique(GUIDE[in_cell])) == 1 and in_cell.sum() == 2:
            break
    seen = set(zip(GENE, LINE, strict=True))
    unseen = next(
        i for i, pair in enumerate((g, c) for g in range(6) for c in range(4)) if pair not in seen
    )
    return row, unseen


def conditioned(
    draw: xr.Dataset, guide: np.ndarray, line: np.ndarray, sample: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same of new rows, given those of their gene that were fitted."""
    own = guide[0] // NUM_GUIDES == GENE
    number = own.sum()
    mean, covariance = moments(
        draw,
        np.concatenate([GUIDE[own], guide]),
        np.concatenate([LINE[own], line]),
        np.concatenate([SAMPLE[own], sample]),
    )
    gain = np.linalg.solve(covariance[:number, :number], covariance[:number, number:])
    given = mean[number:] + (TABLE.response[own] - mean[:number]) @ gain
    return given, covariance[number:, number:] - covariance[number:, :number] @ gain


def test_rows_are_normal_given_what_was_seen(tree: xr.DataTree) -> None:
    """Of a cell with rows of one guide, and of one without; of samples that are new, and not."""
    draw = tree["posterior"].to_dataset().isel(chain=0, draw=0)
    row, unseen = row_of_cells()
    new = len(TABLE.samples.units.levels)
    for gene, line in ((GENE[row], LINE[row]), divmod(unseen, 4)):
        of_line = np.flatnonzero(TABLE.samples.parent_of_unit == line)[0]
        guide = NUM_GUIDES * gene + np.array([0, 0, 1, 1, 1])
        lines = np.full(5, line)
        sample = np.array([of_line, new, new, of_line, new + 1])
        labels = (*TABLE.samples.units.levels, "one more", "another")
        codes = (np.full(5, gene), lines, guide, sample)
        factors = [
            dataclasses.replace(factor, codes=one.astype(np.int32))
            for factor, one in zip(TABLE.factors_and_units, codes, strict=True)
        ]
        samples = dataclasses.replace(factors[3], levels=labels)
        asked = dataclasses.replace(
            TABLE,
            response=np.zeros(5),
            factors=tuple(factors[:2]),
            nested=dataclasses.replace(TABLE.nested, units=factors[2], given=factors[2]),
            samples=dataclasses.replace(TABLE.samples, units=samples, given=samples),
        )
        predicted = cj.posterior_predictive(tree, asked, seed=1)["posterior_predictive"]["logfc"]
        mean, covariance = conditioned(draw, guide, lines, sample)
        assert_normal(predicted.values[0], mean[:5], covariance[:5, :5])

        levels = {"gene": TABLE.factors[0].levels[gene]}
        drawn = cj.interaction_draws(tree, levels, seed=2).values[0, :, 0]
        assert_normal(drawn, mean[5:], covariance[5:, 5:])


def test_a_table_read_otherwise_is_told_how_to_read_it(tree: xr.DataTree) -> None:
    for way, name in (("nested", "guide"), ("samples", "replicate")):
        other = dataclasses.replace(TABLE, **{way: None})
        with pytest.raises(InputError, match=f"read it with {way.rstrip('s')}='{name}'"):
            cj.posterior_predictive(tree, other)


def test_prior_predictive_has_units_of_their_own() -> None:
    """Rows of a guide in a line have a correlation, and so have those of a sample."""
    found = cj.prior_predictive(xr.DataTree(), TABLE, model=EVERY_PART, num_draws=30, seed=1)
    prior = found["prior"]
    assert prior["guide_effect"].sizes["guide"] == 12
    assert prior["replicate_effect"].sizes["replicate"] == len(TABLE.samples.units.levels)
    assert prior["guide_log_noise_sd"].sizes["guide"] == 12
    assert prior["gene_interaction_share"].sizes["gene"] == 6
    assert np.isfinite(found["prior_predictive"]["logfc"]).all()


def test_some_rows_are_predicted_as_all_are(tree: xr.DataTree) -> None:
    """Read anew, with fewer genes than lines, samples keep their lines."""
    frame = pl.DataFrame(
        {factor.name: factor.labels[factor.codes].tolist() for factor in TABLE.factors_and_units}
        | {"replicate": TABLE.samples.given.labels[SAMPLE_GIVEN].tolist(), "logfc": TABLE.response}
    )
    some = frame.filter(pl.col("gene").is_in(["gene_1", "gene_2"]))
    few = cj.read_table(
        some, response="logfc", factors=("gene", "cell_line"), nested="guide", sample="replicate"
    )
    kept = np.isin(GENE, [0, 1])
    anew, taken, whole = (
        cj.posterior_predictive(tree, table)["posterior_predictive"]["logfc"].values[0]
        for table in (few, TABLE.some_rows(np.flatnonzero(kept)), TABLE)
    )
    error = whole[:, kept].std(0) / np.sqrt(NUMBER)
    for predicted in (anew, taken):
        assert (np.abs(predicted.mean(0) - whole[:, kept].mean(0)) < 7.0 * error).all()
        np.testing.assert_allclose(predicted.std(0), whole[:, kept].std(0), rtol=0.1)
