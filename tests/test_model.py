"""Which model is asked for: what a table can inform, what is refused, what parts are drawn."""

import json
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr
from example_tables import balanced, table
from screen_tables import SCREEN, SETTINGS, in_other_order, simulated, starts_as_draws

import crossed_jax as cj
from crossed_jax.errors import InputError
from crossed_jax.models.distributions import Exponential, LogitNormal, Normal, log_density_of_logit
from crossed_jax.models.model import chosen, resolved
from crossed_jax.models.screen.model_data import screen_data
from crossed_jax.models.screen.parameterization import (
    PARAMETERIZATION,
    OfSDs,
    ScreenPriors,
    log_density,
)
from crossed_jax.models.screen.parts import Parts
from crossed_jax.statistics.cells import cells_of

EVERY = cj.Model(slopes="line", noise_by=("gene", "line"), interaction=True)


def without_replicates(data: cj.CrossedData) -> cj.CrossedData:
    gene, line = (factor.codes for factor in data.factors)
    _, first = np.unique(np.stack([gene, line]), axis=1, return_index=True)
    return table(data.response[first], gene[first], line[first], names=data.factor_names)


TABLES = {
    "screen": SCREEN,
    "no replicates": without_replicates(SCREEN),
    "two lines": simulated(1, 12, 2, 2),
    "two of each": simulated(1, 2, 2, 4),
    "three factors": balanced((4, 3, 3), 2, sds=(1.0, 1.0, 1.0), sigma=0.3),
    "one line": table(np.arange(8.0), np.arange(8) % 4, np.zeros(8, int), names=("gene", "line")),
}


def fit(data: cj.CrossedData = SCREEN, **settings) -> xr.DataTree:
    return cj.fit(data, **(SETTINGS | settings))


@pytest.fixture
def _not_sampled(monkeypatch):
    """Let no time be spent on NUTS where its draws do not matter."""
    monkeypatch.setattr("crossed_jax.fitting.sample", starts_as_draws)


# Refusals

