from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t3d.errors import CheckpointError
from t3d.evaluation.metrics import VideoResult
from t3d.evaluation.predictions import read_predictions, write_predictions

LABELS = ("clap", 'run, "fast"', "score:wave")
RESULTS = [
    VideoResult(video="a.mp4", label=0, scores=(0.1 + 0.2, 1 / 3, 1e-17), num_views=4, views_correct=3, tag="near"),
    VideoResult(video="b, c.mp4", label=2, scores=(0.25, 0.7000000000000001, 0.05), num_views=2, views_correct=1),
    VideoResult(video="d.mp4", label=1, scores=(), num_views=0, views_correct=0, error="d.mp4: cut,\nshort"),
    VideoResult(video="e.mp4", label=-1, scores=(0.0, 1.0, 0.0), num_views=1, views_correct=0),
]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_is_written_is_read_back_exactly(kind: str, tmp_path: Path) -> None:
    file = write_predictions(tmp_path, RESULTS, LABELS, kind=kind)
    assert read_predictions(tmp_path) == read_predictions(file) == (RESULTS, LABELS)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_nothing_decodable_is_read_back_too(kind: str, tmp_path: Path) -> None:
    write_predictions(tmp_path, RESULTS[2:3], LABELS, kind=kind)
    assert read_predictions(tmp_path) == (RESULTS[2:3], LABELS)


def test_a_folder_without_predictions_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"predictions\.csv: no predictions; run t3d evaluate first"):
        read_predictions(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "video,label\n",
        "video,label\na,b\n",
        "video,label,num_views,views_correct,tag,error,score:b\na,c,1,1,,,0.5\n",
        "video,label,num_views,views_correct,tag,error,score:b\na,b,one,1,,,0.5\n",
        "video,label,num_views,views_correct,tag,error,score:b,score:c\na,b,1,1,,,0.5\n",
        'video,label\n"a,b\n',
        "\ud800",
    ],
)
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(CheckpointError, match=r"predictions\.csv: not the predictions of an evaluation"):
        read_predictions(tmp_path)


def test_other_parquet_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "predictions.parquet"
    pq.write_table(pa.table({"x": [1]}), file)
    with pytest.raises(CheckpointError, match="not the predictions"):
        read_predictions(file)
    file.write_bytes(b"PAR1")
    with pytest.raises(CheckpointError, match="not the predictions"):
        read_predictions(tmp_path)
