from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from t3d.video.decode import open_video
from t3d.video.encode import write_video


def test_pictures_and_rate_survive(tmp_path: Path, drifting: Callable[..., list]) -> None:
    pictures = torch.stack([torch.from_numpy(picture) for picture in drifting(12)])
    write_video(tmp_path / "video.mp4", pictures, fps=12.5)
    with open_video(tmp_path / "video.mp4") as video:
        assert video.fps == 12.5
        distances = torch.cdist(video.frames(range(12)).flatten(1).float(), pictures.flatten(1).float())
    assert distances.argmin(dim=1).tolist() == list(range(12))  # each resembles the picture it was made from


def test_an_odd_row_and_column_are_dropped(tmp_path: Path) -> None:
    write_video(tmp_path / "odd.mp4", [torch.full((33, 47, 3), 90, dtype=torch.uint8)] * 3)
    with open_video(tmp_path / "odd.mp4") as video:
        assert video.frames([0]).shape == (1, 32, 46, 3)


def test_an_interrupted_file_leaves_nothing(tmp_path: Path) -> None:
    def frames() -> Iterator[Tensor]:
        yield torch.zeros(32, 32, 3, dtype=torch.uint8)
        raise RuntimeError("out of frames")

    with pytest.raises(RuntimeError, match="out of frames"):
        write_video(tmp_path / "half.mp4", frames())
    assert list(tmp_path.iterdir()) == []


def test_equal_pictures_give_equal_bytes(tmp_path: Path, drifting: Callable[..., list]) -> None:
    pictures = torch.stack([torch.from_numpy(picture) for picture in drifting(12)])
    files = set()
    for number in range(10):
        write_video(tmp_path / f"{number}.mp4", pictures, crf=6)
        files.add((tmp_path / f"{number}.mp4").read_bytes())
    assert len(files) == 1
