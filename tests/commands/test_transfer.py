"""`t3d transfer` as a user types it: what it learns from, what it leaves behind, and what it must not touch."""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from program import MICRO, NUM_TRAIN, TRANSFER, Call, finish, log_rows, start
from t3d.commands import transfer
from t3d.data.formats import load_videos
from t3d.data.unlabelled import load_unlabelled
from t3d.models.checkpoints import ModelCard, file_hash, read_weights
from t3d.transfer.teachers import FrozenTeacher, load_teacher
from t3d.video.encode import write_video

OWN = (*TRANSFER, "--teacher")  # a second --teacher replaces the first


def _trained_on(folder: Path) -> list[Path]:
    with (folder / "trained_on.csv").open(newline="") as file:
        return [Path(row["path"]) for row in csv.DictReader(file)]


def _summary(folder: Path) -> dict[str, object]:
    return json.loads((folder / "training.json").read_text())


def _assert_same_tensors(first: Path, second: Path, name: str) -> None:
    ours, theirs = load_file(first / name), load_file(second / name)
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


def test_run_folder_holds_a_network_without_classes_and_how_it_was_made(transferred: Path) -> None:
    pytest.importorskip("tensorboard", reason="the optional extra `tensorboard` is not installed")
    names = {path.name for path in transferred.iterdir()}
    assert names == {
        *("config.json", "last.safetensors", "log.csv", "matcher.safetensors", "tensorboard", "trained_on.csv"),
        *("trainer", "training.json", "training.png", "weights.safetensors"),
    }
    assert (transferred / "training.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((transferred / "tensorboard").iterdir())) == 1
    tensors, card = read_weights(transferred)
    assert card.labels == ()
    assert card.build().state_dict().keys() == tensors.keys()
    assert json.loads(card.to_json()) == json.loads((transferred / "config.json").read_text())["model"]
    assert (card.training["task"], card.training["lineage"]) == ("transfer", [])
    assert card.training["command"].startswith("t3d transfer ")
    assert card.training["teacher"]["fingerprint"] == load_teacher("colour_statistics", size=32).fingerprint


def test_log_and_summary_name_what_was_measured(transferred: Path) -> None:
    rows, summary = log_rows(transferred), _summary(transferred)
    assert list(rows[0]) == [
        *("epoch", "step", "lr", "train_loss", "train_matching", "validation_loss", "validation_matching")
    ]
    assert int(rows[-1]["step"]) == summary["steps"] == 4
    assert float(rows[-1]["validation_matching"]) == summary["held_out_matching"]
    assert float(rows[-1]["train_matching"]) == summary["train_matching"]
    assert summary["checkpoint_sha256"] == file_hash(transferred / "weights.safetensors")
    assert (summary["skipped_videos"], summary["probe"]) == (0, None)


def test_matcher_is_kept_beside_the_weights(transferred: Path) -> None:
    matcher = load_file(transferred / "matcher.safetensors")
    width = load_file(transferred / "weights.safetensors")["norm.weight"].numel()
    assert matcher["student.weight"].shape == (1024, width)
    assert matcher["teacher.weight"].shape == (1024, 6)
    assert matcher["head.4.weight"].shape == (2, 128)


def test_split_of_a_labelled_dataset_never_uses_its_test_videos(transferred: Path, dataset: Path) -> None:
    train = {sample.path.resolve() for sample in load_videos(dataset, subset="train").samples}
    test = {sample.path.resolve() for sample in load_videos(dataset, subset="test").samples}
    learnt_from = _trained_on(transferred)
    assert len(learnt_from) == len(set(learnt_from)) == NUM_TRAIN - 2  # two are held out
    assert set(learnt_from) < train
    assert not set(learnt_from) & test
    windows = sum(max(1, (8 + int(path.stem.removeprefix("train"))) // 4) for path in learnt_from)
    assert _summary(transferred)["clips"] == windows


def test_labels_are_not_written_down(transferred: Path) -> None:
    with (transferred / "trained_on.csv").open(newline="") as file:
        assert {row["label"] for row in csv.DictReader(file)} == {""}


def test_folder_at_any_depth(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    for index, video in enumerate(sorted((dataset.parent / "clips").iterdir())):
        place = tmp_path / "videos" / "/".join("deep"[: index % 3]) / video.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, place)
    outcome = t3d("transfer", tmp_path / "videos", "--output", tmp_path / "run", *TRANSFER, "--max-steps", 2)
    assert outcome.code == 0, outcome.err
    assert "2 updates" in outcome.out
    assert f"--init {tmp_path / 'run'}" in outcome.out
    everything = {sample.path.resolve() for sample in load_unlabelled(tmp_path / "videos").samples}
    assert len(everything) == 13
    learnt_from = set(_trained_on(tmp_path / "run"))
    assert learnt_from < everything
    assert len(learnt_from) == 11


def test_table_is_used_whole_and_says_that_labels_are_not(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    outcome = t3d("transfer", dataset, "--output", tmp_path, *TRANSFER, "--max-steps", 1)
    assert outcome.code == 0, outcome.err
    assert "label and split of its rows are not used" in outcome.err
    assert any(path.stem.startswith("test") for path in _trained_on(tmp_path))


def test_pieces_of_one_file_are_held_out_together(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    files = [dataset.parent / "clips" / f"train{index}.mp4" for index in range(5)]
    pieces = [f"{path} {first} {first + 0.16}\n" for path in files for first in (0, 0.16)]  # four frames each
    (tmp_path / "pieces.txt").write_text("# file start end\n" + "".join(pieces))
    outcome = t3d(
        *("transfer", tmp_path / "pieces.txt", "--output", tmp_path / "run", *TRANSFER, "--max-steps", 2),
        *("--holdout-fraction", 0.4),
    )
    assert outcome.code == 0, outcome.err
    learnt_from, summary = _trained_on(tmp_path / "run"), _summary(tmp_path / "run")
    assert sorted(learnt_from.count(path.resolve()) for path in files) == [0, 0, 2, 2, 2]
    assert (summary["clips"], summary["held_out_clips"]) == (6, 4)


def test_videos_without_a_frame_are_left_out_and_named(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    shutil.copytree(dataset.parent / "clips", tmp_path / "videos")
    (tmp_path / "videos" / "train3.mp4").write_bytes(b"")
    flags = (*TRANSFER, "--bad-videos", "skip", "--max-steps", 2)
    outcome = t3d("transfer", tmp_path / "videos", "--output", tmp_path / "run", *flags)
    assert outcome.code == 0, outcome.err
    assert str(tmp_path / "run" / "skipped.csv") in outcome.err
    lines = (tmp_path / "run" / "skipped.csv").read_text().splitlines()
    assert lines[0] == "error"
    assert len(lines) == 2
    assert str(tmp_path / "videos" / "train3.mp4") in lines[1]
    assert _summary(tmp_path / "run")["skipped_videos"] == 1


def test_live_transfer_leaves_out_what_cannot_be_decoded(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    """One of eleven videos: the four clips of a batch are then three."""
    shutil.copytree(dataset.parent / "clips", tmp_path / "videos")
    broken = tmp_path / "videos" / _learnt_from(dataset, tmp_path / "once", t3d)[0].name
    broken.write_bytes(b"")
    flags = (*TRANSFER, "--bad-videos", "skip", "--live")
    run = ("transfer", tmp_path / "videos", "--output", tmp_path / "run", *flags)
    stopped = t3d(*run, "--max-steps", 8)
    assert stopped.code == 2
    assert "all videos of a batch but one cannot be decoded" in stopped.err
    assert str(broken) in stopped.err
    outcome = t3d(*run, "--max-steps", 6, "--batch-size", 4, "--overwrite")
    assert outcome.code == 0, outcome.err
    lines = (tmp_path / "run" / "skipped.csv").read_text().splitlines()
    assert len(lines) == 2
    assert str(broken) in lines[1]


def _learnt_from(dataset: Path, folder: Path, t3d: Call) -> list[Path]:
    """What a transfer with the same seed learns from."""
    flags = (*TRANSFER, "--live", "--max-steps", 1)
    assert t3d("transfer", dataset.parent / "clips", "--output", folder, *flags).code == 0
    return _trained_on(folder)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[FrozenTeacher]:
    """The teachers that transfers have used."""
    teachers: list[FrozenTeacher] = []

    def load(name: str, **options: object) -> FrozenTeacher:
        teachers.append(load_teacher(name, **options))
        return teachers[-1]

    monkeypatch.setattr(transfer, "load_teacher", load)
    return teachers


@pytest.mark.parametrize("live", [("--live", "--negatives", "independent"), ()])
def test_teacher_stays_as_it_was(
    live: tuple[str, ...], dataset: Path, teachers: Path, made: list[FrozenTeacher], t3d: Call, tmp_path: Path
) -> None:
    name = f"{teachers}:convolution"
    before = {key: tensor.clone() for key, tensor in load_teacher(name).state_dict().items()}
    assert {"network.norm.running_mean", "network.norm.running_var"} < before.keys()
    outcome = t3d("transfer", dataset, "--output", tmp_path / "run", *OWN, name, *live, "--max-steps", 2)
    assert outcome.code == 0, outcome.err
    (teacher,) = made
    after = teacher.state_dict()
    assert [key for key in before if not torch.equal(before[key], after[key])] == []
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    matcher = load_file(tmp_path / "run" / "matcher.safetensors")
    assert matcher["teacher.weight"].shape == (1024, 8)


def test_student_and_matcher_learn(dataset: Path, teachers: Path, t3d: Call, tmp_path: Path) -> None:
    """The equalities of this file would be empty if nothing moved."""
    flags = ("transfer", dataset, *OWN, f"{teachers}:convolution", "--live", "--ema-decay", "None")
    assert t3d(*flags, "--output", tmp_path / "still", "--max-steps", 1, "--lr", 0).code == 0
    assert t3d(*flags, "--output", tmp_path / "moved", "--max-steps", 2, "--warmup-steps", 0).code == 0
    for name in ("weights.safetensors", "matcher.safetensors"):
        still, moved = load_file(tmp_path / "still" / name), load_file(tmp_path / "moved" / name)
        kernels = [key for key in still if key.endswith("weight") and still[key].ndim > 1]
        assert all(not torch.equal(still[key], moved[key]) for key in kernels)


def test_live_teacher_and_cached_features_teach_the_same(teachers: Path, t3d: Call, tmp_path: Path) -> None:
    """Grey videos exactly as long and as large as a clip: no crop, no flip and no place differs from another."""
    for index in range(7):
        frames = torch.full((4, 32, 32, 3), 30 * index + 20, dtype=torch.uint8)
        (tmp_path / "videos").mkdir(exist_ok=True)
        write_video(tmp_path / "videos" / f"{index}.mp4", frames)
    centre_only = ("--crop", "centre", "--flip-probability", 0, "--scales", 1.0)
    flags = ("transfer", tmp_path / "videos", *OWN, f"{teachers}:convolution", *centre_only, "--max-steps", 4)
    assert t3d(*flags, "--output", tmp_path / "cached").code == 0
    assert t3d(*flags, "--output", tmp_path / "live", "--live").code == 0
    _assert_same_tensors(tmp_path / "live", tmp_path / "cached", "weights.safetensors")
    _assert_same_tensors(tmp_path / "live", tmp_path / "cached", "matcher.safetensors")
    assert log_rows(tmp_path / "live") == log_rows(tmp_path / "cached")


@pytest.mark.parametrize("live", [(), ("--live", "--hard-negatives")])
def test_equal_seeds_give_equal_weights_with_any_number_of_workers(
    live: tuple[str, ...], dataset: Path, t3d: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("transfer", dataset, *TRANSFER, *live, "--max-steps", 3, "--seed")
    for name, seed, workers in (("one", 3, 0), ("two", 3, 2), ("other", 4, 0)):
        monkeypatch.setenv("T3D_CACHE", str(tmp_path / f"cache-{name}"))
        outcome = t3d(*flags, seed, "--workers", workers, "--output", tmp_path / name)
        assert outcome.code == 0, outcome.err
    _assert_same_tensors(tmp_path / "two", tmp_path / "one", "weights.safetensors")
    _assert_same_tensors(tmp_path / "two", tmp_path / "one", "matcher.safetensors")
    assert log_rows(tmp_path / "two") == log_rows(tmp_path / "one")
    assert log_rows(tmp_path / "other") != log_rows(tmp_path / "one")


def test_second_run_does_not_ask_the_teacher(
    dataset: Path, teachers: Path, empty_cache: Path, t3d: Call, tmp_path: Path
) -> None:
    flags = ("transfer", dataset, *OWN, f"{teachers}:convolution", "--max-steps", 2)
    assert t3d(*flags, "--output", tmp_path / "one").code == 0
    calls = teachers.with_name("calls").stat().st_size
    summary = _summary(tmp_path / "one")
    assert calls == summary["clips"] + summary["held_out_clips"]  # one call a window
    assert t3d(*flags, "--output", tmp_path / "two", "--seed", 5).code == 0
    assert teachers.with_name("calls").stat().st_size == calls
    assert len(list((empty_cache / "teacher").glob("*.sqlite"))) == 1


def test_two_processes_teach_and_report_once(
    dataset: Path, teachers: Path, empty_cache: Path, t3d: Call, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    flags = ("--output", run, *OWN, f"{teachers}:convolution", "--max-steps", 3, "--devices", 2, "--probe", dataset)
    outcome = finish(start("transfer", dataset, *flags, launcher=[sys.executable, "-m", "t3d"]))
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("3 updates") == 1
    assert outcome.out.count("linear: ") == 1
    shown = ("features of ", "teaching ", "epoch ", "probing ", "warning: ")
    assert all(line.startswith(shown) for line in outcome.err.splitlines()), outcome.err
    summary = _summary(run)
    assert teachers.with_name("calls").stat().st_size == summary["clips"] + summary["held_out_clips"]
    assert (run / "matcher.safetensors").exists()
    assert t3d("train", dataset, "--output", tmp_path / "next", *MICRO, "--max-steps", 1, "--init", run).code == 0


def test_probe_is_printed_and_kept_and_changes_nothing(
    transferred: Path, dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    flags = (*TRANSFER, "--max-steps", 4, "--probe", dataset)
    outcome = t3d("transfer", dataset, "--split", 1, "--output", tmp_path, *flags)
    assert outcome.code == 0, outcome.err
    probe = _summary(tmp_path)["probe"]
    assert (probe["data"], probe["level"], probe["split"]) == (str(dataset), "video", "test (column split)")
    assert list(probe["top1"]) == ["5 nearest neighbours", "linear"]
    for name, share in probe["top1"].items():
        assert round(5 * share, 6) in range(6)  # of five test videos
        assert f"frozen network on {dataset}, {name}: {share:.1%} of test videos" in outcome.out
    _assert_same_tensors(tmp_path, transferred, "weights.safetensors")
    assert log_rows(tmp_path) == log_rows(transferred)


def test_probe_of_broken_videos_costs_no_weights(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    shutil.copytree(dataset.parent, tmp_path / "labelled")
    for index in range(5):
        (tmp_path / "labelled" / "clips" / f"test{index}.mp4").write_bytes(b"")
    flags = (*TRANSFER, "--max-steps", 2, "--probe", tmp_path / "labelled" / dataset.name)
    outcome = t3d("transfer", dataset, "--output", tmp_path / "run", *flags)
    assert outcome.code == 2
    assert "none of the 5 videos of test (column split) can be decoded" in outcome.err
    assert "Traceback" not in outcome.err
    assert (tmp_path / "run" / "weights.safetensors").exists()
    assert (tmp_path / "run" / "matcher.safetensors").exists()
    resumed = ("transfer", dataset, "--output", tmp_path / "run", *flags[:-1], dataset, "--resume")
    assert "--probe" in t3d(*resumed).err  # another one is another run


def test_shuffled_pairs_differ_from_the_true_ones_only_in_what_the_teacher_saw(
    transferred: Path, dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    flags = (*TRANSFER, "--max-steps", 4, "--control", "shuffled-pairs")
    outcome = t3d("transfer", dataset, "--split", 1, "--output", tmp_path, *flags)
    assert outcome.code == 0, outcome.err
    assert _trained_on(tmp_path) == _trained_on(transferred)
    assert _summary(tmp_path)["clips"] == _summary(transferred)["clips"]
    assert log_rows(tmp_path) != log_rows(transferred)


def test_colour_statistics_need_no_network(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    flags = (*TRANSFER, "--teacher", "densenet121", "--max-steps", 4, "--control", "colour-statistics")
    outcome = t3d("transfer", dataset, "--output", tmp_path, *flags)
    assert outcome.code == 0, outcome.err
    card = json.loads((tmp_path / "config.json").read_text())["model"]
    assert card["arch"] == card["training"]["teacher"]["name"] == "colour_statistics"
    assert load_file(tmp_path / "weights.safetensors") == {}
    assert load_file(tmp_path / "matcher.safetensors")["student.weight"].shape == (1024, 6)
    assert _summary(tmp_path)["probe"] is None


@pytest.mark.parametrize(
    "flags",
    [
        ("--hard-negatives", "--live", "--contrastive", 1),
        ("--negatives", "independent", "--modality", "difference"),
        ("--windows", 1, "--pictures", 1, "--teacher-size", 16),
        ("--accumulate", 2, "--clip-norm", 1, "--schedule", "plateau", "--early-stop-epochs", 1),
    ],
    ids=lambda flags: " ".join(map(str, flags)),
)
def test_every_kind_of_transfer_runs(flags: tuple[object, ...], dataset: Path, t3d: Call, tmp_path: Path) -> None:
    outcome = t3d("transfer", dataset, "--output", tmp_path, *TRANSFER, "--max-steps", 3, *flags)
    assert outcome.code == 0, outcome.err
    share = _summary(tmp_path)["held_out_matching"]
    assert 0 <= share <= 1
    assert f"matching on held-out videos: {share:.1%}" in outcome.out


def test_without_classes_nothing_can_be_predicted_or_evaluated(transferred: Path, dataset: Path, t3d: Call) -> None:
    before = sorted(transferred.iterdir())
    for command in (("predict", transferred, dataset.parent / "clips"), ("evaluate", transferred, dataset)):
        outcome = t3d(*command)
        assert outcome.code == 2
        assert outcome.out == ""
        assert outcome.err.count("\n") == 1
        assert f"t3d train DATA --init {transferred}" in outcome.err
    assert sorted(transferred.iterdir()) == before


def test_overwriting_leaves_no_matcher_of_another_run(
    transferred: Path, dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    run = shutil.copytree(transferred, tmp_path / "run")
    refused = t3d("transfer", dataset, "--output", run, *TRANSFER)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert (run / "matcher.safetensors").exists()
    assert t3d("train", dataset, "--output", run, *MICRO, "--max-steps", 1, "--overwrite").code == 0
    assert not (run / "matcher.safetensors").exists()


def test_recorded_flags_are_those_of_the_command(
    transferred: Path, dataset: Path, rebuilt: Callable[[Path], ModelCard]
) -> None:
    flags = json.loads((transferred / "config.json").read_text())["train"]
    assert (flags["data"], flags["split"], flags["teacher"]["teacher"]) == (str(dataset), 1, "colour_statistics")
    assert flags["pairs"] == {
        "negatives": "in-batch",
        "hard_negatives": False,
        "contrastive": 0.0,
        "matcher_norm": True,
        "holdout_fraction": 0.1,
        "control": "none",
    }
    assert rebuilt(transferred).clip.num_frames == 4


@pytest.fixture
def rebuilt() -> Callable[[Path], ModelCard]:
    return lambda folder: ModelCard.from_json(json.dumps(json.loads((folder / "config.json").read_text())["model"]))
