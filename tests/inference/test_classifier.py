from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import t3d.inference.classifier as classifier
from t3d.data.samples import Sample
from t3d.errors import CheckpointError, DecodeError
from t3d.inference.classifier import Classifier, Prediction, as_prediction, as_sample, load, predict
from t3d.inference.scoring import VideoScores
from t3d.models.checkpoints import ModelCard, save_weights
from t3d.run_files import WEIGHTS_NAME
from t3d.video.decode import open_video
from t3d.video.spec import ViewSpec


@pytest.fixture
def run(tmp_path: Path, card: ModelCard, micro_model: Callable[..., nn.Module]) -> Path:
    """A run folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    save_weights(folder / WEIGHTS_NAME, micro_model().state_dict(), card)
    return folder


def test_a_folder_and_its_file_give_the_same(run: Path, make_video: Callable[..., Path]) -> None:
    video = make_video()
    found = [load(path, device="cpu").predict(video) for path in (run, str(run), run / WEIGHTS_NAME)]
    assert found[0] == found[1] == found[2] == predict(run, video)
    assert load(run).labels == ("clap", "run", "wave")


def test_files_arrays_and_tensors_agree(run: Path, make_video: Callable[..., Path]) -> None:
    path = make_video()
    loaded = load(run, device="cpu")
    with open_video(path) as video:
        frames = video.frames(range(len(video)))
    expected = loaded.predict(path)
    assert expected.num_clips == 5  # twenty frames in clips of four
    for given in (str(path), frames, frames.numpy()):
        found = loaded.predict(given)
        assert (found.labels, found.scores, found.num_clips) == (expected.labels, expected.scores, 5)


def test_scores_are_ordered_and_add_up(run: Path, make_video: Callable[..., Path]) -> None:
    prediction = load(run, device="cpu").predict(make_video())
    assert list(prediction.scores) == sorted(prediction.scores, reverse=True)
    assert sum(prediction.scores) == pytest.approx(1.0)
    assert sorted(prediction.labels) == ["clap", "run", "wave"]
    assert prediction.top(2) == list(zip(prediction.labels, prediction.scores, strict=True))[:2]
    assert len(prediction.top(10)) == 3


def test_prediction_is_the_score_of_evaluation(run: Path, make_video: Callable[..., Path]) -> None:
    """Digit for digit, in a list and alone, with and without workers, where clips are scored one by one."""
    paths = [make_video(f"{index}.mp4", length=9 + index) for index in range(4)]
    loaded = load(run, device="cpu")
    views = ViewSpec(batch_size=1)
    scored = list(loaded.score([as_sample(path) for path in paths], views=views, num_workers=2))
    assert [video.sample.path for video in scored] == paths
    for path, video in zip(paths, scored, strict=True):
        assert loaded.predict(path, views=views) == as_prediction(video, loaded.labels)


def test_views_are_passed_on(run: Path, make_video: Callable[..., Path]) -> None:
    loaded = load(run, device="cpu")
    views = ViewSpec(clips=3, crops=3)
    (scored,) = loaded.score([as_sample(make_video())], views=views)
    assert scored.clip_scores.shape == (9, 3)
    assert loaded.predict(scored.sample.path, views=views).num_clips == 3


@pytest.mark.parametrize("content", [b"", b"no video at all"])
def test_a_file_that_is_no_video_is_an_error(content: bytes, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=r"broken\.mp4"):
        load(run).predict(path)


def test_a_file_that_is_not_there_is_an_error(run: Path) -> None:
    with pytest.raises(DecodeError, match=r"gone\.mp4"):
        load(run).predict("gone.mp4")


@pytest.mark.parametrize("frames", [torch.zeros(4, 32, 32, 3), torch.zeros(0, 32, 32, 3, dtype=torch.uint8)])
def test_frames_of_another_kind_are_an_error(frames: torch.Tensor, run: Path) -> None:
    with pytest.raises(DecodeError, match="uint8"):
        load(run).predict(frames)


def test_a_missing_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such run folder"):
        load(tmp_path / "gone")


def test_equal_scores_keep_the_order_of_the_classes() -> None:
    sample = Sample(name="v", path=Path("v"), label=-1, group="v")
    scored = VideoScores(sample=sample, parts=[torch.tensor([[0.25, 0.5, 0.25]])], frames=[(0, 3)], num_clips=1)
    assert as_prediction(scored, "abc") == Prediction(
        video="v", labels=("b", "a", "c"), scores=(0.5, 0.25, 0.25), num_clips=1
    )


def test_an_undecodable_video_has_no_classes() -> None:
    sample = Sample(name="v", path=Path("v"), label=-1, group="v")
    prediction = as_prediction(VideoScores(sample=sample, error="v: truncated"), "abc")
    assert (prediction.labels, prediction.scores, prediction.top(5), prediction.error) == ((), (), [], "v: truncated")


def test_the_device_is_cuda_where_there_is_one(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[object] = []
    monkeypatch.setattr(nn.Module, "to", lambda self, device: moved.append(device) or self)
    for available in (True, False):
        monkeypatch.setattr(classifier.torch.cuda, "is_available", lambda available=available: available)
        assert isinstance(load(run), Classifier)
    assert moved == [torch.device("cuda"), torch.device("cpu")]
