"""Every import is of a declared dependency, and every declared dependency is imported."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OTHER_NAMES = {"cv2": "opencv-python-headless", "PIL": "pillow"}
"""Imports that are not called after what provides them, for environments without it."""
LOADED_BY_OTHERS = {"tensorboard": "torch.utils.tensorboard"}
"""Dependencies that are imported by an import of something else."""
FOR_DEVELOPERS = ("all", "test", "dev")
NOT_REQUIRED = {"decord"}
"""Imported only where it happens to be installed, to be measured beside ours."""


def imported() -> dict[str, str]:
    """Top-level names that the package imports from elsewhere, and a file of each."""
    found = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found.update({name.partition(".")[0]: str(path.relative_to(ROOT)) for name in names})
    known = {*sys.stdlib_module_names, *NOT_REQUIRED, "t3d"}
    return {name: path for name, path in found.items() if name not in known}


def declared() -> set[str]:
    """What the package needs, always or for an extra of users."""
    extras = PROJECT["optional-dependencies"]
    texts = [row for name, rows in extras.items() if name not in FOR_DEVELOPERS for row in rows]
    return {canonical(re.split(r"[^\w.-]", text)[0]) for text in [*PROJECT["dependencies"], *texts]}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


_distributions = cache(packages_distributions)


def providers(name: str) -> set[str]:
    """Distributions that provide an import."""
    installed = _distributions().get(name, [])
    return {canonical(text) for text in (*installed, OTHER_NAMES.get(name, name))}


def test_every_import_is_declared() -> None:
    undeclared = {name: path for name, path in imported().items() if not providers(name) & declared()}
    assert undeclared == {}


def test_every_declared_dependency_is_imported() -> None:
    used = set().union(*map(providers, imported()))
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    used |= {name for name, by in LOADED_BY_OTHERS.items() if by in source}
    assert declared() - used == set()
