"""``crossed-jax report``, and the report that ``fit`` writes in passing."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossed_jax.cli.figures import LeftOut, write_figures
from crossed_jax.cli.flags import in_flags
from crossed_jax.cli.messages import one_line, say
from crossed_jax.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from crossed_jax.results.tables import Tables
    from crossed_jax.results.verdict import Diagnosis

REPORT, POSTERIOR, FIGURES, HITS = "report.html", "posterior.nc", "figures", "hits.csv"


def report(
    directory: Annotated[Path, typer.Argument(help="What fit was given as --out.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only problems.")] = False,
) -> None:
    """Write the report of a finished fit, report.html, into the directory of its results."""
    from crossed_jax.files.marker import is_marked, listed, mark
    from crossed_jax.files.whole import write_whole

    tree = _open_fit(directory)
    held = listed(directory)
    target = directory / REPORT
    if not is_marked(directory, "results") or (target.exists() and REPORT not in held):
        raise InputError(
            f"cannot write {str(target)!r}: it, or its directory, is not of a fit as it was "
            "written; fit again, or take away what is in its place."
        )
    with tree, tempfile.TemporaryDirectory() as aside:
        pictures = _pictures(directory / FIGURES)
        left_out = {name: one_line(why) for name, why in _draw(tree, pictures, Path(aside)).items()}
        pictures = _pictures(Path(aside)) | pictures
        page = page_of(tree, pictures, left_out, _tables(tree, directory))
    # listed first: what is listed may be missing, and what is there must not be unlisted
    mark(directory, "results", {*held, REPORT})
    write_whole(target, page.encode())
    if not quiet:
        say(f"The report is {target}.")


def write_report(
    tree: "xr.DataTree",
    folder: Path,
    left_out: LeftOut,
    tables: "Tables",
) -> LeftOut:
    """Write the report of a fit beside its figures; if it fails, say so beside what else did."""
    told = {name: one_line(why) for name, why in left_out.items()}
    try:
        page = page_of(tree, _pictures(folder / FIGURES), told, tables)
        (folder / REPORT).write_text(page, encoding="utf-8")
    except Exception as error:  # whatever it is, a report is not worth the fit
        return {**left_out, "report": error}
    return left_out


def page_of(
    tree: "xr.DataTree",
    pictures: Mapping[str, bytes],
    left_out: Mapping[str, str],
    tables: "Tables",
) -> str:
    """Write the page, in which the verdict names the flags of this command line."""
    from crossed_jax.results.report import report as write

    in_flags = tables._replace(diagnosis=with_flags(tables.diagnosis))
    return write(tree, pictures, left_out, in_flags)


def with_flags(diagnosis: "Diagnosis") -> "Diagnosis":
    """Name flags in the sentences of a verdict."""
    reasons, misfits, warnings = (
        tuple(map(in_flags, sentences))
        for sentences in (diagnosis.reasons, diagnosis.misfits, diagnosis.warnings)
    )
    return diagnosis._replace(reasons=reasons, misfits=misfits, warnings=warnings)


def _open_fit(directory: Path) -> "xr.DataTree":
    """Open the posterior of a finished fit, and refuse what is none."""
    path = directory / POSTERIOR
    if not path.is_file():
        raise InputError(
            f"{str(directory)!r} holds no finished fit, as there is no {POSTERIOR} in it: name a "
            "directory that fit has written."
        )
    from crossed_jax.results.draws_file import open_draws
    from crossed_jax.results.tree import require_fit

    try:
        tree = open_draws(path)
    except Exception as error:  # what HDF5 and xarray raise of a damaged file is of many kinds
        raise InputError(f"{str(path)!r} cannot be read ({one_line(error)}): fit again.") from None
    require_fit(tree, "report")
    return tree


def _pictures(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def _draw(tree: "xr.DataTree", there: Mapping[str, bytes], folder: Path) -> LeftOut:
    """Draw all figures into a folder, unless a fit has drawn them; say which are left out."""
    if there:
        return {}
    from crossed_jax.results.tree import table_of

    return write_figures(tree, table_of(tree), folder)


def _tables(tree: "xr.DataTree", directory: Path) -> "Tables":
    """Make the tables, but read the hits as written, which has what guides say of each."""
    import polars as pl

    from crossed_jax.results.tables import tables_of
    from crossed_jax.results.tree import factor_names

    tables, path = tables_of(tree), directory / HITS
    if tables.hits is None or not path.is_file():
        return tables
    labels = dict.fromkeys(factor_names(tree), pl.String)
    return tables._replace(hits=pl.read_csv(path, schema_overrides=labels))
