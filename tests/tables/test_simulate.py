"""Synthetic screens: their layout, their truth, and settings that are refused."""

import math

import numpy as np
import pytest

from crossed_jax.cli.main import app
from crossed_jax.errors import InputError
from crossed_jax.tables.screen_settings import replicate_range
from crossed_jax.tables.simulate import simulate_screen
from crossed_jax.tables.simulated_table import screen_frame


def test_defaults_are_the_screen_of_the_post():
    data, truth = simulate_screen()
    assert data.num_rows == 90
    assert data.response_name == "logfc"
    assert [(factor.name, len(factor.levels)) for factor in data.factors] == [
        ("gene", 3),
        ("cell_line", 10),
    ]
    assert (truth["gene_mean"], truth["cell_line_mean"]) == (-1.0, 0.0)
    assert (truth["gene_sd"], truth["cell_line_sd"], truth["sigma"]) == (0.5, 0.5, 0.05)


def test_labels_are_padded_to_equal_width():
    gene, cell_line = simulate_screen(num_genes=100, num_cell_lines=9).data.factors
    assert (gene.levels[0], gene.levels[-1]) == ("gene_001", "gene_100")
    assert (cell_line.levels[0], cell_line.levels[-1]) == ("line_1", "line_9")


def test_truth_is_that_of_the_response():
    data, truth = simulate_screen(num_genes=5, noise_sd=0.0, seed=3)
    gene, cell_line = data.factors
    expected = truth["gene_intercept"][gene.codes] + truth["cell_line_intercept"][cell_line.codes]
    np.testing.assert_allclose(data.response, expected, rtol=1e-15)


def test_effects_sum_to_zero_and_make_up_the_intercepts():
    _, truth = simulate_screen(num_genes=7, seed=1)
    for factor in ("gene", "cell_line"):
        assert truth[f"{factor}_effect"].sum() == pytest.approx(0, abs=1e-14)
    total = truth["intercept"] + truth["gene_effect"][:, None] + truth["cell_line_effect"]
    np.testing.assert_allclose(
        total, truth["gene_intercept"][:, None] + truth["cell_line_intercept"], atol=1e-14
    )


def test_sample_moments_approach_the_truth():
    data, truth = simulate_screen(
        num_genes=4000, num_cell_lines=40, num_replicates=1, gene_mean=2, gene_sd=0.3, noise_sd=0.7
    )
    gene, cell_line = data.factors
    assert truth["gene_intercept"].mean() == pytest.approx(2, abs=4 * 0.3 / math.sqrt(4000))
    assert truth["gene_intercept"].std() == pytest.approx(0.3, rel=4 / math.sqrt(8000))
    residual = (
        data.response
        - truth["gene_intercept"][gene.codes]
        - truth["cell_line_intercept"][cell_line.codes]
    )
    assert residual.std() == pytest.approx(0.7, rel=4 / math.sqrt(2 * 160_000))


PARTS = {
    "slope_sd": 0.5,
    "noise_sd_by_gene_sd": 0.3,
    "noise_sd_by_line_sd": 0.4,
    "interaction_share": 0.6,
}


def test_moments_of_an_uneven_screen_approach_the_truth():
    data, truth = simulate_screen(
        num_genes=2000, num_cell_lines=200, num_replicates=2, noise_sd=0.7, seed=1, **PARTS
    )
    gene, line = (factor.codes for factor in data.factors)
    for name, sd, size in (("cell_line_log_noise_sd", 0.4, 200), ("gene_log_noise_sd", 0.3, 2000)):
        assert truth[f"{name}_sd"] == sd
        assert truth[name].std(ddof=1) == pytest.approx(sd, rel=4 / math.sqrt(2 * size))
    assert truth["cell_line_log_noise_sd"].sum() == pytest.approx(0, abs=1e-12)
    log_slope = np.log(truth["cell_line_slope"])
    assert log_slope.sum() == pytest.approx(0, abs=1e-12)
    assert truth["cell_line_log_slope_sd"] == 0.5
    assert log_slope.std(ddof=1) == pytest.approx(0.5, rel=4 / math.sqrt(400))

    expected = (
        truth["intercept"]
        + truth["cell_line_effect"][line]
        + truth["cell_line_slope"][line] * truth["gene_effect"][gene]
    )
    log_sd = truth["cell_line_log_noise_sd"][line] + truth["gene_log_noise_sd"][gene]
    z = ((data.response - expected) / (truth["sigma"] * np.exp(log_sd))).reshape(-1, 2)
    assert z.mean() == pytest.approx(0, abs=4 * math.sqrt(0.8 / len(z)))
    # two replicates of unit variance that share 0.6 of it
    assert (z**2).mean() == pytest.approx(1, abs=4 * math.sqrt((1 + 0.6**2) / len(z)))
    assert z.prod(axis=1).mean() == pytest.approx(0.6, abs=4 * math.sqrt(1.36 / len(z)))
    rest = (data.response - expected - truth["interaction"][gene, line]).reshape(-1, 2)
    cell_sd = truth["sigma"] * np.exp(log_sd.reshape(-1, 2)[:, 0])
    correlation = (rest.prod(axis=1) / (0.4 * cell_sd**2)).mean()
    assert correlation == pytest.approx(0, abs=4 / math.sqrt(len(z)))
    # nor do slopes, noise and effects go together
    pairs = np.corrcoef([log_slope, truth["cell_line_log_noise_sd"], truth["cell_line_intercept"]])
    assert np.abs(pairs - np.eye(3)).max() < 4 / math.sqrt(200)


