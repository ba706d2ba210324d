"""What is chosen by name: the one list of each, against the parts that go by these names."""

from typing import get_args

from crossed_jax.models.noise import NOISES
from crossed_jax.models.terms import TERMS
from crossed_jax.types import NoiseName, ParameterizationName


def test_every_parameterization_and_noise_has_its_part():
    assert {"auto", "collapsed", *TERMS} == set(get_args(ParameterizationName))
    assert set(NOISES) == set(get_args(NoiseName))
