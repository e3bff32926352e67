"""A cache folder of the tests' own, a finished transfer, and teachers that are counted, or kill their own process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from program import TEACHERS, TRANSFER
from t3d import cli


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the program keeps what it computes once for all, unless a test says otherwise."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("T3D_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def transferred(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished transfer of four updates; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "transferred"
    with pytest.raises(SystemExit) as ended:
        cli.main(["transfer", str(dataset), "--split", "1", "--output", str(folder), *TRANSFER, "--max-steps", "4"])
    assert ended.value.code == 0
    return folder


@pytest.fixture
def teachers(tmp_path: Path) -> Path:
    """A file of teachers; beside it the file `calls` grows by a byte at every call."""
    path = tmp_path / "own" / "teachers.py"
    path.parent.mkdir()
    path.write_text(TEACHERS)
    return path


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that holds nothing yet."""
    monkeypatch.setenv("T3D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
