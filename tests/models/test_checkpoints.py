import json
import math
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from t3d.errors import CheckpointError
from t3d.models import checkpoints, create_model
from t3d.models.checkpoints import (
    ModelCard,
    file_hash,
    initialise_from,
    load_model,
    read_state,
    read_weights,
    save_state,
    save_weights,
    weights_file,
)
from t3d.run_files import WEIGHTS_NAME
from t3d.video.spec import ClipSpec, PixelSpec, SegmentSpec

MakeModel = Callable[..., nn.Module]


@pytest.fixture
def saved(tmp_path: Path, card: ModelCard, micro_model: MakeModel) -> Path:
    path = tmp_path / WEIGHTS_NAME
    save_weights(path, micro_model().state_dict(), card)
    return path


def test_weights_and_card_come_back_exactly(saved: Path, card: ModelCard, micro_model: MakeModel) -> None:
    tensors, read = read_weights(saved)
    expected = micro_model().state_dict()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], value) for name, value in expected.items())
    assert read == card
    assert [path.name for path in saved.parent.iterdir()] == [WEIGHTS_NAME]


def test_a_loaded_network_gives_the_same_scores_in_evaluation_mode(saved: Path, micro_model: MakeModel) -> None:
    clips = torch.rand(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    model, card = load_model(saved)
    assert not model.training
    with torch.no_grad():
        assert torch.equal(model(clips), micro_model().eval()(clips))
    assert card.labels == ("clap", "run", "wave")


def test_a_run_folder_stands_for_its_weights(saved: Path) -> None:
    assert weights_file(saved.parent) == saved
    assert weights_file(saved) == saved
    assert read_weights(saved.parent)[1] == read_weights(saved)[1]


def test_a_card_survives_json() -> None:
    card = ModelCard(
        arch="t3d_tiny",
        overrides={"dropout": 0.1, "keep_last_plane": True, "blocks": [1, 1, 1, 1]},
        labels=("a b", "ü", 'quoted "c"'),
        clip=ClipSpec(num_frames=7, frame_stride=3, short="hold", order="shuffled"),
        pixels=PixelSpec(resize=40, resize_mode="exact", crop_size=33, mean=(0.1, 0.2, 0.3), std=(1 / 3, 0.5, 0.7)),
        training={"seed": 3, "lineage": [{"file": "x", "sha256": "y"}], "split": None},
    )
    text = card.to_json()
    assert ModelCard.from_json(text) == card
    assert json.loads(text)["schema_version"] == 1


def test_segments_are_written_only_where_there_are_several(card: ModelCard) -> None:
    """A t3d that knows of no segments reads the one and refuses the other, which it would score wrongly."""
    assert "segments" not in json.loads(card.to_json())
    assert ModelCard.from_json(card.to_json()).segments == SegmentSpec()
    several = replace(card, segments=SegmentSpec(segments=5, consensus="top-k", consensus_top=3))
    assert ModelCard.from_json(several.to_json()) == several


def test_how_flow_is_found_is_written_only_where_it_is_seen(card: ModelCard) -> None:
    """A t3d that knows of no flow reads the one and refuses the other, which it would take for pictures."""
    names = {"flow_method", "flow_bound"}
    assert not names & json.loads(card.to_json())["pixels"].keys()
    assert ModelCard.from_json(card.to_json()) == card
    flow = replace(card, pixels=replace(card.pixels, modality="flow"))
    assert names < json.loads(flow.to_json())["pixels"].keys()
    assert ModelCard.from_json(flow.to_json()) == flow


def _refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.99])
def test_a_truncated_file_is_refused(share: float, saved: Path) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    assert "not a complete safetensors file" in _refusal(saved)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"classifier.weight": torch.zeros(1)}, path)
    assert "not a complete safetensors file" in _refusal(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_foreign_safetensors_are_refused(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(1)}, str(path), metadata=metadata)
    assert "holds tensors but no t3d description" in _refusal(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 2}, "schema version 2 is newer"),
        ({"arch": None, "surprise": 1}, "surprise"),
        ({"clip": {"num_frames": 0}}, "num-frames 0"),
        ({"pixels": None}, "cannot be read"),
        ({"segments": {"segments": 0}}, "segments 0"),
        ({"segments": 3}, "cannot be read"),
    ],
)
def test_descriptions_of_another_kind_are_refused(
    change: dict[str, Any], reason: str, tmp_path: Path, card: ModelCard
) -> None:
    text = json.dumps(json.loads(card.to_json()) | change)
    assert reason in _refusal(_described(tmp_path, text))


@pytest.mark.parametrize("text", ["", "{}", "[]", "5", "null", "{not json"])
def test_descriptions_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    assert "description cannot be read" in _refusal(_described(tmp_path, text))


