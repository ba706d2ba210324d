"""The arithmetic of the screen model's benchmarks, on tables whose answers are known."""

import math

import numpy as np
import polars as pl
import pytest
import xarray as xr
from scipy import stats

import crossed_jax as cj
from benchmarks.screen import (
    agreement,
    cross_library,
    genome,
    nutpie_rows,
    prediction,
    recovery,
)
from benchmarks.screen.held_out import score, split_cells, split_samples

PARTS = {
    "slope_sd": 0.4,
    "noise_sd_by_gene_sd": 0.4,
    "noise_sd_by_line_sd": 0.3,
    "interaction_share": 0.5,
}


def fake_tree(values):
    """Make a tree of draws, shape (chains, draws) or (chains, draws, levels) each."""
    variables = {
        name: (("chain", "draw", f"{name}_level")[: value.ndim], value)
        for name, value in values.items()
    }
    return xr.DataTree.from_dict({"posterior": xr.Dataset(variables)})


def fake_draws(rng, num_draws=3):
    """Draw parameters of a screen of 5 genes and 4 lines."""
    shape = (1, num_draws)
    return {
        "intercept": rng.normal(size=shape),
        "gene_effect": rng.normal(size=(*shape, 5)),
        "cell_line_effect": rng.normal(size=(*shape, 4)),
        "gene_sd": rng.gamma(3.0, size=shape),
        "cell_line_sd": rng.gamma(3.0, size=shape),
        "sigma": rng.gamma(9.0, 0.1, size=shape),
        "cell_line_slope": np.exp(rng.normal(0.0, 0.5, size=(*shape, 4))),
        "cell_line_log_noise_sd": rng.normal(0.0, 0.5, size=(*shape, 4)),
        "gene_log_noise_sd": rng.normal(0.0, 0.5, size=(*shape, 5)),
        "interaction_share": rng.uniform(0.2, 0.8, size=shape),
    }


