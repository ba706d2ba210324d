import json
import math

import numpy as np
import pytest
from edited_tree import edit, put
from synthetic_tree import synthetic_tree

from crossed_jax.results.verdict import diagnose


@pytest.mark.parametrize(("divergent", "trusted"), [(0, True), (1, True), (2, False)])
def test_a_divergence_is_a_warning_and_more_than_one_in_a_thousand_a_reason(divergent, trusted):
    tree, _ = synthetic_tree()
    edit(tree, "sample_stats", "diverging", put((0, slice(divergent)), True))
    diagnosis = diagnose(tree)
    assert diagnosis.divergences == divergent
    assert diagnosis.converged is trusted
    said = diagnosis.warnings if trusted else diagnosis.reasons
    assert sum("diverged" in sentence for sentence in said) == (divergent > 0)


@pytest.mark.parametrize("rate", [None, 0.8, 0.95, 0.99])
def test_a_higher_acceptance_rate_is_advised_where_there_is_room(rate):
    tree, _ = synthetic_tree()
    edit(tree, "sample_stats", "diverging", put((0, slice(5)), True))
    if rate is not None:
        tree.attrs["target_accept"] = json.dumps(rate)
    (reason,) = diagnose(tree).reasons
    room = rate is None or rate < 0.95
    assert ("Raise target_accept." in reason) is room
    assert (f"target_accept is {rate}: warm up for longer" in reason) is not room


@pytest.mark.parametrize(("hits", "trusted"), [(10, True), (11, False)])
def test_more_than_one_draw_in_a_hundred_at_the_maximum_tree_depth_is_a_reason(hits, trusted):
    tree, _ = synthetic_tree()
    edit(tree, "sample_stats", "reached_max_treedepth", put((0, slice(hits)), True))
    diagnosis = diagnose(tree)
    assert diagnosis.max_tree_depth_hits == hits
    assert diagnosis.converged is trusted


def test_a_slowly_wandering_energy_is_a_reason():
    tree, _ = synthetic_tree()
    edit(tree, "sample_stats", "energy", lambda v: np.sort(v, axis=1))
    diagnosis = diagnose(tree)
    assert diagnosis.min_bfmi < 0.3
    assert any("E-BFMI" in reason for reason in diagnosis.reasons)


def test_a_chain_whose_energy_stands_still_is_left_out_of_bfmi():
    tree, _ = synthetic_tree()
    edit(tree, "sample_stats", "energy", put(1, 3.0))
    assert diagnose(tree).min_bfmi == pytest.approx(2, abs=0.5)
    edit(tree, "sample_stats", "energy", put(slice(None), 3.0))
    assert math.isnan(diagnose(tree).min_bfmi)


@pytest.mark.parametrize(("funnels", "trusted"), [([], True), (["gene_sd"], False)])
def test_a_single_divergence_by_a_funnel_is_a_reason(funnels, trusted):
    tree, _ = synthetic_tree()
    tree.attrs["funnels"] = json.dumps(funnels)
    edit(tree, "sample_stats", "diverging", put((0, 0), True))
    assert diagnose(tree).converged is trusted


def test_a_fit_without_sampler_statistics_is_judged_by_its_draws():
    tree, _ = synthetic_tree(parameterization="collapsed")
    del tree["sample_stats"]
    diagnosis = diagnose(tree)
    assert diagnosis.converged
    assert math.isnan(diagnosis.min_bfmi)
    assert diagnosis.to_dict()["min_bfmi"] is None
