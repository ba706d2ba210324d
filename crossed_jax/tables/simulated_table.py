"""Synthetic screens as tables, and the files they are written to."""

import os
import re
from pathlib import Path

import numpy as np
import polars as pl

from crossed_jax.errors import InputError
from crossed_jax.files.whole import replacing
from crossed_jax.tables.delimited import DELIMITERS
from crossed_jax.tables.simulate import Simulation


def screen_frame(simulation: Simulation) -> pl.DataFrame:
    """Lay a screen out as a table: gene, cell_line, guide if any, replicate (from 1) and logfc."""
    data = simulation.data
    factors = data.factors if data.nested is None else (*data.factors, data.nested.units)
    first = np.any([np.diff(factor.codes, prepend=-1) != 0 for factor in factors], axis=0)
    starts = np.flatnonzero(first)
    replicate = np.arange(1, data.num_rows + 1, dtype=np.int32)
    replicate -= np.repeat(starts.astype(np.int32), np.diff(starts, append=data.num_rows))
    # Enums take 2 bytes a row instead of 16, and keep the levels' order where rows are missing.
    columns = {
        factor.name: pl.Series(factor.levels, dtype=pl.Enum(factor.levels)).gather(
            pl.Series(factor.codes)
        )
        for factor in factors
    }
    return pl.DataFrame(columns | {"replicate": replicate, data.response_name: data.response})


def require_replaceable(path: str | Path) -> None:
    """Refuse to write over anything but a screen that was simulated.

    Raises
    ------
    InputError
        If there is something else of that name.
    """
    path = Path(path)
    if os.path.lexists(path) and not (path.is_file() and _is_simulated(path)):
        raise InputError(
            f"cannot write {str(path)!r}: what has this name is not a simulated screen; choose "
            "another."
        )


def _is_simulated(path: Path) -> bool:
    """Whether a file is empty or has the columns and, in its first row, the labels of a screen."""
    suffix = path.suffix.lower()
    try:
        if path.stat().st_size == 0:
            return True
        if suffix == ".parquet":
            first = pl.read_parquet(path, n_rows=1)
        else:
            separator = DELIMITERS.get(suffix, ",")
            first = pl.read_csv(path, n_rows=1, separator=separator, infer_schema=False)
        gene, cell_line = first["gene"].item(), first["cell_line"].item()
    except (OSError, ValueError, pl.exceptions.PolarsError):
        return False
    labelled = re.fullmatch(r"gene_\d+", str(gene)) and re.fullmatch(r"line_\d+", str(cell_line))
    columns = [name for name in first.columns if name != "guide"]
    return bool(labelled) and columns == ["gene", "cell_line", "replicate", "logfc"]


def write_table(frame: pl.DataFrame, path: str | Path) -> None:
    """Write a table as .csv, .tsv, .tab or .parquet, whole or not at all.

    Numbers are written so that they read back as the same float64.

    Raises
    ------
    InputError
        If the suffix is another, or the file cannot be written there.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*DELIMITERS, ".parquet"):
        raise InputError(f"cannot write {str(path)!r}: name it .csv, .tsv or .parquet.")
    try:
        with replacing(path) as file:
            if suffix == ".parquet":
                frame.write_parquet(file)
            else:
                frame.write_csv(file, separator=DELIMITERS[suffix])
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        told = re.search(
            r"\(os error (\d+)\)", str(error)
        )  # Polars gives the number in words alone
        number = int(told[1]) if told else getattr(error, "errno", None)
        reason = os.strerror(number) if number else "a name or column that files do not allow"
        raise InputError(
            f"cannot write {str(path)!r} ({reason}): choose a folder that exists and has room."
        ) from None
