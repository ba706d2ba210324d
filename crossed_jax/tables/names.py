"""The names under which results are kept: one list, so that no two of them can be the same.

Posterior, priors, moments and the table's own columns are groups of one tree, whose dimensions the
factors name. What belongs to a factor is called by its name and a suffix; since those suffixes are
columns' names as well (`gene`, `gene_n`), each name may have a single owner.
"""

from typing import Literal, get_args

from crossed_jax.errors import InputError, shown

type FactorQuantity = Literal[
    "effect",
    "slope",
    "log_noise_sd",
    "sd",
    "log_slope_sd",
    "log_noise_sd_sd",
    "interaction_share",
    "logit_share_sd",
    "mean",
    "intercept",
    "code",
    "n",
    "raw_mean",
    "effect_mean",
    "effect_sd",
    "effect_quantile",
]

_OF_ROWS_AND_DRAWS = ("chain", "draw", "row")
_OF_THE_MODEL = ("intercept", "sigma", "lp", "probability", *_OF_ROWS_AND_DRAWS)


def of_factor(factor: str, quantity: FactorQuantity) -> str:
    """Name a quantity of a factor, or of its levels."""
    return f"{factor}_{quantity}"


def factor_quantities() -> tuple[FactorQuantity, ...]:
    """All that :func:`of_factor` has a name for, in the order of the results."""
    return get_args(FactorQuantity.__value__)


def is_storable(name: str) -> bool:
    """Whether a file can hold what has this name, and a reader see it."""
    return bool(name.strip()) and name.isprintable() and "/" not in name and name != "."


def check_names(
    response: str, factors: tuple[str, ...], of_the_model: tuple[str, ...] = ()
) -> None:
    """Refuse names of columns under which the results could not be kept apart.

    Raises
    ------
    InputError
        For a column that is asked for twice, a name that a file cannot hold, and a factor that
        needs a name which belongs to another, or to the model.
    """
    for name in (response, *factors):
        if name in factors and (name == response or factors.count(name) > 1):
            raise InputError(
                f"column {shown(name)} is asked for twice: "
                "the response, the factors, what is nested and samples must be different columns."
            )
        if not is_storable(name):
            raise InputError(
                f"column name {shown(name)} cannot be stored in the results (it is blank, or has "
                "a slash or a control character): rename the column."
            )
    if response in _OF_ROWS_AND_DRAWS:
        raise InputError(
            f"the response cannot be called {response!r}, which the results use for their own "
            "dimensions: rename the column."
        )
    owners = dict.fromkeys((*_OF_THE_MODEL, *of_the_model), "the model itself")
    for name in factors:
        for result in (name, *(of_factor(name, quantity) for quantity in factor_quantities())):
            if result in owners:
                raise InputError(
                    f"factor {shown(name)} would need the name {shown(result)} in the results, "
                    f"which belongs to {owners[result]}: rename the column."
                )
            owners[result] = f"factor {shown(name)}"
