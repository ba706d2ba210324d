"""Names of columns that the results cannot be kept under."""

import pytest
from reading import SMALL, assert_told, read, write

from crossed_jax.errors import InputError

BAD_NAMES = {
    "one factor": ("y", ("gene",), ["at least two factors, got 1"]),
    "no factor": ("y", (), ["at least two factors, got 0"]),
    "factors in one string": ("y", "gene,cell", ["list of column names"]),
    "no factors at all": ("y", None, ["list of column names"]),
    "a number for factors": ("y", 5, ["list of column names"]),
    "factors without order": ("y", {"gene", "cell"}, ["list of column names"]),
    "no response": (None, ("gene", "cell"), ["must be a column name"]),
    "several responses": (["y"], ("gene", "cell"), ["must be a column name"]),
    "response among factors": ("gene", ("gene", "cell"), ["'gene' is asked for twice"]),
    "factor twice": ("y", ("gene", "cell", "gene"), ["'gene' is asked for twice"]),
    "blank factor": ("y", (" ", "cell"), ["' '", "rename"]),
    "slash in factor": ("y", ("gene/guide", "cell"), ["'gene/guide'", "slash"]),
    "slash in response": ("a/b", ("gene", "cell"), ["'a/b'", "slash"]),
    "dot": ("y", (".", "cell"), ["'.'", "rename"]),
    "control character": ("y", ("gene\n", "cell"), [r"'gene\n'", "control character"]),
    "response called row": ("row", ("gene", "cell"), ["'row'", "rename"]),
    "effect of another factor": (
        "y",
        ("gene", "gene_effect"),
        ["'gene_effect'", "factor 'gene'", "rename"],
    ),
    "effect before its factor": ("y", ("gene_sd", "gene"), ["'gene_sd'", "rename"]),
    "count of another factor": ("y", ("gene", "gene_n"), ["'gene_n'", "factor 'gene'", "rename"]),
    "raw mean of another factor": ("y", ("gene_raw_mean", "gene"), ["'gene_raw_mean'", "rename"]),
    **{
        f"factor called {name}": ("y", (name, "cell"), [f"factor '{name}'", "the model itself"])
        for name in ("intercept", "sigma", "chain", "draw", "row", "lp", "probability")
    },
}


@pytest.mark.parametrize(
    ("response", "factors", "wanted"), BAD_NAMES.values(), ids=BAD_NAMES.keys()
)
def test_bad_names(tmp_path, response, factors, wanted):
    path = write(tmp_path, SMALL)
    with pytest.raises(InputError) as error:
        read(path, response, factors)
    assert_told(error, *wanted)
