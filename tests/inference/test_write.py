from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from t3d.errors import CheckpointError
from t3d.inference.backends import BACKENDS, read_export
from t3d.inference.backends.base import Export, Scorer
from t3d.inference.export import Check, Parity, noise_clips, write_export
from t3d.inference.graph import clip_shape
from t3d.inference.scorer import torch_scorer

OPENVINO = BACKENDS["openvino"]


def _check(subject: Any, reference: Scorer | None = None) -> Check:  # noqa: ANN401
    clips = noise_clips(clip_shape(subject.card), 3)
    reference = reference or torch_scorer(subject.network, subject.card.pixels)
    return Check(reference=reference, clips=clips, tolerance=Parity(difference=1e-4, agreement=0.0))


def test_what_was_measured_travels_with_the_file(
    translated: Callable[..., Any], export: Export, tmp_path: Path
) -> None:
    subject = translated("openvino")
    path = tmp_path / "a.b.xml"
    said = write_export(path, subject.model, card=subject.card, backend=OPENVINO, export=export, check=_check(subject))
    assert 0 < said.difference < 1e-5
    assert said.agreement == 1
    assert read_export(path, OPENVINO)[1:] == (subject.card, said)
    assert replace(said, difference=0.0, agreement=0.0) == export
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.b.bin", "a.b.xml"]


def test_what_computes_something_else_is_not_written(
    translated: Callable[..., Any], export: Export, tmp_path: Path
) -> None:
    subject = translated("openvino")
    right = torch_scorer(subject.network, subject.card.pixels)

    def other(clips: Tensor) -> Tensor:
        return right(clips) + torch.tensor([0.0, 0.0, 1.0])

    with pytest.raises(CheckpointError, match=r"weights\.xml: not written: logits differ"):
        write_export(
            tmp_path / "weights.xml",
            subject.model,
            card=subject.card,
            backend=OPENVINO,
            export=export,
            check=_check(subject, other),
        )
    assert list(tmp_path.iterdir()) == []


def test_what_gets_the_name_was_read_again(translated: Callable[..., Any], export: Export, tmp_path: Path) -> None:
    """The file is written anew with what was measured; here that second time goes wrong."""
    subject, times = translated("openvino"), []

    def spoil(model: Any, path: Path, text: str) -> None:  # noqa: ANN401
        OPENVINO.save(model, path, text)
        times.append(path)
        if len(times) == 2:
            path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(CheckpointError, match=r"w\.xml: not written: .*cannot be read"):
        write_export(
            tmp_path / "w.xml",
            subject.model,
            card=subject.card,
            backend=replace(OPENVINO, save=spoil),
            export=export,
            check=_check(subject),
        )
    assert len(times) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_graph_appears_after_its_weights(
    translated: Callable[..., Any], export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = translated("openvino")
    appeared: list[str] = []
    rename = Path.replace

    def watched(self: Path, target: Path) -> Path:
        appeared.append(target.name)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    write_export(
        tmp_path / "w.xml", subject.model, card=subject.card, backend=OPENVINO, export=export, check=_check(subject)
    )
    assert appeared == ["w.bin", "w.xml"]
