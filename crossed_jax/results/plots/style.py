"""What all figures have in common: colours, markers, sizes, and labels fit to print.

Colours are those of Okabe and Ito (2008, Color Universal Design), which readers with any colour
vision tell apart. Level labels are printed as they are, never read as TeX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, GREY = "#E69F00", "#56B4E9", "#777777"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000")
MARKERS = "os^DvP*X<>ph"

MAX_LABELLED_LEVELS = 40
MAX_LABEL_LENGTH = 20


def with_margins(
    width: float, height: float, *, left: float = 1.0, bottom: float = 0.65, top: float = 0.75
) -> Figure:
    """Make a figure whose margins are so many inches: where all ticks are numbers they suffice.

    Else a figure is laid out by what is in it, which takes as long as drawing it.
    """
    figure = Figure(figsize=(width, height))
    edges = {"left": left / width, "right": 1 - 0.2 / width}
    figure.subplots_adjust(bottom=bottom / height, top=1 - top / height, **edges)
    return figure


def panel_size(num_levels: int) -> int:
    """Width of a panel, in labelled levels."""
    return max(num_levels, 8) if num_levels <= MAX_LABELLED_LEVELS else 20


def tidy(ax: Axes, grid: Any) -> None:
    """Leave of the frame what is read, with a grid along "x", "y" or "both"."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)


def name_ends(ax: Axes, levels: np.ndarray) -> None:
    """Name the first and the last of sorted levels, which are too many to name along an axis."""
    ax.set_xticks([0, len(levels) - 1], labels_of(levels[[0, -1]]))
    first, last = ax.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")


def labels_of(levels: np.ndarray) -> list[str]:
    """Names of levels, fit to print."""
    return [text(level) for level in levels]


def text(value: object) -> str:
    """Make a label fit to print: on one line, not too long, its dollar signs not TeX."""
    line = "".join(c if c.isprintable() else " " for c in str(value))
    if len(line) > MAX_LABEL_LENGTH:
        line = line[: MAX_LABEL_LENGTH - 1] + "…"
    return line.replace("$", r"\$")