def _described(folder: Path, text: str) -> Path:
    path = folder / "described.safetensors"
    save_file({"weight": torch.zeros(1)}, str(path), metadata={"t3d": text})
    return path


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert "no such run folder or weights file" in _refusal(tmp_path / "nothing")
    assert f"no {WEIGHTS_NAME} in this folder" in _refusal(tmp_path)


@pytest.mark.parametrize(
    "other",
    [{"labels": ("clap", "run")}, {"arch": "densenet3d_tiny"}, {"overrides": {"growth_rate": 5}}, {"arch": "x"}],
)
def test_weights_of_another_shape_are_refused(
    other: dict[str, Any], tmp_path: Path, card: ModelCard, micro_model: MakeModel
) -> None:
    path = tmp_path / WEIGHTS_NAME
    save_weights(path, micro_model().state_dict(), replace(card, **other))
    with pytest.raises(CheckpointError, match=r"weights do not fit") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_equal_classes_start_from_the_whole_network(saved: Path, card: ModelCard, micro_model: MakeModel) -> None:
    model = micro_model(seed=5)
    assert initialise_from(model, saved, card.labels) == (card, [])
    assert all(torch.equal(model.state_dict()[name], value) for name, value in micro_model().state_dict().items())


@pytest.mark.parametrize("labels", [("clap", "run"), ("wave", "run", "clap"), ("a", "b", "c", "d")])
def test_other_classes_keep_their_head(labels: tuple[str, ...], saved: Path, micro_model: MakeModel) -> None:
    """Also classes of the same number in another order."""
    model = micro_model(seed=5, num_classes=len(labels))
    initialise_from(model, saved, labels)
    old, fresh = micro_model().state_dict(), micro_model(seed=5, num_classes=len(labels)).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, (fresh if name.startswith("classifier.") else old)[name]), name


@pytest.mark.parametrize("changes", [{"growth_rate": 5}, {"ttl_compress": True}, {"blocks": [1, 1, 1, 2]}])
def test_a_network_that_does_not_fit_is_not_started_from(
    changes: dict[str, Any], saved: Path, card: ModelCard, micro_model: MakeModel
) -> None:
    model = micro_model(seed=5, **changes)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"holds t3d_tiny, whose .* do not fit; use --arch t3d_tiny"):
        initialise_from(model, saved, card.labels)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


DEPTHS = {"ttl_depths": [[1, 3], None, [1, 3, 4]]}


def _without_transitions(folder: Path, arch: str) -> tuple[Path, nn.Module]:
    path, model = folder / WEIGHTS_NAME, create_model(arch, 2, generator=torch.Generator().manual_seed(1))
    card = ModelCard(arch=arch, overrides={}, labels=("a", "b"), clip=ClipSpec(), pixels=PixelSpec())
    save_weights(path, model.state_dict(), card)
    return path, model


@pytest.mark.parametrize("arch", ["resnet3d_tiny", "inception3d_tiny", "c3d_tiny"])
def test_transitions_that_replace_no_weights_stay_random(arch: str, tmp_path: Path) -> None:
    path, plain = _without_transitions(tmp_path, arch)
    model, fresh = (create_model(arch, 2, generator=torch.Generator().manual_seed(5), **DEPTHS) for _ in range(2))
    _, random = initialise_from(model, path, ("a", "b"))
    assert {name.split(".branches.")[0] for name in random} == {"stages.transition1", "stages.transition3"}
    assert {*random} == fresh.state_dict().keys() - plain.state_dict().keys()
    expected = plain.state_dict() | {name: fresh.state_dict()[name] for name in random}
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_transitions_of_other_depths_do_not_fit(tmp_path: Path) -> None:
    """They have a counterpart, of which a part would be lost or left random."""
    deep = {"ttl_depths": [[1, 3, 4], None, None]}
    path = tmp_path / WEIGHTS_NAME
    card = ModelCard(arch="resnet3d_tiny", overrides=deep, labels=("a",), clip=ClipSpec(), pixels=PixelSpec())
    save_weights(path, card.build().state_dict(), card)
    for other in ([[1, 3], None, None], [[1, 3, 4, 6], None, None], [None, None, None]):
        with pytest.raises(CheckpointError, match=r"holds resnet3d_tiny, whose .* do not fit"):
            initialise_from(create_model("resnet3d_tiny", 1, ttl_depths=other), path, ("a",))


@pytest.mark.parametrize(("given", "wanted"), [("densenet3d_121", "t3d_121"), ("resnet3d_tiny", "resnet3d_tiny_ttl")])
def test_a_network_whose_blocks_have_other_widths_is_no_start(given: str, wanted: str, tmp_path: Path) -> None:
    path, _ = _without_transitions(tmp_path, given)
    with pytest.raises(CheckpointError, match=rf"holds {given}, whose .* do not fit"):
        initialise_from(create_model(wanted, 2), path, ("a", "b"))


