"""Nothing grows too large to be read at once: modules, classes.

Complexity of functions is ruff's (C90), layers are import-linter's; see pyproject.toml.
"""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from deploy.local import ROOT

MODULE_LINES = 400
CLASS_LINES = 250

#: Modules that may be longer, and why.
LONG_MODULES = {
    "tests/scenarios/bad_kinds.py": "a table: a line for each kind of bad record",
    "tests/scenarios/hostile_archives.py": "a table: an entry for each kind of hostile model file",
    "tests/scenarios/hostile_requests.py": "a table: an entry for each hostile request",
    "tests/serve_app/engines/nemo/families.py": "a table: the published settings of each family",
}


def modules() -> list[str]:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    names = subprocess.run(listed, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [name for name in names.splitlines() if (ROOT / name).exists()]


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_no_module_is_too_long() -> None:
    found = {name for name in modules() if lines(ROOT / name) > MODULE_LINES}
    assert found - LONG_MODULES.keys() == set()
    assert LONG_MODULES.keys() - found == set(), "these are short enough: take them off the list"


def test_no_class_is_too_long() -> None:
    found = [
        f"{name}: {node.name}"
        for name in modules()
        if lines(ROOT / name) >= CLASS_LINES
        for node in ast.walk(ast.parse((ROOT / name).read_text()))
        if isinstance(node, ast.ClassDef)
        and (node.end_lineno or node.lineno) - node.lineno >= CLASS_LINES
    ]
    assert found == []


@pytest.mark.parametrize("name", ["serve_app", "workers", "schemas"])
def test_every_package_says_what_it_is(name: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / name).rglob("__init__.py")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []
