from pathlib import Path

import pytest
import torch

from arms import Instant
from t3d.bench import transfer
from t3d.bench.transfer import Lesson, bench_transfer
from t3d.video.encode import write_video
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec


@pytest.fixture
def lesson(tmp_path: Path) -> Lesson:
    """Five short videos in batches of two."""
    videos = [tmp_path / f"{index}.mp4" for index in range(5)]
    for index, video in enumerate(videos):
        write_video(video, torch.full((16, 32, 32, 3), 40 * index, dtype=torch.uint8))
    return Lesson(
        videos=videos,
        arch="t3d_tiny",
        clip=ClipSpec(num_frames=16),
        pixels=PixelSpec(resize=32, crop_size=32),
        augment=AugmentSpec(),
        batch_size=2,
        num_workers=0,
        teacher="colour_statistics",
        teacher_size=32,
        num_pictures=2,
    )


def test_all_three_make_as_many_updates(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    instant, fit, steps = Instant(), transfer.fit, []

    def counted(learner: object, *args: object, num_steps: int, **kwargs: object) -> object:
        steps.append(num_steps)
        return fit(learner, *args, num_steps=num_steps, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "measure", instant)
    monkeypatch.setattr(transfer, "fit", counted)
    table = bench_transfer(lesson, rounds=1, threads=1)
    assert steps == [2, 2, 2]
    assert instant.calls == [["3D network alone", "cached teacher", "live teacher"]]
    (target,) = table.targets
    assert (target.unit, target.bound, target.reached, target.met) == ("x the time", 1.05, 2.0, False)
