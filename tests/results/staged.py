"""Directories of results, filled or failing on the way, and what is in them."""

from crossed_jax.files.marker import MARKER
from crossed_jax.results.output import staged_directory


def contents(folder):
    """Map every path below a folder to its text, None if it is no file; markers are left out."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != MARKER
    }


def fill(target, **files):
    with staged_directory(target) as folder:
        for name, text in files.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


def fail(target, error):
    with staged_directory(target) as folder:
        (folder / "table").write_text("new")
        raise error