def ragged_table(rng):
    cells = np.repeat(np.arange(20), rng.integers(0, 4, 20))
    cells = np.concatenate([cells, [0, 6, 12, 18, 4, 9]])  # every level
    rng.shuffle(cells)
    return frame(cells // 4, cells % 4, rng.normal(size=len(cells)))


def frame(gene, line, lfc):
    return pl.DataFrame(
        {
            "gene": [f"g{code}" for code in gene],
            "cell_line": [f"l{code}" for code in line],
            "lfc": lfc,
        }
    )


def test_prediction_is_the_conditional_of_a_dense_normal():
    rng = np.random.default_rng(0)
    train = ragged_table(rng)
    data = prediction.crossed(train)
    order = {f.name: [int(level[1:]) for level in f.levels] for f in data.factors}
    held = frame(*np.divmod(np.arange(20), 4), rng.normal(size=20))
    values = fake_draws(rng)
    in_order = {
        n: v[..., order["gene" if n.startswith("gene") else "cell_line"]] if v.ndim == 3 else v
        for n, v in values.items()
    }
    found = prediction.predict(prediction.draws_of(fake_tree(in_order)), train, held)

    rows = pl.concat([train, held])
    gene, line = (rows[c].str.tail(1).cast(int).to_numpy() for c in ("gene", "cell_line"))
    y, n = rows["lfc"].to_numpy(), len(train)
    densities, places = np.zeros(20), np.zeros(20)
    for draw in range(3):
        at = {name: value[0, draw] for name, value in values.items()}
        mean = at["intercept"] + at["cell_line_effect"][line]
        mean += at["cell_line_slope"][line] * at["gene_effect"][gene]
        sd = at["sigma"] * np.exp(
            at["cell_line_log_noise_sd"][line] + at["gene_log_noise_sd"][gene]
        )
        same = (gene[:, None] == gene) & (line[:, None] == line)
        share = at["interaction_share"]
        covariance = (share * same + (1 - share) * np.eye(len(rows))) * sd[:, None] * sd
        weights = np.linalg.solve(covariance[:n, :n], covariance[:n, n:]).T
        location = mean[n:] + weights @ (y - mean)[:n]
        variance = np.diag(covariance)[n:] - (weights * covariance[n:, :n]).sum(1)
        densities += stats.norm.pdf(y[n:], location, np.sqrt(variance)) / 3
        places += stats.norm.cdf(y[n:], location, np.sqrt(variance)) / 3
    np.testing.assert_allclose(found.log_density, np.log(densities), rtol=1e-10)
    np.testing.assert_allclose(found.place, places, rtol=1e-10)


def test_parts_left_out_are_slopes_of_one_equal_noise_and_no_interaction(monkeypatch):
    rng = np.random.default_rng(1)
    train, held = ragged_table(rng), ragged_table(rng)
    parts = ("cell_line_slope", "cell_line_log_noise_sd", "gene_log_noise_sd", "interaction_share")
    values = fake_draws(rng)
    neutral = {name: np.full_like(values[name], float("slope" in name)) for name in parts}
    with_parts = prediction.predict(prediction.draws_of(fake_tree(values | neutral)), train, held)
    for name in parts:
        values.pop(name)
    monkeypatch.setattr(prediction, "BLOCK_BYTES", 8 * 3 * 4)  # four values at a time
    without = prediction.predict(prediction.draws_of(fake_tree(values)), train, held)
    for found, expected in zip(without, with_parts, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_slopes_may_be_the_genes():
    rng = np.random.default_rng(2)
    values = fake_draws(rng)
    renamed = {"gene": "cell_line", "cell_line": "gene"}

    def other(name):
        factor = next((f for f in renamed if name.startswith(f)), None)
        return name.replace(factor, renamed[factor], 1) if factor else name

    mirrored = fake_tree({other(name): value for name, value in values.items()})
    train, held = ragged_table(rng), ragged_table(rng)
    found = prediction.predict(
        prediction.draws_of(mirrored), train.rename(renamed), held.rename(renamed)
    )
    expected = prediction.predict(prediction.draws_of(fake_tree(values)), train, held)
    np.testing.assert_array_equal(found.log_density, expected.log_density)


def screen():
    """Simulate a screen of 150 genes, 12 lines and 3 replicates, and give its truth."""
    data, truth = cj.simulate_screen(
        num_genes=150, num_cell_lines=12, num_replicates=3, noise_sd=0.5, seed=0, **PARTS
    )
    labels = {f.name: np.array(f.levels)[f.codes] for f in data.factors}
    table = pl.DataFrame({**labels, "lfc": data.response})
    replicate = pl.int_range(pl.len()).over("gene", "cell_line").cast(pl.String)
    table = table.with_columns(replicate=replicate)
    return table.with_columns(sample=pl.col("cell_line") + "-" + pl.col("replicate")), truth


def test_the_truth_covers_at_its_nominal_rate_and_gains_over_the_additive_model():
    table, truth = screen()
    train, held = split_samples(table)
    assert len(held) == 150 * 12
    assert (
        held.group_by("cell_line").agg(pl.col("sample").n_unique())["sample"].to_list() == [1] * 12
    )
    names = [n for n in truth if n.startswith(("gene", "cell_line"))]
    known = {n: np.asarray(truth[n])[None, None] for n in (*names, "intercept", "sigma")}
    known["interaction_share"] = np.full((1, 1), truth["interaction_share"])
    known = {n: v for n, v in known.items() if not n.endswith(("_mean", "_intercept"))}
    whole = prediction.predict(prediction.draws_of(fake_tree(known)), train, held)
    even = cj.fit(prediction.crossed(train), num_chains=2, num_draws=100, seed=1)
    additive = prediction.predict(prediction.draws_of(even), train, held)
    found = score(whole, additive, held)
    assert found["gain"] > 0.2
    assert found["gain"] > 5 * found["standard_error"] > 0
    for level, covered in zip((0.5, 0.9, 0.99), found["coverage"], strict=True):
        assert covered == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 1800))
    assert stats.kstest(whole.place, "uniform").pvalue > 1e-3


def test_a_tenth_of_the_cells_is_held_out():
    table, _ = screen()
    train, held = split_cells(table)
    assert len(train) + len(held) == len(table)
    assert len(held) == pytest.approx(0.1 * len(table), rel=0.1)


def test_numpyro_samples_the_screen_model():
    """Its density in its coordinates is the model's as it is written down, but for a constant."""
    import jax
    import jax.numpy as jnp
    from numpyro.infer.util import log_density

    from benchmarks.screen import numpyro_rows

    rng = np.random.default_rng(3)
    data = prediction.crossed(ragged_table(rng))
    gene, line = (factor.codes for factor in data.factors)
    cells, cell = np.unique(gene * 4 + line, return_inverse=True)
    table = {"gene": gene, "line": line, "response": data.response, "cell": cell}
    table |= {"cell_gene": cells // 4, "cell_line": cells % 4}

    def zero_sum(size):
        values = rng.normal(size=size)
        return values - values.mean()

    @jax.jit
    def density(at):
        return log_density(numpyro_rows.model, (jax.tree.map(jnp.asarray, table), 5, 4), {}, at)[0]

    gaps = []
    for _ in range(4):
        names = ("gene_sd", "cell_line_sd", "sigma", "cell_line_log_slope_sd")
        names += ("cell_line_log_noise_sd_sd", "gene_log_noise_sd_sd")
        at = {name: rng.gamma(4.0, 0.2) for name in names}
        at |= {name: zero_sum(4) for name in ("b_scaled", "log_k_scaled", "d_scaled")}
        at |= {"gene_effect": zero_sum(5), "a_mean": rng.normal(), "intercept": rng.normal()}
        at |= {"e_standard": rng.normal(size=5), "z": rng.normal(size=len(cells))}
        at["logit_share"] = rng.normal()
        theirs = density(at)
        gaps.append(float(theirs) - as_written(at, data.response, gene, line, cells, cell))
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-9)


