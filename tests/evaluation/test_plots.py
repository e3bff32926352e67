from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from t3d.evaluation.plots import (
    MAX_LABELLED_CLASSES,
    class_figure,
    confusion_figure,
    save_figure,
    timeline_figure,
    training_figure,
)


def _ticks(labels: object) -> list[str]:
    return [label.get_text() for label in labels]


def test_confusion_shows_shares_and_counts() -> None:
    figure = confusion_figure([[3, 1, 0], [0, 0, 0], [0, 5, 5]], ["a", "b", "c"])
    axes = figure.axes[0]
    shares = axes.images[0].get_array().tolist()
    assert shares == [[0.75, 0.25, 0.0], [0.0, 0.0, 0.0], [0.0, 0.5, 0.5]]  # a class without videos is no error
    texts = {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "3", (0, 1): "1", (2, 1): "5", (2, 2): "5"}
    assert _ticks(axes.get_xticklabels()) == _ticks(axes.get_yticklabels()) == ["a", "b", "c"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_many_classes_have_no_names() -> None:
    count = MAX_LABELLED_CLASSES + 1
    figure = confusion_figure([[1] * count] * count, [f"class {index}" for index in range(count)])
    assert not any(text.startswith("class") for text in _ticks(figure.axes[0].get_xticklabels()))
    assert len(figure.axes[0].texts) == 0


def test_classes_are_bars_with_the_worst_on_top() -> None:
    figure = class_figure({0: (0.5, 4), 1: (1.0, 2), 3: (0.0, 1)}, ["a", "b", "c", "d"])
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1.0, 0.5, 0.0]  # upwards
    assert _ticks(axes.get_yticklabels()) == ["b (2)", "a (4)", "d (1)"]


def test_training_has_a_curve_for_each_figure_there_is() -> None:
    rows = [
        {"epoch": 1, "train_loss": 2.0, "train_top1": 0.1, "validation_loss": 2.5, "validation_top1": 0.2},
        {"epoch": 2, "train_loss": 1.0, "train_top1": 0.6, "validation_loss": 1.5, "validation_top1": 0.4},
    ]
    loss, top1 = training_figure(rows).axes
    assert [(line.get_label(), line.get_ydata().tolist()) for line in loss.lines] == [
        ("train", [2.0, 1.0]),
        ("validation", [2.5, 1.5]),
    ]
    assert [line.get_ydata().tolist() for line in top1.lines] == [[0.1, 0.6], [0.2, 0.4]]
    assert all(line.get_xdata().tolist() == [1, 2] for line in (*loss.lines, *top1.lines))
    plain = [{name: row[name] for name in ("epoch", "train_loss", "train_top1")} for row in rows]
    assert [len(axes.lines) for axes in training_figure(plain).axes] == [1, 1]
    assert [len(axes.lines) for axes in training_figure([]).axes] == [0, 0]


def test_a_timeline_has_steps_for_the_classes_that_lead() -> None:
    scores = torch.tensor([[0.75, 0.125, 0.125], [0.25, 0.25, 0.5]])
    axes = timeline_figure(scores, [(0.0, 0.5), (0.5, 1.0)], ["a", "b", "c"], top=2).axes[0]
    steps = {patch.get_label(): patch.get_data() for patch in axes.patches}
    assert list(steps) == ["a", "c"]
    assert steps["a"].values.tolist() == [0.75, 0.25]
    assert steps["c"].values.tolist() == [0.125, 0.5]
    assert steps["a"].edges.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("figure", "size"),
    [
        (training_figure([]), (990, 352)),
        (class_figure({0: (1.0, 1)}, ["a"]), (770, round(1.46 * 110))),
        (confusion_figure([[1]], ["a"]), (round(4.86 * 110), round(3.86 * 110))),
    ],
)
def test_files_are_pictures_of_the_figures_size(figure: Figure, size: tuple[int, int], tmp_path: Path) -> None:
    save_figure(figure, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == pytest.approx(size, abs=1)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_what_was_measured_is_drawn_and_named() -> None:
    rows = [{"epoch": 1, "train_loss": 2.0, "train_matching": 0.5, "validation_matching": 0.75, "train_top1": 0.1}]
    loss, matching = training_figure(rows, measure="matching").axes
    assert [line.get_ydata().tolist() for line in matching.lines] == [[0.5], [0.75]]
    assert (loss.get_ylabel(), matching.get_ylabel()) == ("clip loss", "matching")
    assert training_figure(rows).axes[1].get_ylabel() == "top-1"