REFUSED = {
    "another name": (
        "screen",
        "hierarchical",
        "unknown model 'hierarchical': choose 'additive' or",
    ),
    "a number": ("screen", 5, "unknown model 5: choose 'additive' or 'screen', or give a Model."),
    "nothing": ("screen", None, "unknown model None: choose"),
    "the class": ("screen", cj.Model, "unknown model <class .*Model'>: choose"),
    "three factors": (
        "three factors",
        "screen",
        "the screen model has two factors, and this table 3: read it with two of them, .*"
        "or fit model='additive'.",
    ),
    "a part with three factors": (
        "three factors",
        cj.Model(noise_by="a"),
        "the screen model has two factors, and this table 3",
    ),
    "a single level": (
        "one line",
        "screen",
        "the screen model needs two levels of each factor, and line has one: fit model='additive'.",
    ),
    "slopes of genes": (
        "screen",
        cj.Model(slopes="gene"),
        "is integrated out: choose slopes='line', in which gene effects then differ in size",
    ),
    "slopes of an unknown factor": (
        "screen",
        cj.Model(slopes="plate"),
        "the model has a part by 'plate': the factors are gene, line.",
    ),
    "noise by an unknown factor": (
        "screen",
        cj.Model(noise_by=("gene", "plate")),
        "the model has a part by 'plate': the factors are gene, line.",
    ),
    "slopes that are a number": ("screen", cj.Model(slopes=3), "the model has a part by 3: "),
    "slopes that are none": ("screen", cj.Model(slopes=""), "the model has a part by '': "),
    "slopes that are a list": ("screen", cj.Model(slopes=["line"]), r"a part by \['line'\]: "),
    "noise by a number": (
        "screen",
        cj.Model(noise_by=5),
        "noise_by is 5: give the name of a factor, or a tuple.",
    ),
    "noise by None": ("screen", cj.Model(noise_by=None), "noise_by is None: give the name"),
    "noise by a number in a tuple": ("screen", cj.Model(noise_by=("line", 5)), "a part by 5: "),
    "interaction of one": (
        "screen",
        cj.Model(interaction=1),
        "interaction is 1: give True or False.",
    ),
    "another noise": ("screen", cj.Model(noise="cauchy"), "unknown noise 'cauchy': choose one of"),
    "student_t noise beside parts": (
        "screen",
        cj.Model(interaction=True, noise="student_t"),
        "student_t noise goes with the additive model alone: leave out the other parts, or choose "
        "noise='normal'",
    ),
    "interaction without replicates": (
        "no replicates",
        cj.Model(interaction=True),
        "the table cannot inform interaction: replicates alone tell it from noise, and no two rows "
        "share all levels; leave that part out.",
    ),
    "slopes of two lines": (
        "two lines",
        cj.Model(slopes="line"),
        "the table cannot inform slopes by line: fewer than 3 levels cannot tell how levels "
        "differ; leave that part out.",
    ),
    "noise by two lines": (
        "two lines",
        cj.Model(noise_by="line"),
        "the table cannot inform noise by line: fewer than 3 levels",
    ),
    "noise by two genes": (
        "two of each",
        cj.Model(noise_by="gene"),
        "the table cannot inform noise by gene: fewer than 3 levels",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_had_is_told_in_a_sentence(name):
    data, model, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as told:
        fit(TABLES[data], model=model)
    assert str(told.value).endswith(".")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("model", ["screen", EVERY])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameterization": "original"}, "cannot be had in the original form: leave out p"),
        ({"parameterization": "sum_to_zero"}, "cannot be had in the sum_to_zero form: leave out"),
        ({"noise": "student_t"}, "the screen model cannot have student_t noise: leave it out"),
        ({"keep_effects": "summary"}, "keeps the draws of its effects in memory: leave out keep_e"),
        ({"stream_to": "draws.nc"}, "keeps the draws of its effects in memory: leave out keep_e"),
        ({"centered": {"gene": True}}, "the collapsed form samples no effects that could be cent"),
    ],
)
def test_settings_that_do_not_go_with_parts_are_told(
    tmp_path, monkeypatch, model, settings, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        fit(model=model, **settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["interaction_share", "interaction", "n", "lfsr", "s_value"])
def test_a_factor_that_needs_a_name_of_the_interactions_is_told(name):
    data = table(SCREEN.response, *(f.codes for f in SCREEN.factors), names=("gene", name))
    with pytest.raises(InputError, match=f"would need the name '{name}' in the results, which bel"):
        fit(data, model="screen")
    resolved(cj.Model(noise_by=name), data)


# What a table cannot inform is left out

SLOPES, LINE_NOISE, GENE_NOISE, INTERACTION = (
    f"The screen model is fitted without {why}"
    for why in (
        "slopes by line: fewer than 3 levels cannot tell how levels differ.",
        "noise by line: fewer than 3 levels cannot tell how levels differ.",
        "noise by gene: fewer than 3 levels cannot tell how levels differ.",
        "interaction: replicates alone tell it from noise, and no two rows share all levels.",
    )
)


@pytest.mark.parametrize(
    ("name", "parts", "notes"),
    [
        ("screen", Parts(), ()),
        ("no replicates", Parts(interaction=False), (INTERACTION,)),
        ("two lines", Parts(slopes=False, line_noise=False), (SLOPES, LINE_NOISE)),
        (
            "two of each",
            Parts(slopes=False, line_noise=False, gene_noise=False),
            (SLOPES, LINE_NOISE, GENE_NOISE),
        ),
    ],
)
def test_the_screen_model_has_the_parts_that_a_table_can_inform(name, parts, notes):
    assert resolved("screen", TABLES[name]) == (parts, notes)


@pytest.mark.usefixtures("_not_sampled")
def test_what_is_left_out_is_kept_with_the_fit_and_told_in_its_verdict():
    tree = fit(TABLES["no replicates"], model="screen", num_draws=4)
    assert INTERACTION in json.loads(tree.attrs["notes"])
    assert INTERACTION in cj.diagnose(tree).warnings
    assert "interactions" not in tree.children
    with pytest.raises(InputError, match="this fit has no interactions: fit a table with replica"):
        cj.interactions(tree)


def test_no_part_at_all_is_the_additive_model():
    assert resolved("additive", SCREEN) == (None, ())
    assert resolved(cj.Model(), SCREEN) == (None, ())
    assert resolved(cj.Model(), TABLES["three factors"]) == (None, ())


@pytest.mark.usefixtures("_not_sampled")
def test_a_model_may_name_the_noise_of_the_additive_one():
    tree = fit(model=cj.Model(noise="student_t"), num_draws=4)
    assert (tree.attrs["model"], tree.attrs["noise"]) == ("additive", "student_t")
    assert "nu" in tree["posterior"]


@pytest.mark.usefixtures("_not_sampled")
def test_the_additive_models_estimate_is_not_made_for_a_screen_model(monkeypatch):
    def estimate(*_):
        raise AssertionError("estimated")

    monkeypatch.setattr("crossed_jax.forms.table.estimate", estimate)
    fit(model="screen", num_draws=4)
    for form in ("collapsed", "sum_to_zero"):
        with pytest.raises(AssertionError, match="estimated"):
            fit(parameterization=form)


def test_noise_by_is_one_name_or_both_in_either_order():
    for given in (("gene", "line"), ("line", "gene"), ["gene", "line"]):
        assert resolved(cj.Model(noise_by=given), SCREEN)[0] == Parts(0, False, True, True, False)
    assert resolved(cj.Model(noise_by="line"), SCREEN)[0] == Parts(0, False, True, False, False)


@pytest.mark.parametrize("has", list(product((True, False), repeat=4)))
@pytest.mark.parametrize("genes", [0, 1])
def test_a_model_says_which_parts_it_has(genes, has):
    data = SCREEN if genes == 0 else in_other_order(SCREEN)
    parts = Parts(genes, *has)
    found, _ = resolved(chosen(parts, data.factor_names), data)
    assert found == (parts if any(has) else None)


# What is drawn

COMMON = {"intercept", "gene_effect", "line_effect", "gene_sd", "line_sd", "sigma"}
OWN = {
    "slopes": {"line_slope", "line_log_slope_sd"},
    "line_noise": {"line_log_noise_sd", "line_log_noise_sd_sd"},
    "gene_noise": {"gene_log_noise_sd", "gene_log_noise_sd_sd"},
    "interaction": {"interaction_share"},
}


@pytest.mark.usefixtures("_not_sampled")
@pytest.mark.parametrize("left_out", [(), ("slopes", "gene_noise"), ("line_noise", "interaction")])
def test_results_have_the_names_of_the_parts(left_out):
    parts = Parts(**dict.fromkeys(left_out, False))
    tree = fit(model=chosen(parts, SCREEN.factor_names))
    expected = COMMON.union(*(OWN[part] for part in OWN if part not in left_out))
    posterior = tree["posterior"].to_dataset()
    assert set(posterior.data_vars) == expected
    for name in expected:
        of_level = name.endswith(("_effect", "_slope", "_log_noise_sd"))
        assert posterior[name].dims[2:] == ((name.split("_")[0],) if of_level else ())
        assert np.isfinite(posterior[name]).all()
    assert ("interactions" in tree.children) == parts.interaction
    assert json.loads(tree.attrs["parts"]) == {
        "integrated_out": "gene",
        "slopes": "line" if parts.slopes else None,
        "noise_by": [f for f in ("gene", "line") if f"{f}_noise" not in left_out],
        "interaction": parts.interaction,
    }


# Priors of one's own

OF_SDS = cj.Priors((Normal(0.0, 5.0),) * 2, (Exponential(1.0),) * 2, Exponential(1.0))


@pytest.mark.usefixtures("_not_sampled")
def test_parts_that_are_given_no_priors_have_those_of_the_model():
    default, given = (fit(model="screen", priors=p) for p in ("post", OF_SDS))
    xr.testing.assert_identical(default["posterior"].to_dataset(), given["posterior"].to_dataset())
    told = [json.loads(tree.attrs["priors"]) | {"name": ""} for tree in (default, given)]
    assert told[0] == told[1]


@pytest.mark.parametrize("high", [True, False])
def test_chains_start_within_the_supports_of_priors(high):
    """Where the estimate lies on either side of all of them."""
    sd = dist.Uniform(3.0, 4.0) if high else dist.Uniform(1e-3, 2e-3)
    share = dist.Uniform(0.9, 0.95) if high else dist.Uniform(0.05, 0.1)
    priors = ScreenPriors(Normal(0.0, 5.0), sd, sd, OfSDs(sd, sd, sd, sd), share)
    _, data = screen_data(SCREEN, cells_of(SCREEN), Parts(), priors)
    assert np.isfinite(jax.jit(log_density)(data.center, data))
    drawn = jax.jit(PARAMETERIZATION.quantities)(data.center, data)
    center = [*jax.tree.leaves(drawn.sds), *(jnp.exp(v.mean()) for v in drawn.lines[1:3])]
    assert all(sd.support(value) for value in center)
    assert share.support(jax.nn.sigmoid(drawn.lines.logit_share))


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (Exponential(1.0), "Exponential, which is not confined to numbers between 0 and 1: give a"),
        (dist.LogNormal(0.0, 1.0), "LogNormal, which is not confined to numbers between 0 and 1"),
        (dist.Uniform(0.0, 2.0), "Uniform, which is not confined to numbers between 0 and 1"),
        (LogitNormal(0.0, 0.0), r"LogitNormal\(0, 0\): give a finite loc and a positive scale"),
        (LogitNormal(np.nan, 1.0), r"LogitNormal\(nan, 1\): give a finite loc"),
        (dist.Normal(0.0, 1.0), "Normal, which is not confined to positive numbers"),
        (0.5, "0.5, not a distribution of numpyro"),
    ],
)
def test_priors_of_the_share_that_make_no_sense_are_told(prior, message):
    with pytest.raises(InputError, match=f"the prior of interaction_share is {message}"):
        fit(model="screen", priors=OF_SDS._replace(others={"interaction_share": prior}))


def test_a_prior_of_a_part_that_is_left_out_is_told():
    with pytest.raises(InputError, match="no prior of 'interaction_share' in this model: it has"):
        fit(
            model=cj.Model(slopes="line"),
            priors=OF_SDS._replace(others={"interaction_share": LogitNormal(0.0, 1.0)}),
        )


def test_a_density_of_a_share_ends_where_its_support_does():
    logits = jnp.array([-3.0, 0.0, 3.0])
    found = jax.jit(jax.vmap(partial(log_density_of_logit, dist.Uniform(0.2, 0.8))))(logits)
    np.testing.assert_allclose(found, [-np.inf, np.log(0.25 / 0.6), -np.inf])
    value = jax.nn.sigmoid(logits)
    expected = dist.Beta(2.0, 3.0).log_prob(value) + jnp.log(value * (1.0 - value))
    found = jax.jit(jax.vmap(partial(log_density_of_logit, dist.Beta(2.0, 3.0))))(logits)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
