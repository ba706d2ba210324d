"""``--prior``: read and never evaluated, refused in one line, and kept with the run."""

import json

import pytest
from command_line import GOOD, assert_refused, contents, crossed_jax, fit

BAD = {
    "no equals sign": ("gene_sd", ["'gene_sd' is no prior", "gene_sd=HalfNormal(2)"]),
    "no name": ("=HalfNormal(2)", ["is no prior"]),
    "no distribution": ("gene_sd=", ["no distribution after the equals sign"]),
    "a number": ("gene_sd=2", ["no distribution after the equals sign"]),
    "not called": ("gene_sd=HalfNormal", ["no distribution after the equals sign"]),
    "a method": ("gene_sd=os.system('ls')", ["no distribution after the equals sign"]),
    "not closed": ("gene_sd=HalfNormal(2", ["no distribution after the equals sign"]),
    "two": ("gene_sd=HalfNormal(2);1", ["no distribution after the equals sign"]),
    "unpacked": ("gene_sd=HalfNormal(**{'scale': 2})", ["no distribution after"]),
    "huge": ("gene_sd=" + "(" * 5000, ["no distribution after the equals sign"]),
    "null character": ("gene_sd=Half\0", ["no distribution after the equals sign"]),
    "unknown": ("gene_sd=HalfNorml(2)", ["unknown distribution, 'HalfNorml'", "HalfNormal, Exp"]),
    "dangerous": ("gene_sd=eval('1')", ["unknown distribution, 'eval'", "choose one of"]),
    "too few": ("gene_sd=Gamma(2)", ["other parameters than Gamma", "Gamma(concentration, rate)"]),
    "too many": ("gene_sd=HalfNormal(2, 3)", ["give it as HalfNormal(scale)"]),
    "unknown parameter": ("gene_sd=HalfNormal(sd=2)", ["give it as HalfNormal(scale)"]),
    "given twice": ("gene_sd=HalfNormal(2, scale=2)", ["give it as HalfNormal(scale)"]),
    "text": ("gene_sd=HalfNormal('2')", ["a scale that is not a number"]),
    "a truth": ("gene_sd=HalfNormal(True)", ["a scale that is not a number"]),
    "a sum": ("gene_sd=HalfNormal(1 + 1)", ["a scale that is not a number"]),
    "a call within": ("gene_sd=HalfNormal(f(2))", ["a scale that is not a number"]),
    "unpacked numbers": ("gene_sd=HalfNormal(*[2])", ["a scale that is not a number"]),
}


@pytest.mark.parametrize(("text", "wanted"), BAD.values(), ids=BAD)
def test_what_is_no_prior_is_told(folder, text, wanted):
    before = contents(folder)
    assert_refused(fit("good.csv", "out", "--prior", text), "--prior ", *wanted)
    assert contents(folder) == before


REFUSED = {
    "name": ("gen_sd=HalfNormal(2)", ["'gen_sd' in this model", "gene_mean", "gene_sd", "sigma"]),
    "part": ("interaction_share=Beta(2, 2)", ["no prior of 'interaction_share'"]),
    "mean": ("gene_mean=HalfNormal(2)", ["prior of gene_mean", "must be Normal"]),
    "negative": ("gene_sd=HalfNormal(-2)", ["prior of gene_sd is HalfNormal(-2)"]),
    "infinite": ("gene_sd=HalfNormal(1e999)", ["has a scale that is not a number"]),
    "NumPyro's": ("gene_sd=HalfCauchy(-1)", ["HalfCauchy(-1) has parameters that HalfCauchy"]),
    "support": ("gene_sd=Uniform(-1, 5)", ["not confined to positive numbers"]),
    "empty": ("gene_sd=Uniform(5, 1)", ["prior of gene_sd is Uniform"]),
}


@pytest.mark.parametrize(("text", "wanted"), REFUSED.values(), ids=REFUSED)
def test_a_prior_that_makes_no_sense_is_told(folder, text, wanted):
    (folder / "more.csv").write_text(GOOD + "B,w,0.7\nB,x,-2.1\nA,w,2.2\n")
    assert_refused(fit("more.csv", "out", "--prior", text), *wanted)


def test_two_priors_of_the_same_are_told(folder):
    twice = ("--prior", "sigma=HalfNormal(1)", "--prior", "sigma = Gamma(rate=1, concentration=2)")
    assert_refused(fit("good.csv", "out", *twice), "twice for 'sigma'")


def test_priors_are_kept_with_the_run(tmp_path):
    crossed_jax("simulate", "--out", tmp_path / "screen.csv")
    options = ("--chains", 2, "--warmup", 300, "--draws", 100, "--no-figures", "--quiet")
    priors = ("--priors", "scaled", "--prior", "gene_sd=Uniform(0, 5)")
    more = ("--prior", "gene_mean=Normal(scale=4, loc=-1)", "--checkpoint", tmp_path / "run")
    fit(tmp_path / "screen.csv", tmp_path / "out", *options, *priors, *more)
    told = json.loads((tmp_path / "out" / "run.json").read_text())["priors"]
    assert (told["name"], told["base"]) == ("custom", "scaled")
    assert told["factor_means"]["gene"] == {"loc": -1.0, "scale": 4.0}
    assert told["factor_sds"]["gene"] == "Uniform(low=0.0, high=5.0)"
    assert told["factor_sds"]["cell_line"].startswith("Exponential(rate=")
    assert crossed_jax("resume", tmp_path / "run", "--extend", 20, "--quiet").code in (0, 3)
    extended = json.loads((tmp_path / "out" / "run.json").read_text())
    assert extended["priors"] == told
    assert extended["num_draws"] == 120
