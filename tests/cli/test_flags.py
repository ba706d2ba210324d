"""The library's arguments in messages become flags, and nothing of a user's is touched."""

from inspect import signature

import pytest
from command_line import assert_refused, fit

import crossed_jax as cj
from crossed_jax.cli.fit import fit as command
from crossed_jax.cli.flags import FLAGS, in_flags

TOLD = {
    "error: fit with parameterization='sum_to_zero'.": (
        "error: fit with --parameterization sum_to_zero."
    ),
    "parameterization='sum_to_zero' samples all": "--parameterization sum_to_zero samples all",
    "priors='scaled' puts the same priors on": "--priors scaled puts the same priors on",
    "cut off. Raise target_accept. The data": "cut off. Raise --target-accept. The data",
    "leave out keep_effects='summary'.": "leave out --keep-effects summary.",
    "stream them to a file (stream_to=), or": "stream them to a file (--stream), or",
    "a directory that is new or empty with out=.": "a directory that is new or empty with --out.",
    "another directory with out=, such as 'a'": "another directory with --out, such as 'a'",
    "the directory given as checkpoint=.": "the directory given as --checkpoint.",
    "its num_chains is 2, and not 3": "its --chains is 2, and not 3",
    "ask for num_draws=2000 and num_warmup=500.": "ask for --draws 2000 and --warmup 500.",
    "read the table with nested='sgRNA id'.": "read the table with --nested 'sgRNA id'.",
    "choose chain_method='sequential', seed=1": "choose --chain-method sequential, --seed 1",
}
LEFT = [
    "its parameterization is 'original'; the priors, the checkpoint and the seed are left out",
    "the maximum is max_tree_depth=12",
    "data.csv has no column 'num_draws': did you mean 'target_accept'?",
    "factor \"it's keep_effects='draws'\" is missing in row 3",
    r"level 'a\' target_accept' of the posterior's 'seed=1'",
    "R-hat is 1.2 at gene_effect[target_accept], and at target_accept_effect[priors='scaled']",
    "target_accept.csv, data/num_draws and num_draws/screen.csv are empty",
    "there is no option --factors=: see --help",
]


@pytest.mark.parametrize(("message", "told"), TOLD.items())
def test_arguments_are_told_as_flags(message, told):
    assert in_flags(message) == told


@pytest.mark.parametrize("message", LEFT)
def test_all_else_is_told_as_it_is(message):
    assert in_flags(message) == message


def test_these_are_arguments_and_flags():
    flags = {f"--{name.replace('_', '-')}" for name in signature(command).parameters}
    assert set(FLAGS.values()) <= flags
    arguments = {*signature(cj.fit).parameters, *signature(cj.read_table).parameters, "out"}
    assert set(FLAGS) <= {*arguments, *cj.Model._fields}


def test_a_refusal_by_the_library_names_flags(folder):
    options = ("--keep-effects", "summary", "--parameterization", "sum_to_zero")
    assert_refused(fit("good.csv", "out", *options), "leave out --keep-effects")
