"""What every test may use: the shared real data (or a skip that says why), and small real videos made on the spot."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from program import FEW, MICRO, Call, Outcome, write_dataset
from t3d import cli
from t3d.system import leave_malloc
from t3d.video.encode import write_video

pytest_plugins = ["toys"]


def pytest_configure() -> None:
    """Hear Ctrl-C, and let started programs hear it, also in the background of a shell, which ignores it.

    Memory that a test has freed goes back: one process runs thousands of them.
    """
    leave_malloc()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # several test processes share the cores


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real videos and official split files; see CONTRIBUTING for its layout."""
    return _shared() / "data"


@pytest.fixture(scope="session")
def shared_fixtures() -> Path:
    """The folder of recorded outputs of the published networks."""
    return _shared() / "fixtures"


def _shared() -> Path:
    root = os.environ.get("T3D_TEST_DATA")
    if not root:
        pytest.skip("T3D_TEST_DATA is not set: it names the folder that holds data/ and fixtures/")
    if not (Path(root) / "data").is_dir():
        pytest.skip(f"T3D_TEST_DATA={root} holds no data/ folder")
    return Path(root).resolve()


class FakeVideo:
    """Frame i is filled with the value i, so a clip names its own frames."""

    def __init__(self, length: int, *, size: tuple[int, int] = (8, 8), fps: float = 25.0) -> None:
        self.name = "fake"
        self.length = length
        self.size = size
        self.fps = fps
        self.closed = False

    def __len__(self) -> int:
        return self.length

    def __enter__(self) -> "FakeVideo":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def frames(self, indices: Sequence[int]) -> torch.Tensor:
        values = torch.tensor([int(index) for index in indices], dtype=torch.uint8)
        return values[:, None, None, None].expand(-1, *self.size, 3).contiguous()

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        first = 0 if start_seconds is None else round(start_seconds * self.fps)
        last = self.length if end_seconds is None else round(end_seconds * self.fps)
        return first, min(last, self.length)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def fake_video() -> Callable[..., FakeVideo]:
    return FakeVideo


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Write a real H.264 file of grey frames whose brightness rises with time."""

    def make(name: str = "video.mp4", *, length: int = 20, size: tuple[int, int] = (32, 48), fps: float = 25.0) -> Path:
        levels = torch.linspace(20, 235, length).to(torch.uint8)
        frames = levels[:, None, None, None].expand(-1, *size, 3)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames, fps=fps)
        return path

    return make


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list of the dataset; tests must not change what it names."""
    return write_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="session")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three updates; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", str(dataset), "--output", str(folder), *MICRO, "--max-steps", "3"])
    assert ended.value.code == 0
    return folder


@pytest.fixture(scope="session")
def small_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a very small network; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", str(dataset), "--output", str(folder), *MICRO, *FEW, "--max-steps", "3"])
    assert ended.value.code == 0
    return folder


@pytest.fixture
def t3d(capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, captured.out, captured.err)

    return call