def test_a_part_leaves_the_rest_of_the_truth_alone():
    even = simulate_screen(num_genes=20, seed=4).truth
    alone = {name: simulate_screen(num_genes=20, seed=4, **{name: PARTS[name]}) for name in PARTS}
    all_parts = simulate_screen(num_genes=20, seed=4, **PARTS).truth
    for simulation in alone.values():
        added = simulation.truth.keys() - even.keys() - {"interaction"}
        assert added
        for name in added:
            np.testing.assert_array_equal(simulation.truth[name], all_parts[name])
    for name in even.keys() - {"intercept", "cell_line_effect"}:  # which slopes are part of
        np.testing.assert_array_equal(all_parts[name], even[name])
    assert all_parts.keys() == even.keys() | {
        "cell_line_slope",
        "cell_line_log_slope_sd",
        "cell_line_log_noise_sd",
        "cell_line_log_noise_sd_sd",
        "gene_log_noise_sd",
        "gene_log_noise_sd_sd",
        "interaction_share",
        "interaction",
    }


def test_guides_leave_the_rest_of_the_truth_alone():
    settings = {"num_genes": 20, "seed": 4, **PARTS}
    plain = simulate_screen(**settings).truth
    guides = simulate_screen(**settings, num_guides=3, guide_sd=0.2, nested_share=0.3).truth
    assert guides.keys() - plain.keys() == {"guide_effect", "guide_sd", "nested_share"}
    for name, values in plain.items():
        np.testing.assert_array_equal(guides[name], values)


def test_moments_of_guides_approach_the_truth():
    share, nested, num_genes = 0.3, 0.4, 400
    simulation = simulate_screen(
        num_genes=num_genes,
        num_cell_lines=20,
        num_replicates=2,
        noise_sd=0.4,
        slope_sd=0.3,
        interaction_share=share,
        logit_share_sd=0.9,
        num_guides=3,
        guide_sd=0.25,
        noise_sd_by_guide_sd=0.3,
        nested_share=nested,
        seed=9,
    )
    data, truth = simulation.data, simulation.truth
    shape = (num_genes, 3, 20, 2)
    assert data.num_rows == np.prod(shape)
    np.testing.assert_array_equal(
        data.nested.parent_of_unit[data.nested.units.codes], data.factors[0].codes
    )
    effect = truth["gene_effect"][:, None] + truth["guide_effect"].reshape(-1, 3)
    expected = truth["intercept"] + truth["cell_line_effect"]
    expected = expected + truth["cell_line_slope"] * effect[..., None]
    rest = (
        data.response.reshape(shape) - expected[..., None] - truth["interaction"][:, None, :, None]
    )
    assert np.std(truth["guide_effect"]) == pytest.approx(0.25, rel=4 / np.sqrt(2 * 1200))
    logit = np.log(truth["gene_interaction_share"] / (1 - truth["gene_interaction_share"]))
    assert logit.mean() == pytest.approx(np.log(share / (1 - share)), abs=4 * 0.9 / 20)
    assert logit.std() == pytest.approx(0.9, rel=4 / np.sqrt(800))
    # what is left of a gene's variance, and what rows of a guide in a line have in common of it
    rest /= 0.4 * np.sqrt(1.0 - truth["gene_interaction_share"])[:, None, None, None]
    assert np.std(truth["guide_log_noise_sd"]) == pytest.approx(0.3, rel=4 / np.sqrt(2 * 1200))
    rest /= np.exp(truth["guide_log_noise_sd"]).reshape(*shape[:2], 1, 1)
    assert (rest**2).mean() == pytest.approx(1.0, abs=4 * np.sqrt(3 / (rest.size / 2)))
    common = (rest[..., 0] * rest[..., 1]).mean()
    assert common == pytest.approx(nested, abs=4 * np.sqrt(2 / (rest.size / 2)))
    of_others = (rest[:, 0, :, 0] * rest[:, 1, :, 0]).mean()
    assert abs(of_others) < 4 * np.sqrt(1 / (num_genes * 20))


