"""Write the READMEs' tables and the figures from the committed results.

``python -m benchmarks render``. A table stands between two comments that name it, ``<!-- table:
demo -->`` and ``<!-- end -->``; ``--list`` prints the names, ``--show NAME`` a table.
"""

import argparse
import re
from pathlib import Path

from benchmarks.figures import draw_all
from benchmarks.tables import RESULTS, TABLES

HERE = Path(__file__).parent
READMES = (HERE.parent / "README.md", HERE / "README.md")
PLACE = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- end -->)", flags=re.DOTALL)


def render(text: str) -> str:
    """Put the current tables into a README's text."""
    named = [match[2] for match in PLACE.finditer(text)]
    for name in named:
        if name not in TABLES:
            raise ValueError(f"the README has a place for the table {name!r}, which there is not")
        if named.count(name) > 1:
            raise ValueError(f"the README has several places for the table {name!r}")
    if not named:
        raise ValueError("the README has no place for a table")
    return PLACE.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}\n{match[4]}", text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what ``python -m benchmarks render`` takes."""
    parser.add_argument("--list", action="store_true", help="print the names of the tables")
    parser.add_argument("--show", metavar="NAME", help="print a table and write nothing")


def main(arguments: argparse.Namespace) -> None:
    """Write tables and figures, or show what was asked for."""
    if arguments.list:
        print("\n".join(TABLES))
    elif arguments.show:
        print(TABLES[arguments.show]())
    else:
        for readme in READMES:
            readme.write_text(render(readme.read_text()))
        for path in draw_all(RESULTS):
            print(path.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    main(parser.parse_args())
