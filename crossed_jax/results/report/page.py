"""The page itself: the contents of a report, set in its template."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from crossed_jax.models.model import parts_of
from crossed_jax.results.report import contents
from crossed_jax.results.report.lines import lines_shown
from crossed_jax.results.tables import Tables, tables_of
from crossed_jax.results.tree import factor_names, require_fit

if TYPE_CHECKING:
    import xarray as xr

FOLDER = Path(__file__).parent
LONGEST_LABEL = 60
LONGEST_TITLE = 500


def report(
    tree: xr.DataTree,
    pictures: Mapping[str, bytes] | None = None,
    left_out: Mapping[str, str] | None = None,
    tables: Tables | None = None,
) -> str:
    """Write the report of a fit as a page of HTML that holds all it shows.

    Parameters
    ----------
    tree
        A fit.
    pictures
        Its figures as PNG files, by the names of :func:`crossed_jax.results.plots.save_figures`;
        those that are not there are left out.
    left_out
        Why, by name, some of them are not there.
    tables
        What `tables_of` gave for this tree, if it was called already; its hits may have beside
        them what units say of each.

    Returns
    -------
    str
        The page. It asks nothing of the network, and runs no script but its own.

    Raises
    ------
    InputError
        If `tree` is not a fit of crossed factors.
    """
    require_fit(tree, "report")
    tables = tables_of(tree) if tables is None else tables
    parts = parts_of(tree.attrs, factor_names(tree))
    script = (FOLDER / "sort.js").read_text(encoding="utf-8")
    told = {
        "response": tree.attrs["response"],
        "factors": factor_names(tree),
        "num_rows": contents.rows_of(tree),
        "fitted": contents.fitted(tree),
        "verdicts": contents.verdicts(tables.diagnosis),
        "warnings": tables.diagnosis.warnings,
        "numbers": contents.numbers_of(tables.diagnosis),
        "components": contents.components(tables.components),
        "effects": contents.effects_by_factor(tables.effects),
        "hits": None if tables.hits is None else contents.hits_shown(tables.hits, tree),
        "lines": lines_shown(tree),
        "parameters": contents.parameters_shown(tables.parameters),
        "pooled": tree.attrs["parameterization"] != "design_matrix",
        "samples_ridge": tree.attrs["parameterization"] == "original",
        "guides": parts is not None and parts.nested is not None,
        "has_slopes": parts is not None and parts.slopes,
        "pictures": {name: _inline(png) for name, png in (pictures or {}).items()},
        "left_out": dict(left_out or {}),
        "style": (FOLDER / "page.css").read_text(encoding="utf-8"),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "bar_width": contents.BAR_WIDTH,
    }
    return _set(told)


def _set(told: Mapping[str, Any]) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"line": _line, "short": _short, "long": _long}
    page = environment.from_string((FOLDER / "page.html").read_text(encoding="utf-8")).render(told)
    return page.encode(errors="replace").decode()  # half a character, which no file can hold


def _inline(png: bytes) -> dict[str, Any]:
    """Give a picture as what stands for it in the page, and its size, which its header tells."""
    width, height = (int.from_bytes(png[place : place + 4], "big") for place in (16, 20))
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return {"source": source, "width": width, "height": height}


def _line(value: object) -> str:
    """Put what a user named on one line, without characters that are no text."""
    return "".join(c if c.isprintable() or ord(c) >= 0xA0 else " " for c in str(value))


def _short(value: object) -> str:
    text = _line(value)
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"


def _long(value: object) -> str:
    return _line(value)[:LONGEST_TITLE]
