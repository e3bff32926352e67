"""The generated parts of the docs are what the code says."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_docs_are_up_to_date(generate: ModuleType) -> None:
    stale = [str(path) for path, text in generate.generated().items() if path.read_text() != text]
    assert stale == [], "run `make docs`"


def test_every_flag_has_a_meaning(generate: ModuleType) -> None:
    for verb in generate.COMMANDS:
        for line in generate.flags(verb).splitlines():
            if line.startswith("| `"):
                assert not line.endswith("|  |"), f"t3d {verb}: {line}"


def test_contributing_names_every_worked_example() -> None:
    folder = Path(__file__).resolve().parent / "extending"
    written = {path.name for path in folder.glob("test_*.py")}
    named = re.findall(r"\]\(tests/extending/(\w+\.py)\)", (DOCS.parent / "CONTRIBUTING.md").read_text())
    things = ("architecture", "format", "training_flag", "backend", "metric")
    assert sorted(named) == sorted(written) == sorted(f"test_add_{thing}.py" for thing in things)
