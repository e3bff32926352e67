import base64
import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from t3d.evaluation.metrics import VideoResult, summarise
from t3d.evaluation.predictions import prediction_row, write_predictions
from t3d.evaluation.report import write_report

HOSTILE = '<script>alert("x")</script>'
LABELS = ("clap", f"run & {HOSTILE}", 'wave, "big"')
SCORES = ((0.1 + 0.2, 1 / 3, 1e-17), (0.25, 0.7000000000000001, 0.05))


def _results() -> list[VideoResult]:
    return [
        VideoResult(video="a.mp4", label=0, scores=SCORES[0], num_views=4, views_correct=3, tag="near"),
        VideoResult(video=f"{HOSTILE}, b.mp4", label=0, scores=SCORES[1], num_views=2, views_correct=1),
        VideoResult(video="c.mp4", label=2, scores=(), num_views=0, views_correct=0, error=f"c.mp4: {HOSTILE}\nline"),
    ]


def _metrics(results: list[VideoResult], **changes: object) -> dict[str, Any]:
    return {
        "model": {"arch": "t3d_tiny"},
        "dataset": {"name": "tiny", "root": "/d", "format": "folder", "split": "split 1 test", "missing": []},
        "protocol": {
            "views": "non-overlapping clips x centre crop",
            "num_frames": 16,
            "frame_stride": 2,
            "order": "forward",
            "crop_size": 64,
            "modality": "rgb",
            "resize": 72,
        },
        "selection": "last epoch",
        "seed": 3,
        "checkpoint": {"file": "w", "sha256": "0123456789abcdef"},
        "training": {"lineage": []},
        "command": "t3d evaluate run",
        "versions": {"t3d": "0.1", "torch": "2.6"},
        "created": "2026-01-01T00:00:00+00:00",
        "warnings": [],
        "undecodable": [result.error for result in results if result.error],
        **summarise(results),
        **changes,
    }


def test_csv_keeps_every_digit(tmp_path: Path) -> None:
    path = write_predictions(tmp_path, _results(), LABELS)
    assert path == tmp_path / "predictions.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["video"] for row in rows] == ["a.mp4", f"{HOSTILE}, b.mp4", "c.mp4"]
    for row, scores in zip(rows, SCORES, strict=False):
        assert tuple(float(row[f"score:{label}"]) for label in LABELS) == scores
    assert rows[0] | {"video": ""} == {
        "video": "",
        "label": "clap",
        "predicted": LABELS[1],
        "correct": "False",
        "num_views": "4",
        "views_correct": "3",
        "tag": "near",
        "error": "",
        **{f"score:{label}": repr(score) for label, score in zip(LABELS, SCORES[0], strict=True)},
    }
    assert rows[2]["error"] == f"c.mp4: {HOSTILE}\nline"
    assert {rows[2][f"score:{label}"] for label in LABELS} | {rows[2]["predicted"]} == {""}


def test_parquet_keeps_types_and_digits(tmp_path: Path) -> None:
    path = write_predictions(tmp_path, _results(), LABELS, kind="parquet")
    assert path == tmp_path / "predictions.parquet"
    assert pq.read_table(path).to_pylist() == [prediction_row(result, LABELS) for result in _results()]
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.parquet"]


def test_a_row_says_whether_the_prediction_is_right() -> None:
    right = VideoResult(video="v", label=1, scores=(0.1, 0.8, 0.1), num_views=1, views_correct=1)
    row = prediction_row(right, LABELS)
    assert (row["label"], row["predicted"], row["correct"]) == (LABELS[1], LABELS[1], True)


def test_a_row_without_label_has_none() -> None:
    row = prediction_row(VideoResult(video="v", label=-1, scores=(1.0, 0.0, 0.0), num_views=1, views_correct=0), LABELS)
    assert (row["label"], row["predicted"], row["correct"]) == (None, "clap", False)


def test_how_flow_was_found_is_said_where_it_was_seen(tmp_path: Path) -> None:
    results = _results()
    pictures, flow = _metrics(results), _metrics(results)
    flow["protocol"] |= {"modality": "flow", "flow_method": "farneback", "flow_bound": 0.1}
    pages = [write_report(tmp_path, metrics, results, LABELS).read_text() for metrics in (pictures, flow)]
    assert ["farneback, up to 0.1 of the short side" in page for page in pages] == [False, True]


