import re
import shlex
from pathlib import Path

import pytest
import tyro

from benchmarks.options import Options
from t3d import cli

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = "python -m benchmarks"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def commands(program: str) -> list[str]:
    """Every line of a code block of any document that starts with a program."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r"```\w*\n(.*?)```", document.read_text(), flags=re.DOTALL):
            found += [line.split("#")[0].strip() for line in block.splitlines() if line.startswith(f"{program} ")]
    return sorted(set(found))


def test_documents_show_commands() -> None:
    assert len(commands("t3d")) >= 5
    assert len(commands(BENCHMARKS)) >= 5


@pytest.mark.parametrize("command", commands("t3d"))
def test_command_of_the_docs_parses(command: str) -> None:
    verb, flags = cli._split(shlex.split(command)[1:])
    assert verb in cli.COMMANDS
    assert cli._parse(verb, cli.COMMANDS[verb], flags) is not None


@pytest.mark.parametrize("command", commands(BENCHMARKS))
def test_benchmark_of_the_docs_parses(command: str) -> None:
    assert tyro.cli(Options, args=shlex.split(command.removeprefix(BENCHMARKS))) is not None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document: Path) -> None:
    text = document.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    assert [link for link in links if not (document.parent / link).exists()] == []
    assert re.findall(r"@[A-Z_]+@", text) == []  # a figure that was never filled in


def test_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"[`\n]make ([a-z]+)", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= named <= targets