def as_written(at, y, gene, line, cells, cell):
    """Log joint density of rows and parameters, with the Jacobians to NumPyro's coordinates."""
    normal = stats.norm.logpdf
    names = ("gene_sd", "cell_line_sd", "sigma", "cell_line_log_slope_sd")
    names += ("cell_line_log_noise_sd_sd", "gene_log_noise_sd_sd")
    total = -sum(at[name] for name in names)
    a = at["gene_effect"] + at["a_mean"]
    log_k = at["log_k_scaled"] * at["cell_line_log_slope_sd"] ** 0.5
    d = at["d_scaled"] * at["cell_line_log_noise_sd_sd"] ** 0.5
    b_zero_sum = at["b_scaled"] * at["cell_line_sd"] ** 0.5
    scales = [at["cell_line_log_slope_sd"], at["cell_line_log_noise_sd_sd"], at["cell_line_sd"]]
    total += 1.5 * np.log(scales).sum()  # three free numbers in each of three vectors of four
    k = np.exp(log_k)
    e = at["e_standard"] * at["gene_log_noise_sd_sd"]
    total += 5 * np.log(at["gene_log_noise_sd_sd"])
    of_lines = at["intercept"] + b_zero_sum - k.mean() * at["a_mean"]  # m + b
    total += normal(a, 0.0, at["gene_sd"]).sum() + normal(e, 0.0, at["gene_log_noise_sd_sd"]).sum()
    covariance = 50.0 + at["cell_line_sd"] ** 2 * np.eye(4)
    total += stats.multivariate_normal.logpdf(of_lines, np.zeros(4), covariance)
    basis = np.linalg.qr(np.eye(4) - 0.25)[0][:, :3]
    for vector, sd in ((log_k, scales[0]), (d, scales[1])):
        total += normal(basis.T @ vector, 0.0, sd).sum()
    total += normal(at["logit_share"], 0.0, 1.5)
    share = 1.0 / (1.0 + np.exp(-at["logit_share"]))
    cell_sd = at["sigma"] * np.exp(d[cells % 4] + e[cells // 4])
    gamma = np.sqrt(share) * cell_sd * at["z"]
    total += normal(gamma, 0.0, np.sqrt(share) * cell_sd).sum()
    total += np.log(np.sqrt(share) * cell_sd).sum()
    mean = of_lines[line] + k[line] * a[gene] + gamma[cell]
    return total + normal(y, mean, np.sqrt(1.0 - share) * cell_sd[cell]).sum()


def test_agreement_finds_what_agrees_and_what_does_not(monkeypatch):
    rng = np.random.default_rng(4)
    data = prediction.crossed(ragged_table(rng))
    num_cells = len(np.unique(data.factors[0].codes * 4 + data.factors[1].codes))

    def draws(shift):
        drawn = fake_draws(rng, 4000)
        drawn = {n: v.reshape(4, 1000, *v.shape[2:]) for n, v in drawn.items()}
        drawn["intercept"] = drawn["intercept"] + shift
        return drawn

    gamma = rng.normal(rng.normal(size=num_cells), 1.0, size=(4, 1000, num_cells))
    kept = agreement.moments(draws(0.0) | {"interaction": gamma}, data)
    cells = kept.filter(pl.col("quantity") == "interaction")
    below = stats.norm.cdf(0.0, cells["mean"], 1.0)
    cells = cells.select("gene", "cell_line", "mean", sd=pl.lit(1.0)).with_columns(
        lfsr=pl.Series(np.minimum(below, 1.0 - below))
    )
    monkeypatch.setattr(cj, "interactions", lambda tree: cells)

    def compared(shift):
        tree = fake_tree(draws(shift))
        tree["sample_stats"] = xr.Dataset({"diverging": ("draw", [False])})
        tree.attrs["interaction_error"] = '{"mean": 0.0, "lfsr": 0.0}'
        return agreement.compare(tree, data, kept)

    right = compared(0.0)
    assert right["quantities"] == 1 + 5 + 4 + 1 + 1 + 1 + 4 + 4 + 5 + 1
    assert right["largest_z_mean"] < 4
    assert right["largest_z_variance"] < 4.5
    assert right["interactions"]["cells"] == num_cells
    assert right["interactions"]["largest_z_mean"] < 4
    assert right["interactions"]["largest_sd_gap"] < 0.06
    assert right["interactions"]["largest_lfsr_gap"] < 0.03
    wrong = compared(0.3)
    assert wrong["largest_z_mean"] > 8
    assert wrong["largest_z_mean_of"] == "intercept"


def test_moderated_variances_recover_the_prior_that_they_were_drawn_from():
    rng = np.random.default_rng(5)
    variance = 0.3 * 6.0 / rng.chisquare(6.0, 50_000)
    seen = variance * rng.chisquare(2.0, 50_000) / 2.0
    found = cross_library.moderate(seen, np.full(50_000, 2.0))
    assert found.freedom[0] == pytest.approx(8.0, rel=0.1)
    assert (1.0 / found.value).mean() == pytest.approx((1.0 / variance).mean(), rel=0.02)
    alike = cross_library.moderate(rng.chisquare(50.0, 1000) / 50.0, np.full(1000, 50.0))
    assert alike.freedom[0] > 200


def test_residuals_about_slopes_are_the_noise():
    table, truth = screen()
    cells = table.group_by("gene", "cell_line", maintain_order=True).agg(pl.col("lfc").mean())
    found = cross_library.slope_residuals(cells, "gene", "lfc")
    gene, line = np.divmod(np.arange(len(cells)), 12)
    expected = truth["intercept"] + truth["cell_line_effect"][line]
    expected = expected + truth["cell_line_slope"][line] * truth["gene_effect"][gene]
    noise = cells["lfc"].to_numpy() - expected
    assert np.corrcoef(found["rest"], noise)[0, 1] > 0.9
    assert found["rest"].std() < noise.std()


def test_intervals_cover_draws_of_their_own_distribution():
    rng = np.random.default_rng(6)
    draws, truth = rng.normal(size=(2, 400, 5000)), rng.normal(size=5000)
    np.testing.assert_allclose(recovery.covered(draws, truth), recovery.INTERVALS, atol=0.03)
    assert recovery.covered(draws + 9.0, truth) == [0.0, 0.0, 0.0]
    assert recovery.covered(rng.normal(size=(2, 400)), 0.0) == [1.0, 1.0, 1.0]


def test_a_sampler_that_has_not_converged_is_told():
    rng = np.random.default_rng(7)
    how = {"compile_seconds": np.array(3.0), "seconds": np.array(50.0)}
    how |= {"num_steps": np.full((2, 500), 7), "diverging": np.zeros((2, 500), bool)}
    level = {"gene_effect": rng.normal(size=(2, 500, 3))}
    settings = {"chains": 2, "draws": 1000}
    right = nutpie_rows.score(how | level | {"sigma": rng.normal(size=(2, 500))}, settings)
    assert right["converged"]
    assert right["draws"] == 500
    assert 700 < right["min_ess_bulk"] < 1300
    assert right["min_ess_per_second"] == right["min_ess_bulk"] / 50.0
    wrong = nutpie_rows.score(
        how | level | {"sigma": rng.normal([[0.0], [1.0]], size=(2, 500))}, settings
    )
    assert not wrong["converged"]
    assert wrong["min_ess_bulk_at"] == "sigma"


def test_costs_are_measured_of_each_size_and_drawn(monkeypatch, tmp_path):
    monkeypatch.setattr(genome, "SIZES", ((40, 5), (60, 6)))
    monkeypatch.setattr(genome, "REPEATS", 1)
    monkeypatch.setattr(genome, "MOST_FITTED", 0)
    monkeypatch.setattr(genome, "FIGURE", tmp_path / "figure.png")
    sizes = genome.genome()["sizes"]
    assert [each["rows"] for each in sizes] == [genome.simulated(*s).num_rows for s in genome.SIZES]
    assert all(each["one_chain"] > 0.0 for each in sizes)
    assert genome.FIGURE.exists()


def test_a_run_tells_what_it_did(monkeypatch):
    monkeypatch.setattr(genome, "SIZES", ((40, 5),))
    monkeypatch.setattr(genome, "RUN_WARMUP", 20)
    monkeypatch.setattr(genome, "RUN_DRAWS", 10)
    found = genome.genome_run()
    assert found["leapfrog_steps_per_draw"] >= 1.0
    assert found["peak_gb"]["simulate"] <= found["peak_gb"]["sample"]
