"""``crossed-jax report``, and the report that ``fit`` writes in passing."""

import tempfile
from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossed_jax.cli.figures import NotDrawn, write_figures
from crossed_jax.cli.flags import in_flags
from crossed_jax.cli.messages import one_line, say
from crossed_jax.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from crossed_jax.results.tables import Tables
    from crossed_jax.results.verdict import Diagnosis

REPORT, POSTERIOR, FIGURES, HITS = "report.html", "posterior.nc", "figures", "hits.csv"
PNG = b"\x89PNG\r\n\x1a\n"


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
        ours = {name for path in held if (name := path.removeprefix(f"{FIGURES}/")) != path}
        pictures = _pictures(directory / FIGURES, ours)
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
    left_out: NotDrawn,
    tables: "Tables",
) -> NotDrawn:
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


def _pictures(folder: Path, ours: Container[str] | None = None) -> dict[str, bytes]:
    """Read the figures in a folder, by name: files that are PNG, if given of these names alone."""
    paths = (path for path in sorted(folder.glob("*.png")) if ours is None or path.name in ours)
    files = {path.stem: path.read_bytes() for path in paths if _is_plain(path)}
    return {name: data for name, data in files.items() if data.startswith(PNG)}


def _is_plain(path: Path) -> bool:
    """Whether it is a file, and no link to one elsewhere."""
    return path.is_file() and not path.is_symlink()


def _draw(tree: "xr.DataTree", there: Mapping[str, bytes], folder: Path) -> NotDrawn:
    """Draw all figures into a folder, unless a fit has drawn them; say which are left out."""
    from crossed_jax.results.plots.writing import figures_of
    from crossed_jax.results.tree import table_of

    if {*figures_of(tree), "posterior_predictive"} <= there.keys():
        return {}
    not_drawn = write_figures(tree, table_of(tree), folder)
    return {name: why for name, why in not_drawn.items() if name not in there}


def _tables(tree: "xr.DataTree", directory: Path) -> "Tables":
    """Make the tables, but read the hits as written, which has what guides say of each."""
    import polars as pl
    import polars.selectors as cs

    from crossed_jax.results.tables import tables_of

    tables, path = tables_of(tree), directory / HITS
    if tables.hits is None or not path.is_file():
        return tables
    kinds = tables.hits.schema  # what else there is, guides have said, as text or numbers of them
    try:
        hits = pl.read_csv(path, infer_schema=False)
        known = [pl.col(name).cast(kind) for name, kind in kinds.items()]
        hits = hits.select(*known, cs.exclude(*kinds))
        numbers = cs.ends_with("_seen", "_agreeing") - cs.by_name(*kinds)
        return tables._replace(hits=hits.with_columns(numbers.cast(pl.Int64)))
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{str(path)!r} cannot be read ({one_line(error)}): fit again.") from None
