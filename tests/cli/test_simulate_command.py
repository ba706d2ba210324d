"""``crossed-jax simulate``."""

import numpy as np
from command_line import contents, crossed_jax

import crossed_jax as cj


def test_simulate_writes_the_same_bytes_for_the_same_seed(tmp_path):
    for name, seed in (("a.csv", 5), ("b.csv", 5), ("c.csv", 6)):
        assert crossed_jax("simulate", "--seed", seed, "--out", tmp_path / name) == (0, "", "")
    written = contents(tmp_path)
    assert written["a.csv"] == written["b.csv"] != written["c.csv"]


def test_simulate_writes_the_same_screen_in_every_format_over_an_earlier_one(tmp_path):
    screens = []
    for name in ("a.csv", "a.tsv", "a.parquet"):
        options = ("--genes", 4, "--cell-lines", 5, "--replicates", 2, "--out", tmp_path / name)
        assert crossed_jax("simulate", "--genes", 20, *options[2:]).code == 0
        assert crossed_jax("simulate", *options).code == 0
        screens.append(
            cj.read_table(tmp_path / name, response="logfc", factors=("gene", "cell_line"))
        )
    for screen in screens:
        assert [len(factor.levels) for factor in screen.factors] == [4, 5]
        assert screen.num_rows == 40
        np.testing.assert_array_equal(screen.response, screens[0].response)
