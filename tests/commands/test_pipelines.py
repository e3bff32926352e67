"""From one command to the next, as a user types them: what weights become of others, and what is said about it."""

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import t3d as package
from program import MICRO, TRANSFER, Call
from t3d import cli
from t3d.models.checkpoints import file_hash, read_weights

STILL = (*MICRO, "--lr", "0", "--ema-decay", "None", "--max-steps")
"""The weights stay as they begin, but for the statistics of batches."""
FROZEN = ("--freeze", "6")
"""And so do these."""


def _card(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())["model"]


def _lineage(folder: Path) -> list[dict[str, Any]]:
    lineage = _card(folder)["training"]["lineage"]
    assert read_weights(folder)[1].training["lineage"] == lineage
    return lineage


def _assert_ancestor(entry: dict[str, Any], folder: Path) -> None:
    file = folder / "weights.safetensors"
    assert (entry["file"], entry["sha256"]) == (str(file), file_hash(file))
    assert entry["command"] == _card(folder)["training"]["command"]


def test_training_begins_with_the_very_weights_of_the_transfer(
    transferred: Path, dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    flags = ("train", dataset, "--output", tmp_path, *STILL, 1, "--init", transferred)
    outcome = t3d(*flags, *FROZEN)
    assert outcome.code == 0, outcome.err
    before, after = load_file(transferred / "weights.safetensors"), load_file(tmp_path / "weights.safetensors")
    assert after.keys() - before.keys() == {"classifier.weight", "classifier.bias"}
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert "the head starts anew" not in outcome.err  # there was none


def test_without_freezing_all_that_learns_begins_with_them_too(
    transferred: Path, dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    assert (
        t3d("train", dataset, "--output", tmp_path, *STILL, 1, "--init", transferred / "weights.safetensors").code == 0
    )
    before, after = load_file(transferred / "weights.safetensors"), load_file(tmp_path / "weights.safetensors")
    learnt = [name for name in before if "running" not in name and "num_batches" not in name]
    assert [name for name in learnt if not torch.equal(before[name], after[name])] == []


@pytest.fixture(scope="module")
def fine_tuned(transferred: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The transfer, taught half of the labels."""
    folder = tmp_path_factory.mktemp("runs") / "fine-tuned"
    flags = ("--init", str(transferred), "--train-fraction", "0.5", "--max-steps", "2")
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", str(dataset), "--output", str(folder), *MICRO, *flags])
    assert ended.value.code == 0
    return folder


def test_results_name_the_transfer_they_came_from(
    fine_tuned: Path, transferred: Path, t3d: Call, tmp_path: Path
) -> None:
    (entry,) = _lineage(fine_tuned)
    _assert_ancestor(entry, transferred)
    assert (entry["arch"], entry["inflated"]) == ("t3d_tiny", None)
    assert entry["command"].startswith("t3d transfer ")
    outcome = t3d("evaluate", fine_tuned, "--output", tmp_path, "--workers", 0)
    assert outcome.code == 0, outcome.err
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["training"]["lineage"] == [entry]
    assert not [line for line in metrics["warnings"] if "trained on" in line]
    assert (tmp_path / "report.html").exists()


def test_share_of_the_labels_is_drawn_from_every_class(fine_tuned: Path, dataset: Path) -> None:
    with (fine_tuned / "trained_on.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["label"] for row in rows) == ["a", "a", "b", "b"]  # of four videos each
    assert _card(fine_tuned)["training"]["split_text"].endswith("0.5 of every class")


def test_three_ancestors_in_order(
    fine_tuned: Path, transferred: Path, dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    """Transfer, then two fine-tunings, then one on very few labels."""
    third, last = tmp_path / "third", tmp_path / "last"
    assert t3d("train", dataset, "--output", third, *MICRO, "--max-steps", 1, "--init", fine_tuned).code == 0
    flags = ("--labels-per-class", 1, "--max-steps", 1, "--init", third)
    assert t3d("train", dataset, "--output", last, *MICRO, *flags).code == 0
    lineage = _lineage(last)
    assert len(lineage) == 3
    for entry, folder in zip(lineage, (transferred, fine_tuned, third), strict=True):
        _assert_ancestor(entry, folder)
    with (last / "trained_on.csv").open(newline="") as file:
        assert sorted(row["label"] for row in csv.DictReader(file)) == ["a", "b"]
    assert _card(last)["training"]["split_text"].endswith("1 videos a class")


def test_more_labels_than_there_are_take_all_and_say_so(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    flags = (*MICRO, "--max-steps", 1, "--labels-per-class", 9)
    outcome = t3d("train", dataset, "--output", tmp_path, *flags)
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("warning: ") >= 1
    with (tmp_path / "trained_on.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 8


def test_layer_of_the_transfer_is_kept_exactly(transferred: Path, dataset: Path, t3d: Call, tmp_path: Path) -> None:
    flags = ("--init", transferred, "--keep-fc")
    outcome = t3d("train", dataset, "--output", tmp_path, *STILL, 1, *flags)
    assert outcome.code == 0, outcome.err
    weights, matcher = load_file(tmp_path / "weights.safetensors"), load_file(transferred / "matcher.safetensors")
    assert torch.equal(weights["neck.weight"], matcher["student.weight"])
    assert torch.equal(weights["neck.bias"], matcher["student.bias"])
    assert weights["classifier.weight"].shape == (2, 1024)
    assert _card(tmp_path)["overrides"]["neck"] == 1024
    again = tmp_path / "again"
    assert t3d("train", dataset, "--output", again, *STILL, 1, "--init", tmp_path, "--overrides", "neck=1024").code == 0
    assert torch.equal(load_file(again / "weights.safetensors")["neck.weight"], weights["neck.weight"])
    assert t3d("evaluate", tmp_path, dataset, "--workers", 0).code == 0


def test_layer_of_a_flat_transfer_is_kept_when_its_network_is_inflated(
    dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    flat, run = tmp_path / "flat", tmp_path / "run"
    teach = (*TRANSFER, "--twin", "--num-frames", 1, "--max-steps", 2)
    assert t3d("transfer", dataset, "--output", flat, *teach).code == 0
    outcome = t3d("train", dataset, "--output", run, *STILL, 1, "--init", flat, "--inflate", "centre", "--keep-fc")
    assert outcome.code == 0, outcome.err
    assert "random: classifier\n" in outcome.err
    weights, matcher = load_file(run / "weights.safetensors"), load_file(flat / "matcher.safetensors")
    assert torch.equal(weights["neck.weight"], matcher["student.weight"])


@pytest.fixture(scope="module")
def twin(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 2D twin, trained on single frames."""
    folder = tmp_path_factory.mktemp("runs") / "twin"
    flags = ("--twin", "--num-frames", "1", "--max-steps", "3")
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", str(dataset), "--output", str(folder), *MICRO, *flags])
    assert ended.value.code == 0
    return folder


def test_inflated_twin_keeps_its_head_and_its_kernels(twin: Path, dataset: Path, t3d: Call, tmp_path: Path) -> None:
    flags = ("--init", twin, "--inflate", "centre", *FROZEN)
    outcome = t3d("train", dataset, "--output", tmp_path, *STILL, 1, *flags)
    assert outcome.code == 0, outcome.err
    assert "tensors inflated (centre), 0 stay random" in outcome.err
    flat, grown = load_file(twin / "weights.safetensors"), load_file(tmp_path / "weights.safetensors")
    assert flat.keys() == grown.keys()
    for name, tensor in grown.items():
        if tensor.shape == flat[name].shape:
            assert torch.equal(tensor, flat[name]), name
            continue
        planes = [bool(plane.any()) for plane in tensor.unbind(dim=2)]
        assert sum(planes) == 1
        assert torch.equal(tensor[:, :, planes.index(True)], flat[name][:, :, 0])
    (entry,) = _lineage(tmp_path)
    _assert_ancestor(entry, twin)
    assert entry["inflated"] == "centre"


@pytest.mark.parametrize("how", ["centre", "repeat"])
def test_inflated_twin_says_of_still_pictures_what_the_twin_says(
    how: str, twin: Path, dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    sees_edges_again = ("--overrides", "replicate_time=true") if how == "repeat" else ()
    flags = ("--num-frames", 8, "--init", twin, "--inflate", how, *sees_edges_again, *FROZEN)
    assert t3d("train", dataset, "--output", tmp_path, *STILL, 1, *flags).code == 0
    picture = torch.randint(256, (32, 48, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    still = picture.expand(16, -1, -1, -1).contiguous()
    flat, grown = (package.load(run, device=torch.device("cpu")).predict(still) for run in (twin, tmp_path))
    assert abs(flat.scores[0] - 0.5) > 1e-3  # so that equality says something
    assert grown.scores == pytest.approx(flat.scores, abs=1e-6)


def test_transfer_teaches_what_a_probe_and_a_training_can_use_again(
    dataset: Path, teachers: Path, t3d: Call, tmp_path: Path
) -> None:
    """The whole way on another network, with a teacher of one's own."""
    run, tuned = tmp_path / "run", tmp_path / "tuned"
    arch = ("--arch", "densenet3d_tiny")
    flags = (*TRANSFER, *arch, "--teacher", f"{teachers}:convolution", "--max-steps", 2)
    outcome = t3d("transfer", dataset, "--split", 1, "--output", run, *flags)
    assert outcome.code == 0, outcome.err
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("next: t3d train DATA ")]
    told = shlex.split(line.removeprefix("next: t3d train DATA "))
    assert ("--init", str(run), *arch) == tuple(told[:4])
    small = ("--output", tuned, "--batch-size", 2, "--workers", 0, "--accelerator", "cpu", "--max-steps", 2)
    assert t3d("train", dataset, *told, *small).code == 0  # what it says is enough for the same network and clips
    cards = [read_weights(folder)[1] for folder in (run, tuned)]
    assert (cards[0].clip, cards[0].pixels, cards[0].overrides) == (cards[1].clip, cards[1].pixels, cards[1].overrides)
    assert t3d("evaluate", tuned, "--workers", 0).code == 0
    assert json.loads(t3d("predict", tuned, dataset.parent / "clips" / "test0.mp4", "--json").out)[0]["predictions"]
    assert t3d("compare", tuned).code == 0


def test_other_modality_than_the_ancestors_is_said(dataset: Path, transferred: Path, t3d: Call, tmp_path: Path) -> None:
    flags = (*MICRO, "--max-steps", 1, "--init", transferred, "--modality", "difference", "--output", tmp_path / "run")
    outcome = t3d("train", dataset, *flags)
    assert outcome.code == 0, outcome.err
    assert "learnt on --modality rgb, this training sees difference" in outcome.err


def test_inflation_wants_a_2d_ancestor_and_a_3d_network(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    twin, solid = tmp_path / "twin", tmp_path / "solid"
    assert t3d("train", dataset, *MICRO, "--max-steps", 1, "--twin", "--num-frames", 1, "--output", twin).code == 0
    assert t3d("train", dataset, *MICRO, "--max-steps", 1, "--output", solid).code == 0
    train = ("train", dataset, *MICRO, "--output", tmp_path / "run")
    refused = {
        "holds a 3D network already; leave out --inflate": ("--init", solid, "--inflate", "centre"),
        "into a 2D network it would stay as it is": ("--init", twin, "--inflate", "centre", "--twin"),
        "it is a 2D twin: give --inflate centre": ("--init", twin),
    }
    for said, flags in refused.items():
        outcome = t3d(*train, *flags)
        assert (outcome.code, said in outcome.err) == (2, True), outcome.err
    assert not (tmp_path / "run").exists()


def test_compare_leaves_out_what_was_not_evaluated(
    dataset: Path, transferred: Path, trained: Path, t3d: Call, tmp_path: Path
) -> None:
    evaluated = tmp_path / "evaluated"
    assert t3d("evaluate", trained, "--workers", 0, "--output", evaluated).code == 0
    outcome = t3d("compare", transferred, evaluated)
    assert outcome.code == 0
    assert f"{transferred}: no metrics, left out" in outcome.err
    assert str(evaluated) in outcome.out
    assert t3d("compare", transferred).code == 2
