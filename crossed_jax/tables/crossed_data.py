"""A table as the models take it: a response, and a code per factor.

A crossed table has one row per measurement: a numeric response and, for each factor, the level that
the row belongs to, kept as its position among the factor's levels.
"""

import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np

from crossed_jax.errors import InputError

# Beyond it the square of a sum of squares, over as many rows as there can be, is no float64.
LARGEST_RESPONSE = 1e70


@dataclass(frozen=True, eq=False)
class Factor:
    """A grouping of the rows.

    Attributes
    ----------
    name
        The column's name.
    levels
        The label of each level.
    codes
        int32, shape (rows,): the position in `levels` of each row's level.
    """

    name: str
    levels: tuple[str, ...]
    codes: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The levels as a coordinate; NumPy's own text would make all as wide as the longest."""
        return np.array(self.levels, dtype=object)


@dataclass(frozen=True, eq=False)
class Nested:
    """A grouping of the rows within the levels of a factor.

    Attributes
    ----------
    units
        The grouping; its labels tell the levels of the factor apart.
    parent
        Position of the factor.
    parent_of_unit
        int32, shape (units,): the level of the factor that each unit belongs to.
    given
        The column as it stands in the table, whose labels may start again with each level.
    """

    units: Factor
    parent: int
    parent_of_unit: np.ndarray
    given: Factor


@dataclass(frozen=True, eq=False, repr=False)
class CrossedData:
    """A response and the factors it is crossed by, free of missing values.

    Attributes
    ----------
    response
        float64, shape (rows,), in the unit of the table.
    response_name
        The response's column.
    factors
        At least two, each with at least two levels and fewer levels than rows.
    num_missing
        Rows of the table that were left out because they have no response.
    notes
        What a reader of the results should know about the reading, in plain sentences.
    source
        The path as given, or None for a data frame.
    sha256
        SHA-256 of the file's bytes in hexadecimal, or None for a data frame.
    nested
        Units within the levels of one of the factors, such as guides of genes; or None.
    guide_column
        A column of the table that names or counts guides, which were not read; or None.
    samples
        Replicates of the levels of the other factor, such as samples of a line, each of which has
        rows of many levels of the first; or None.
    is_matrix
        Whether the table was a matrix, with the levels of the second factor as its columns.
    """

    response: np.ndarray
    response_name: str
    factors: tuple[Factor, ...]
    num_missing: int
    notes: tuple[str, ...]
    source: str | None = None
    sha256: str | None = None
    nested: Nested | None = None
    guide_column: str | None = None
    samples: Nested | None = None
    is_matrix: bool = False

    @property
    def num_rows(self) -> int:
        return len(self.response)

    @property
    def num_levels(self) -> int:
        """Of all factors together."""
        return sum(len(factor.levels) for factor in self.factors)

    def digest(self) -> str:
        """SHA-256 of what is fitted, in hexadecimal: response, codes and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.response, "<f8").tobytes())
        for factor in self.factors_and_units:
            digest.update(json.dumps([factor.name, *factor.levels]).encode())
            digest.update(np.ascontiguousarray(factor.codes, "<i8").tobytes())
        return digest.hexdigest()

    @property
    def factors_and_units(self) -> tuple[Factor, ...]:
        """The factors, and what is nested in them last."""
        return (*self.factors, *(each.units for each in self.units))

    @property
    def units(self) -> tuple[Nested, ...]:
        """What is nested in the factors, as far as anything is."""
        return tuple(each for each in (self.nested, self.samples) if each is not None)

    @property
    def factor_names(self) -> tuple[str, ...]:
        return tuple(factor.name for factor in self.factors)

    def some_rows(self, rows: np.ndarray) -> "CrossedData":
        """Take rows by their positions; levels stay those of the whole table."""

        def of(factor: Factor) -> Factor:
            return replace(factor, codes=factor.codes[rows])

        def of_nested(nested: Nested | None) -> Nested | None:
            if nested is None:
                return None
            return replace(nested, units=of(nested.units), given=of(nested.given))

        return replace(
            self,
            response=self.response[rows],
            factors=tuple(map(of, self.factors)),
            nested=of_nested(self.nested),
            samples=of_nested(self.samples),
        )

    def __repr__(self) -> str:
        factors = ", ".join(f"{factor.name} ({len(factor.levels):,})" for factor in self.factors)
        nested = "".join(
            f", {each.units.name} nested in {self.factors[each.parent].name}" for each in self.units
        )
        return f"CrossedData({self.num_rows:,} rows of {self.response_name} by {factors}{nested})"


def require_table(data: object, taker: str) -> None:
    """Refuse what is not a table that was read."""
    if isinstance(data, CrossedData):
        return
    inner = getattr(data, "data", None)
    way_out = (
        "give its attribute data"
        if isinstance(inner, CrossedData)
        else "give cj.read_table(..., response=..., factors=...)"
    )
    raise InputError(
        f"{taker} takes a table as read_table gives it, not a {type(data).__name__}: {way_out}."
    )
