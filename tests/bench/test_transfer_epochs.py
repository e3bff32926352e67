from pathlib import Path

import pytest
import torch

from benchmarks import transfer
from benchmarks.transfer import Setting, transfer_experiment
from instant import Instant
from t3d.bench import experiments
from t3d.bench.experiments import run_experiments
from t3d.video.encode import write_video
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """Five short videos in batches of two."""
    videos = [tmp_path / f"{index}.mp4" for index in range(5)]
    for index, video in enumerate(videos):
        write_video(video, torch.full((16, 32, 32, 3), 40 * index, dtype=torch.uint8))
    return Setting(
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


def test_all_epochs_make_as_many_updates(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    instant, fit, steps = Instant(), transfer.fit, []

    def counted(learner: object, *args: object, num_steps: int, **kwargs: object) -> object:
        steps.append(num_steps)
        return fit(learner, *args, num_steps=num_steps, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(experiments, "measure", instant)
    monkeypatch.setattr(transfer, "fit", counted)
    experiment = transfer_experiment(setting, rounds=1)
    (rows,), _ = run_experiments([experiment], threads=1)
    assert steps == [2, 2, 2]
    assert instant.calls == [["3D network alone", "cached teacher", "live teacher", "filling the cache, once"]]
    assert not any(row.measured.error for row in rows)
    (target,) = experiment.table(rows).targets
    assert (target.bound, target.reached, target.met) == (1.05, 2.0, False)
