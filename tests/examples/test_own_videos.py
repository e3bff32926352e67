import runpy
from pathlib import Path

import pytest
import torch

from t3d.video.encode import write_video

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "own_videos.py"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_example_goes_from_a_folder_to_a_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label, level in (("dark", 30), ("light", 220)):
        (tmp_path / "videos" / label).mkdir(parents=True)
        for number in range(5):
            frames = torch.full((8, 32, 32, 3), level + number, dtype=torch.uint8)
            write_video(tmp_path / "videos" / label / f"{number}.mp4", frames)
    runpy.run_path(str(SCRIPT))["main"](tmp_path / "videos", tmp_path / "run", max_steps=1)
    printed = capsys.readouterr().out
    assert "video top-1 on test videos" in printed
    assert (tmp_path / "run" / "report.html").exists()
    scores = [float(line.split()[0]) for line in printed.splitlines()[-2:]]
    assert sum(scores) == pytest.approx(1.0, abs=2e-3)  # printed with three digits
