"""What a checkpoint is bound to: table, settings, priors, and what computes."""

import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import transforms
from runs import DATA, SETTINGS, fit

import crossed_jax as cj
from crossed_jax import fitting
from crossed_jax.errors import InputError
from crossed_jax.models.distributions import Exponential
from crossed_jax.models.priors import Priors, describe_priors, exact_priors
from crossed_jax.models.spelling import spell
from crossed_jax.sampling import chunks as sampler
from crossed_jax.sampling import identity


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 3}, "its seed is 0, and not 3"),
        ({"num_chains": 3}, "its num_chains is 2, and not 3"),
        ({"priors": "scaled"}, "its priors gene_mean is"),
        ({"parameterization": "sum_to_zero"}, 'its parameterization is "original", and not'),
        ({"target_accept": 0.9}, "its target_accept is 0.8, and not 0.9"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(checkpoint, change, message):
    with pytest.raises(InputError, match=message):
        fit(checkpoint, **change)


def test_a_checkpoint_of_another_table_is_refused(checkpoint):
    other = cj.simulate_screen(seed=1).data
    with pytest.raises(InputError, match="of another run: its table is"):
        cj.fit(other, checkpoint=checkpoint, **SETTINGS)


def prior_on_sds(sd):
    return Priors((dist.Normal(0.0, 5.0),) * 2, (sd,) * 2, dist.Exponential(1.0))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (dist.HalfNormal(1.0), dist.HalfNormal(1.0 + 1e-15)),
        (dist.HalfNormal(0.1), dist.HalfNormal(np.float32(0.1))),
        (dist.Exponential(1.0), Exponential(1.0)),
        (
            dist.FoldedDistribution(dist.Normal(0.0, 1.0)),
            dist.FoldedDistribution(dist.Normal(0.0, 3.0)),
        ),
        (dist.TruncatedNormal(0.0, 1.0, low=0.0), dist.TruncatedNormal(0.0, 3.0, low=0.0)),
        (
            dist.TransformedDistribution(dist.Normal(0.0, 1.0), transforms.ExpTransform()),
            dist.TransformedDistribution(dist.Normal(0.0, 3.0), transforms.ExpTransform()),
        ),
    ],
)
def test_priors_that_differ_in_anything_are_told_apart(one, other):
    first, again, second = (exact_priors(prior_on_sds(sd), DATA) for sd in (one, one, other))
    assert first == again
    assert first["gene_sd"] != second["gene_sd"]


def test_what_a_prior_computes_on_use_is_no_part_of_it():
    prior = dist.TruncatedNormal(0.0, 1.0, low=0.0)
    before = spell(prior, exactly=True)
    prior.log_prob(1.0)
    assert spell(prior, exactly=True) == before


def test_a_prior_of_unknown_code_is_refused_with_a_checkpoint(tmp_path):
    class Own(dist.HalfNormal):
        pass

    own = prior_on_sds(Own(1.0))
    assert describe_priors(own, DATA, "custom")["sigma"] == "Exponential(rate=1.0)"
    with pytest.raises(InputError, match="prior of gene_sd cannot be kept in a checkpoint, as a O"):
        fit(tmp_path / "run", priors=own, num_draws=4)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("code", "another"), ("device", "another"), ("settings", {"jax_enable_x64": False})],
)
def test_what_computes_is_a_part_of_what_a_run_is(checkpoint, monkeypatch, name, value):
    held = fitting.computing()
    assert "xarray" not in held["versions"]
    monkeypatch.setattr(fitting, "computing", lambda: held | {name: value})
    with pytest.raises(InputError, match=f"of another run: its {name}"):
        fit(checkpoint, num_draws=4)


def test_code_is_told_without_its_comments_and_docstrings():
    written = '"""A module."""\ndef f(x):\n    """Double."""\n    return 2 * x  # twice\n'
    assert identity._code(written) == identity._code("def f(x):\n    return (2 * x)")
    assert identity._code(written) != identity._code(written.replace("2 *", "3 *"))


def test_a_run_that_drew_nothing_binds_to_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise InputError("the log-density is not a number")

    with monkeypatch.context() as patched:
        patched.setattr(sampler, "_check_start", refuse)
        with pytest.raises(InputError, match="not a number"):
            fit(tmp_path, seed=1)
    fit(tmp_path, num_draws=4)
