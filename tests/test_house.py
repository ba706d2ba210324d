"""The rules of the house, read from the imports: where they may go, and what only one place knows.

Every import counts, also one that is made late or for type checkers alone.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "crossed_jax"
ORDER = (
    "errors arguments types files tables statistics models sampling results "
    "forms log_density fitting demo cli"
)
ONLY = {  # who alone may import a package
    "matplotlib": "results.plots",
    "typer": "cli.",
    "rich": "cli.",
    "blackjax": "sampling.nuts",
    "jinja2": "results.report",
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py"  # the façade, which knows everything
}


def imported(path):
    """List what a file imports, modules of this package without its name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("crossed_jax.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}".removeprefix("crossed_jax.")
                yield name if name in MODULES else node.module.removeprefix("crossed_jax.")


IMPORTS = {name: sorted(set(imported(path))) for name, path in MODULES.items()}


def storey(name):
    return ORDER.split().index(name.split(".")[0])


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_to_the_same_folder_or_one_before(name):
    assert "crossed_jax" not in IMPORTS[name], "through the façade"
    ours = [other for other in IMPORTS[name] if other in MODULES]
    assert [other for other in ours if storey(other) > storey(name)] == []


def test_no_imports_go_in_a_circle():
    ours = {name: [i for i in imports if i in MODULES] for name, imports in IMPORTS.items()}
    TopologicalSorter(ours).prepare()


@pytest.mark.parametrize("package", ONLY)
def test_one_place_alone_knows(package):
    users = {name for name, found in IMPORTS.items() if package in {i.split(".")[0] for i in found}}
    assert users
    assert {name for name in users if not f"{name}.".startswith(ONLY[package])} == set()


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_short(name):
    number = len(MODULES[name].read_text().splitlines())
    assert number <= 350
