import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from t3d.errors import CheckpointError, ConfigError
from t3d.models.checkpoints import ModelCard
from t3d.run_files import LAST_NAME, STATE_NAME, SUMMARY_NAME, WEIGHTS_NAME, versions
from t3d.training.run_dir import check_same_training, prepare_folder, write_config

TRAIN: dict[str, Any] = {
    "data": "videos",
    "output": "runs/a",
    "resume": False,
    "overwrite": False,
    "optimizer": {"lr": 0.1, "batch_size": 8, "clip_norm": None},
    "augment": {"scales": [1.0, 0.9]},
    "run": {"workers": 2, "checkpoint_steps": 200, "seed": 0},
}
DEFAULTS = {**TRAIN, "optimizer": {"lr": 0.5, "batch_size": 64, "clip_norm": None}}


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


STARTED = (STATE_NAME, LAST_NAME, WEIGHTS_NAME, "config.json", "log.csv")
FINISHED = (*STARTED, SUMMARY_NAME, "training.png")


def test_a_new_folder_is_made_with_room_for_the_state(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "runs" / "a", resume=False, overwrite=False)
    assert (tmp_path / "runs" / "a" / "trainer").is_dir()


def test_other_files_are_no_obstacle_and_stay(tmp_path: Path) -> None:
    _touch(tmp_path, "notes.txt")
    prepare_folder(tmp_path, resume=False, overwrite=True)
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize(
    ("held", "flags", "message"),
    [
        (FINISHED, {}, "holds a finished run; give another --output, or --overwrite to replace it"),
        (FINISHED, {"resume": True}, "holds a finished run"),
        (STARTED, {}, "holds an unfinished run; --resume goes on with it, --overwrite replaces it"),
        ((), {"resume": True}, "holds no run to resume; leave out --resume"),
    ],
)
def test_refusals(held: tuple[str, ...], flags: dict[str, bool], message: str, tmp_path: Path) -> None:
    folder = _touch(tmp_path / "run", *held)
    with pytest.raises(ConfigError) as caught:
        prepare_folder(folder, **{"resume": False, "overwrite": False, **flags})
    assert str(caught.value).startswith(f"{folder}: {message}")
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == sorted(held)


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "run")
    with pytest.raises(ConfigError, match="run: is a file; give a folder as --output"):
        prepare_folder(tmp_path / "run", resume=False, overwrite=True)


def test_an_unfinished_run_may_be_resumed_untouched(tmp_path: Path) -> None:
    prepare_folder(_touch(tmp_path, *STARTED), resume=True, overwrite=False)
    assert all((tmp_path / name).exists() for name in STARTED)


def test_overwriting_removes_every_result_of_the_old_run(tmp_path: Path) -> None:
    """Nothing of the old run may pass for a result of the new one."""
    results = (*FINISHED, "metrics.json", "predictions.csv", "predictions.parquet", "report.html", "confusion.png")
    prepare_folder(_touch(tmp_path, *results, "classes.png", "skipped.csv"), resume=False, overwrite=True)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["config.json"]  # written anew at once


def test_the_configuration_holds_the_card_and_every_flag(tmp_path: Path, card: ModelCard) -> None:
    write_config(tmp_path, card, {**TRAIN, "init": Path("w.safetensors")})
    document = json.loads((tmp_path / "config.json").read_text())
    assert ModelCard.from_json(json.dumps(document["model"])) == card
    assert document["train"] == {**TRAIN, "init": "w.safetensors"}
    assert document["versions"] == versions()
    assert set(versions()) == {"t3d", "torch", "av", "python"}


def test_opencv_is_named_where_flow_was_seen(tmp_path: Path, card: ModelCard) -> None:
    cv2 = pytest.importorskip("cv2")
    write_config(tmp_path, replace(card, pixels=replace(card.pixels, modality="flow")), TRAIN)
    assert json.loads((tmp_path / "config.json").read_text())["versions"] == {**versions(), "opencv": cv2.__version__}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"resume": True, "output": "elsewhere"},
        {"run": {"workers": 0, "checkpoint_steps": 1, "seed": 0}},
        {"augment": {"scales": (1.0, 0.9)}},
    ],
)
def test_the_same_training_may_go_on(change: dict[str, Any], tmp_path: Path, card: ModelCard) -> None:
    write_config(tmp_path, card, TRAIN)
    check_same_training(tmp_path, TRAIN | change, defaults=DEFAULTS)


def test_a_run_begun_before_there_was_a_flag_had_its_default(tmp_path: Path, card: ModelCard) -> None:
    write_config(tmp_path, card, TRAIN)
    defaults = {**DEFAULTS, "segments": {"segments": 1}, "head": "published"}
    check_same_training(tmp_path, {**TRAIN, "segments": {"segments": 1}, "head": "published"}, defaults=defaults)
    with pytest.raises(ConfigError, match="was started with --segments 1, now it is 3; resume with the same flags"):
        check_same_training(tmp_path, {**TRAIN, "segments": {"segments": 3}}, defaults=defaults)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "others"}, "--data videos, now it is others"),
        ({"run": {**TRAIN["run"], "seed": 1}}, "--seed 0, now it is 1"),
        ({"optimizer": {**TRAIN["optimizer"], "batch_size": 4}}, "--batch-size 8, now it is 4"),
        ({"optimizer": {**TRAIN["optimizer"], "clip_norm": 1.0}}, "--clip-norm None, now it is 1.0"),
    ],
)
def test_another_training_may_not(change: dict[str, Any], message: str, tmp_path: Path, card: ModelCard) -> None:
    write_config(tmp_path, card, TRAIN)
    with pytest.raises(ConfigError, match=f"was started with {message}; resume with the same flags"):
        check_same_training(tmp_path, TRAIN | change, defaults=DEFAULTS)


@pytest.mark.parametrize("content", [None, "", "{}", "[]", "{half"])
def test_an_unreadable_configuration_is_named(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read .*; start again with --overwrite"):
        check_same_training(tmp_path, TRAIN, defaults=DEFAULTS)