class _Page(HTMLParser):
    """Tags, addresses and headings of a page, and whether tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def _page(folder: Path, metrics: dict[str, Any], results: list[VideoResult], labels: tuple[str, ...] = LABELS) -> _Page:
    path = write_report(folder, metrics, results, labels)
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def test_the_page_escapes_names_and_needs_no_other_file(tmp_path: Path) -> None:
    results = _results()
    hostile = _metrics(results, warnings=[HOSTILE], command=HOSTILE)
    hostile["dataset"] |= {"name": HOSTILE, "missing": [HOSTILE], "split": HOSTILE}
    page = _page(tmp_path, hostile, results)
    assert "script" not in page.tags
    assert "".join(page.text).count(HOSTILE) >= 7  # title, heading, warning, command, split, missing, video, label
    assert page.addresses
    for address in page.addresses:
        kind, _, data = address.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
    assert "http" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_page_shows_the_figures(tmp_path: Path) -> None:
    results = [
        VideoResult(video=f"{index}.mp4", label=0, scores=(0.9, 0.1), num_views=2, views_correct=index % 3, tag="t")
        for index in range(4)
    ]
    results.append(VideoResult(video="wrong.mp4", label=0, scores=(0.0457, 0.9543), num_views=2, views_correct=0))
    page = _page(tmp_path, _metrics(results), results, ("clap", "run"))
    text = " ".join(page.text)
    assert "80.0%" in text
    assert "37.6% to 96.4%" in text  # Wilson's interval of 4 of 5
    assert re.search(r"video top-1\s+80\.00%", text)
    assert re.search(r"video top-5\s+100\.00%", text)
    assert re.search(r"clip top-1\s+30\.00% \(10 clips\)", text)  # 0 + 1 + 2 + 0 + 0 of 10
    assert re.search(r"By tag\s+t\s+100\.0% of 4", text)
    assert re.search(r"wrong\.mp4\s+clap\s+run\s+0\.954", text)
    assert "0123456789abcdef" in text


def test_empty_sections_are_absent(tmp_path: Path) -> None:
    right = [VideoResult(video="a", label=0, scores=(1.0, 0.0), num_views=1, views_correct=1)]
    page = _page(tmp_path, _metrics(right), right, ("clap", "run"))
    assert page.headings == ["How it was measured", "Confusion matrix", "Classes"]


def test_full_sections_are_there(tmp_path: Path) -> None:
    results = _results()
    (tmp_path / "training.png").write_bytes(b"\x89PNG")
    metrics = _metrics(results)
    metrics["dataset"]["missing"] = ["/d/gone.mp4"]
    assert _page(tmp_path, metrics, results).headings == [
        *("By tag", "How it was measured", "Confusion matrix", "Classes", "Training"),
        "Videos that could not be decoded, counted as wrong",
        "Videos the list names that are not there, not counted",
        "Confident mistakes",
    ]


def test_the_surest_mistakes_come_first_and_are_twenty(tmp_path: Path) -> None:
    shares = [0.51 + 0.01 * ((7 * index) % 30) for index in range(30)]
    results = [
        VideoResult(video=f"{share:.2f}.mp4", label=0, scores=(1 - share, share), num_views=1, views_correct=0)
        for share in shares
    ]
    text = " ".join(_page(tmp_path, _metrics(results), results, ("clap", "run")).text)
    assert re.findall(r"(0\.\d\d)\.mp4", text) == [f"{0.80 - 0.01 * rank:.2f}" for rank in range(20)]


def test_nothing_decodable_makes_a_page_too(tmp_path: Path) -> None:
    broken = [VideoResult(video="a", label=0, scores=(), num_views=0, views_correct=0, error="a: truncated")]
    page = _page(tmp_path, _metrics(broken), broken, ("clap", "run"))
    assert "clip top-1" not in " ".join(page.text)
    assert write_predictions(tmp_path, broken, ("clap", "run"), kind="parquet").exists()


def test_metrics_are_written_as_they_are(tmp_path: Path) -> None:
    results = _results()
    metrics = _metrics(results)
    write_report(tmp_path, metrics, results, LABELS)
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert read == json.loads(json.dumps(metrics))
    assert read["video"]["top1"] == 0.0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("classes.png", "confusion.png", "metrics.json", "report.html"),
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_predictions_are_replaced_at_once(kind: str, tmp_path: Path) -> None:
    for count in (3, 1):
        path = write_predictions(tmp_path, _results()[:count], LABELS, kind=kind)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_page_names_the_runs_the_weights_came_from_oldest_first(tmp_path: Path) -> None:
    results = _results()
    twin = {
        "arch": "t3d_tiny",
        "file": "runs/twin/w",
        "sha256": "aa",
        "command": "t3d train x --twin",
        "inflated": None,
    }
    ancestors = [
        twin,
        {"arch": "densenet (published)", "file": "d.pth", "sha256": "bb", "command": None, "inflated": "centre"},
    ]
    write_report(tmp_path, _metrics(results, training={"lineage": ancestors}), results, LABELS)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    lines = [
        "t3d_tiny, runs/twin/w (sha256 aa): t3d train x --twin",
        "densenet (published), d.pth (sha256 bb): published, inflated (centre)",
    ]
    assert "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>" in page