def test_the_hash_is_the_start_of_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert file_hash(tmp_path / "file") == "ba7816bf8f01cfea" == sha256(b"abc").hexdigest()[:16]


def _break(*_: object, **__: object) -> None:
    raise OSError("No space left on device")


def test_a_failed_write_leaves_the_old_weights(
    saved: Path, card: ModelCard, micro_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()
    monkeypatch.setattr(checkpoints, "save_file", _break)
    with pytest.raises(OSError, match="No space"):
        save_weights(saved, micro_model(seed=1).state_dict(), card)
    assert saved.read_bytes() == before


def test_a_write_cut_short_leaves_the_old_weights(
    saved: Path, card: ModelCard, micro_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(tensors: object, path: str, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        _break()

    before = saved.read_bytes()
    monkeypatch.setattr(checkpoints, "save_file", cut)
    with pytest.raises(OSError, match="No space"):
        save_weights(saved, micro_model(seed=1).state_dict(), card)
    assert saved.read_bytes() == before


def test_a_failed_write_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"step": 1})
    monkeypatch.setattr(checkpoints.torch, "save", _break)
    with pytest.raises(OSError, match="No space"):
        save_state(path, {"step": 2})
    assert read_state(path) == {"step": 1}


def test_a_state_comes_back(tmp_path: Path) -> None:
    state = {"tensor": torch.arange(3), "rows": [{"lr": 0.1}], "lowest": math.inf, "best": (0.5, -1.0), "none": None}
    save_state(tmp_path / "state.pt", state)
    read = read_state(tmp_path / "state.pt")
    assert torch.equal(read.pop("tensor"), state.pop("tensor"))
    assert read == state


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half of it", b"text"])
def test_a_damaged_state_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.pt: damaged .*; start again with --overwrite") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)


def test_a_state_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    torch.save({"callback": Path}, path)
    with pytest.raises(CheckpointError, match="damaged"):
        read_state(path)


def test_a_missing_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume; run without --resume"):
        read_state(tmp_path / "state.pt")


def _without_classes(folder: Path, card: ModelCard) -> tuple[Path, dict[str, torch.Tensor]]:
    """What a transfer writes."""
    student = create_model(card.arch, 0, generator=torch.Generator().manual_seed(3), **card.overrides)
    path = folder / WEIGHTS_NAME
    save_weights(path, student.state_dict(), replace(card, labels=()))
    return path, student.state_dict()


def test_a_network_without_classes_is_not_loaded_for_scoring(tmp_path: Path, card: ModelCard) -> None:
    path, tensors = _without_classes(tmp_path, card)
    for given in (path, tmp_path):
        with pytest.raises(CheckpointError, match=r"names no classes yet; t3d train DATA --init .* teaches") as caught:
            load_model(given)
        assert str(caught.value).startswith(str(given))
        assert "\n" not in str(caught.value)
    read, described = read_weights(path)
    assert described.labels == ()
    network = described.build()
    network.load_state_dict(read)
    clips = torch.rand(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    assert network.eval()(clips).equal(network.embed(clips))
    assert read.keys() == tensors.keys()


@pytest.mark.parametrize("neck", [0, 6])
def test_a_training_starts_from_a_network_without_classes(
    neck: int, tmp_path: Path, card: ModelCard, micro_model: MakeModel
) -> None:
    """Head and neck are new; everything else is taken over."""
    path, tensors = _without_classes(tmp_path, card)
    model, fresh = micro_model(seed=5, neck=neck), micro_model(seed=5, neck=neck).state_dict()
    assert initialise_from(model, path, card.labels)[0].labels == ()
    own = [name for name in fresh if name.startswith(("classifier.", "neck."))]
    assert len(own) == (4 if neck else 2)
    assert all(model.state_dict()[name].equal(fresh[name]) for name in own)
    assert all(model.state_dict()[name].equal(value) for name, value in tensors.items())
    assert set(fresh) == {*own, *tensors}


def test_a_neck_that_the_network_lacks_is_not_dropped_in_silence(
    tmp_path: Path, card: ModelCard, micro_model: MakeModel
) -> None:
    path = tmp_path / WEIGHTS_NAME
    save_weights(path, micro_model(neck=6).state_dict(), replace(card, overrides={**card.overrides, "neck": 6}))
    with pytest.raises(
        CheckpointError, match=r"holds t3d_tiny, whose 'classifier\.weight' and 2 other tensors do not fit"
    ):
        initialise_from(micro_model(seed=5), path, card.labels)