def test_the_screen_of_a_seed_is_what_it_has_been():
    data, truth = simulate_screen(num_genes=4, num_cell_lines=3, num_replicates=2, seed=3)
    # these numbers were drawn before screens had slopes, noise by level and interactions
    np.testing.assert_array_equal(
        data.response[[0, 11, 23]], [-0.21746170424484115, -3.2399376450827284, -2.3382008647956196]
    )
    assert truth["intercept"] == -1.5310908477243041


def test_same_seed_same_screen_and_another_seed_another():
    first, again, other = (simulate_screen(seed=seed).data.response for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def rows_per_cell(data):
    gene, cell_line = data.factors
    rows = np.zeros((len(gene.levels), len(cell_line.levels)), int)
    np.add.at(rows, (gene.codes, cell_line.codes), 1)
    return rows


def test_each_line_draws_its_number_of_replicates():
    rows = rows_per_cell(simulate_screen(num_cell_lines=60, num_replicates=(1, 4)).data)
    assert (rows == rows[0]).all()
    assert set(rows[0]) == {1, 2, 3, 4}


def test_missing_is_a_fraction_of_combinations():
    rows = rows_per_cell(simulate_screen(num_genes=200, num_cell_lines=50, missing=0.3).data)
    assert np.count_nonzero(rows == 0) == 3000
    assert set(rows[rows > 0]) == {3}
    # neither factor decides what is missing: binomial counts, well within five SDs of their mean
    for axis, size in ((0, 200), (1, 50)):
        missed = np.count_nonzero(rows == 0, axis=axis)
        assert abs(missed - 0.3 * size).max() < 5 * math.sqrt(size * 0.3 * 0.7)
        assert missed.std() > 0


@pytest.mark.parametrize("shape", [(3, 40), (40, 3), (12, 12)])
def test_every_level_keeps_a_combination(shape):
    data = simulate_screen(num_genes=shape[0], num_cell_lines=shape[1], missing=0.97).data
    rows = rows_per_cell(data)
    assert rows.any(axis=0).all()
    assert rows.any(axis=1).all()


def test_truth_does_not_depend_on_the_layout():
    whole = simulate_screen(num_genes=20, seed=4)
    again = simulate_screen(num_genes=20, seed=4, num_replicates=(3, 3))
    np.testing.assert_array_equal(again.data.response, whole.data.response)
    partial = simulate_screen(num_genes=20, seed=4, num_replicates=(1, 5), missing=0.2)
    for name, value in whole.truth.items():
        np.testing.assert_array_equal(partial.truth[name], value)


def test_the_command_line_takes_every_setting(tmp_path):
    path = tmp_path / "screen.csv"
    options = {
        "genes": 6,
        "cell-lines": 7,
        "replicates": "2-4",
        "missing": 0.25,
        "gene-mean": -2.0,
        "cell-line-mean": 0.5,
        "gene-sd": 0.1,
        "cell-line-sd": 0.2,
        "noise-sd": 0.3,
        "slope-sd": 0.4,
        "noise-sd-by-gene-sd": 0.5,
        "noise-sd-by-line-sd": 0.6,
        "interaction-share": 0.7,
        "guides": 2,
        "guide-sd": 0.15,
        "noise-sd-by-guide-sd": 0.25,
        "nested-share": 0.35,
        "logit-share-sd": 0.8,
        "seed": 8,
    }
    arguments = [str(text) for name, value in options.items() for text in (f"--{name}", value)]
    app(["simulate", *arguments, "--out", str(path)], standalone_mode=False)
    expected = simulate_screen(
        num_genes=6,
        num_cell_lines=7,
        num_replicates=(2, 4),
        missing=0.25,
        gene_mean=-2.0,
        cell_line_mean=0.5,
        gene_sd=0.1,
        cell_line_sd=0.2,
        noise_sd=0.3,
        slope_sd=0.4,
        noise_sd_by_gene_sd=0.5,
        noise_sd_by_line_sd=0.6,
        interaction_share=0.7,
        num_guides=2,
        guide_sd=0.15,
        noise_sd_by_guide_sd=0.25,
        nested_share=0.35,
        logit_share_sd=0.8,
        seed=8,
    )
    assert path.read_text() == screen_frame(expected).write_csv()


@pytest.mark.parametrize(("text", "wanted"), [("2", (2, 2)), ("1-4", (1, 4)), (" 10 ", (10, 10))])
def test_replicates_are_a_number_or_a_range(text, wanted):
    assert replicate_range(text) == wanted


@pytest.mark.parametrize("text", ["", "two", "-1", "1-", "1-2-3", "1.5", "٣", "1" * 10, "1\n2"])
def test_other_replicates_are_refused(text):
    with pytest.raises(InputError, match="give a whole number, or a range such as 1-4") as error:
        replicate_range(text)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ({"num_genes": 1}, "number of genes is 1: give a whole number, 2 or more"),
        ({"num_genes": 3.0}, "number of genes is 3.0"),
        ({"num_cell_lines": 0}, "number of cell lines is 0"),
        ({"num_cell_lines": True}, "number of cell lines is True"),
        ({"num_replicates": 0}, "number of replicates is 0: give a whole number, 1 or more"),
        ({"num_replicates": (0, 2)}, "number of replicates is 0"),
        ({"num_replicates": (3, 2)}, "most replicates of a line is 2: give a whole number, 3 or"),
        ({"missing": -0.1}, "missing fraction is -0.1: give 0 or more, and less than 1"),
        ({"missing": 1}, "missing fraction is 1"),
        ({"missing": math.nan}, "missing fraction is nan"),
        ({"missing": 0.99, "num_replicates": 1}, "leaves 10 rows, no more than the levels"),
        ({"num_genes": 10**6, "num_cell_lines": 10**6}, "too large"),
        ({"gene_sd": -0.1}, "gene SD is -0.1"),
        ({"cell_line_sd": math.inf}, "cell-line SD is inf"),
        ({"noise_sd": math.nan}, "noise SD is nan"),
        ({"gene_mean": math.nan}, "gene mean is nan"),
        ({"cell_line_mean": -math.inf}, "cell-line mean is -inf"),
        ({"slope_sd": -0.1}, "slope SD is -0.1, of logarithms: give 0 to 10"),
        ({"noise_sd_by_gene_sd": 11}, "SD of noise SDs by gene is 11.0"),
        ({"noise_sd_by_line_sd": math.nan}, "SD of noise SDs by line is nan"),
        ({"interaction_share": 1}, "interaction share is 1.0: give 0 or more, and less than 1"),
        ({"num_guides": -1}, "number of guides is -1: give a whole number, 0 or more"),
        ({"num_guides": 2, "guide_sd": -1}, "guide SD is -1.0"),
        ({"num_guides": 2, "nested_share": 1}, "nested share is 1.0"),
        ({"interaction_share": 0.1, "logit_share_sd": -1}, "SD of logit shares is -1.0"),
        ({"guide_sd": 0.1}, "there are no guides that could differ: ask for a number of guides"),
        ({"logit_share_sd": 0.1}, "there is no interaction whose shares could differ"),
        ({"seed": -1}, "seed is -1: give a whole number, 0 or more"),
        ({"gene_sd": 0, "cell_line_sd": 0, "noise_sd": 0}, "all SDs are zero"),
    ],
)
def test_bad_setting_is_told(setting, wanted):
    with pytest.raises(InputError, match=wanted.replace(".", r"\.")):
        simulate_screen(**setting)


def test_zero_noise_is_allowed():
    assert simulate_screen(noise_sd=0).truth["sigma"] == 0.0


def test_samples_add_to_all_their_rows():
    settings = {"num_genes": 6, "num_cell_lines": 4, "num_replicates": (1, 3), "seed": 5}
    plain, moved = (simulate_screen(**settings, sample_sd=sd) for sd in (0.0, 0.5))
    assert plain.data.samples is None
    samples = moved.data.samples
    assert moved.truth.keys() - plain.truth.keys() == {"replicate_effect", "replicate_sd"}
    effect = moved.truth["replicate_effect"]
    np.testing.assert_allclose(
        moved.data.response - plain.data.response, effect[samples.units.codes], atol=1e-14
    )
    assert samples.units.levels[0] == "line_1 1"
    lines = moved.data.factors[1].codes
    np.testing.assert_array_equal(samples.parent_of_unit[samples.units.codes], lines)
    many = simulate_screen(num_genes=2, num_cell_lines=300, num_replicates=4, sample_sd=0.3)
    error = 4 / np.sqrt(2 * 1200)
    assert np.std(many.truth["replicate_effect"]) == pytest.approx(0.3, rel=error)
