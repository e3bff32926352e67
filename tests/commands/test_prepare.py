import csv
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from program import MICRO, Call, finish, start
from t3d.files import write_csv
from t3d.video import reencode
from t3d.video.pyav_reader import PyAVVideo
from t3d.video.reencode import NotFaithfulError, prepare_video
from t3d.video.spec import PreparedForm

SMALL = ("--short-side", 32, "--workers", 0)


@pytest.fixture
def here(dataset: Path, tmp_path: Path) -> Path:
    """A dataset of one's own."""
    return Path(shutil.copytree(dataset.parent, tmp_path / "data"))


def _lengths(folder: Path) -> dict[str, int]:
    lengths = {}
    for path in sorted(folder.rglob("*.mp4")):
        with PyAVVideo(path) as video:
            lengths[path.relative_to(folder).as_posix()] = len(video)
    return lengths


def _stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")}


def test_a_prepared_dataset_is_trained_and_tested_on_as_the_original(t3d: Call, here: Path, tmp_path: Path) -> None:
    out, run = tmp_path / "out", tmp_path / "run"
    outcome = t3d("data", "prepare", here, out, *SMALL, "--keyframes", 2)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"{out}: 13 videos, {8 * 8 + 28 + 5 * 8 + 10} frames, ")
    assert _lengths(out) == _lengths(here)
    described = json.loads((out / "prepared.json").read_text())
    assert described["complete"]
    assert described["settings"]["keyframes"] == 2
    assert described["settings"]["source"] == str(here)
    assert described["bytes_after"] == sum(path.stat().st_size for path in out.rglob("*.mp4"))
    assert t3d("train", out, "--output", run, *MICRO, "--max-steps", 1).code == 0
    assert t3d("evaluate", run, "--workers", 0, "--accelerator", "cpu").code == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert str(out) in json.dumps(metrics)
    with (run / "predictions.csv").open(newline="") as file:
        assert {row["video"] for row in csv.DictReader(file)} == {f"clips/test{index}.mp4" for index in range(5)}


def test_what_is_done_is_not_done_again_unless_its_source_changed(t3d: Call, here: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    t3d("data", "prepare", here, out, *SMALL)
    before = _stamps(out)
    os.utime(here / "clips" / "train3.mp4", ns=(1, 1))
    (out / "clips" / "train4.mp4").unlink()
    (out / "clips" / ".train5.partial.mp4").write_text("half of a file")
    with (out / "manifest.jsonl").open("a") as file:
        file.write('{"path": "clips/tra')
    assert t3d("data", "prepare", here, out, *SMALL).code == 0
    after = _stamps(out)
    assert {name for name in after if after[name] != before[name]} == {"train3.mp4", "train4.mp4"}


def test_a_source_that_moved_is_another(t3d: Call, here: Path, tmp_path: Path) -> None:
    out, moved = tmp_path / "out", tmp_path / "moved"
    t3d("data", "prepare", here, out, *SMALL)
    before = _stamps(out)
    here.rename(moved)
    refused = t3d("data", "prepare", moved, out, *SMALL)
    assert refused.code == 2
    assert f"was prepared from {here}; repeat that, name a new folder, or --overwrite" in refused.err
    assert _stamps(out) == before
    assert t3d("data", "prepare", moved, out, *SMALL, "--overwrite").code == 0
    after = _stamps(out)
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in after)


def test_a_row_that_names_another_file_gets_that_file(t3d: Call, here: Path, tmp_path: Path) -> None:
    """Both `clips/a.mp4` and `../clips/a.mp4` become `clips/a.mp4`."""
    out, table = tmp_path / "out", here / "lists" / "videos.csv"
    (table.parent / "clips").mkdir(parents=True)
    own = Path(shutil.copyfile(here / "clips" / "test0.mp4", table.parent / "clips" / "test0.mp4"))
    table.write_text("path,label\nclips/test0.mp4,a\n../clips/train1.mp4,b\n")
    assert t3d("data", "prepare", table, out, *SMALL).code == 0
    before = _stamps(out)
    table.write_text("path,label\n../clips/test0.mp4,a\n../clips/train1.mp4,b\n")
    own.unlink()
    assert t3d("data", "prepare", table, out, *SMALL).code == 0
    after = _stamps(out)
    assert {name for name in after if after[name] != before[name]} == {"test0.mp4"}


def test_a_command_killed_at_its_beginning_is_begun_again(t3d: Call, here: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in (".lock", ".prepared.partial.json"):
        (out / name).touch()
    assert t3d("data", "prepare", here, out, *SMALL).code == 0
    assert list(out.glob(".*")) == []


def test_what_was_written_for_an_older_plan_is_removed_and_nothing_else(t3d: Call, here: Path, tmp_path: Path) -> None:
    """Also a file that was begun, but whose end nobody noted."""
    out = tmp_path / "out"
    t3d("data", "prepare", here, out, *SMALL)
    shutil.copyfile(out / "clips" / "train0.mp4", out / "clips" / "begun.mp4")
    (out / "mine.txt").touch()
    with (out / "manifest.jsonl").open("a") as file:
        file.write('{"path": "clips/begun.mp4"}\n')
    rows = [row for row in _rows(here / "videos.csv") if row["path"] != "clips/train0.mp4"]
    write_csv(here / "videos.csv", rows)
    assert t3d("data", "prepare", here, out, *SMALL).code == 0
    assert not (out / "clips" / "begun.mp4").exists()
    assert not (out / "clips" / "train0.mp4").exists()
    assert (out / "mine.txt").exists()
    assert len(_rows(out / "videos.csv")) == len(rows)


def test_other_flags_are_refused_and_overwrite_begins_anew(t3d: Call, here: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    t3d("data", "prepare", here, out, *SMALL)
    before = _stamps(out)
    refused = t3d("data", "prepare", here, out, *SMALL, "--crf", 30)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "was prepared with --crf 23; repeat that, name a new folder, or --overwrite" in refused.err
    assert _stamps(out) == before
    (here / "clips" / "train0.mp4").unlink()
    assert t3d("data", "prepare", here, out, *SMALL, "--crf", 30, "--overwrite").code == 0
    after = _stamps(out)
    assert after.keys() == before.keys() - {"train0.mp4"}
    assert all(after[name] != before[name] for name in after)


def test_a_video_that_fails_goes_on_failing_and_is_named(t3d: Call, here: Path, tmp_path: Path) -> None:
    out, broken = tmp_path / "out", here / "clips" / "test1.mp4"
    broken.write_bytes(b"no video at all")
    outcome = t3d("data", "prepare", here, out, *SMALL)
    assert outcome.code == 1
    assert "1 cannot be decoded and fail as before" in outcome.out
    (row,) = _rows(out / "failed.csv")
    assert (row["path"], row["decodable"]) == ("clips/test1.mp4", "no")
    assert str(broken) in row["error"]
    assert (out / "clips" / "test1.mp4").read_bytes() == b"no video at all"
    assert t3d("data", "prepare", here, out, *SMALL).code == 1  # it is still so
    shutil.copyfile(here / "clips" / "test0.mp4", broken)
    assert t3d("data", "prepare", here, out, *SMALL).code == 0
    assert not (out / "failed.csv").exists()


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_parts_that_fail_are_the_whole_video_with_their_seconds(t3d: Call, here: Path, tmp_path: Path) -> None:
    (here / "videos.csv").write_text("path,label,start,end\nclips/test0.mp4,a,0.08,0.2\nclips/test0.mp4,b,90,91\n")
    out = tmp_path / "out"
    outcome = t3d("data", "prepare", here, out, *SMALL, "--trim")
    assert outcome.code == 1
    assert "1 cannot be decoded and fail as before" in outcome.out
    good, failed = _rows(out / "videos.csv")
    assert (good["path"], good["start"], good["end"]) == ("clips/test0_0.08-0.2.mp4", "", "")
    assert (failed["path"], failed["start"], failed["end"]) == ("clips/test0_90-91.mp4", "90", "91")
    assert (out / failed["path"]).read_bytes() == (here / "clips" / "test0.mp4").read_bytes()
    with PyAVVideo(out / good["path"]) as video:
        assert len(video) == 3  # frames 2, 3 and 4 of 25 a second


@pytest.fixture
def demanding(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Only files without loss are good enough; gives the crf of each attempt."""
    attempts = []

    def prepare(video: PyAVVideo, target: Path, form: PreparedForm, **span: int) -> None:
        attempts.append(form.crf)
        if form.crf:
            raise NotFaithfulError(f"{video.name}: too far from the original")
        prepare_video(video, target, form, **span)

    monkeypatch.setattr(reencode, "prepare_video", prepare)
    return attempts


def test_what_is_too_far_from_the_original_is_encoded_more_finely(
    t3d: Call, here: Path, tmp_path: Path, demanding: list[int]
) -> None:
    (here / "videos.csv").write_text("path,label,start,end\nclips/test0.mp4,a,0.08,0.2\n")
    out = tmp_path / "out"
    assert t3d("data", "prepare", here, out, *SMALL, "--trim").code == 0
    assert demanding == [23, 11, 5, 0]
    with PyAVVideo(out / "clips" / "test0_0.08-0.2.mp4") as video:
        assert len(video) == 3


def test_what_stays_too_far_is_a_copy_that_works(
    t3d: Call, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencode, "_MAX_DIFFERENCE", -1.0)
    (here / "videos.csv").write_text("path,label,start,end\nclips/test0.mp4,a,0.08,0.2\nclips/test1.mp4,b,,\n")
    out = tmp_path / "out"
    outcome = t3d("data", "prepare", here, out, *SMALL, "--trim")
    assert outcome.code == 1
    assert "2 cannot be prepared so that they show the same, and are copies of the originals" in outcome.out
    assert "fail as before" not in outcome.out
    assert [row["decodable"] for row in _rows(out / "failed.csv")] == ["yes", "yes"]
    assert [(row["start"], row["end"]) for row in _rows(out / "videos.csv")] == [("0.08", "0.2"), ("", "")]
    with PyAVVideo(out / "clips" / "test0_0.08-0.2.mp4") as video:
        assert len(video) == 8
        assert video.frame_range(0.08, 0.2) == (2, 5)


def test_a_full_disk_is_one_line(t3d: Call, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reencode, "prepare_video", full)
    outcome = t3d("data", "prepare", here, tmp_path / "out", *SMALL)
    assert outcome.code == 2
    assert outcome.err.startswith(f"t3d: error: {tmp_path / 'out' / 'clips' / 'train0.mp4'}: No space left on device; ")
    assert outcome.err.count("\n") == 1
    assert json.loads((tmp_path / "out" / "prepared.json").read_text())["complete"] is False


@pytest.mark.parametrize("inside", [".", "clips/prepared"])
def test_the_originals_are_not_written_among(inside: str, t3d: Call, here: Path) -> None:
    before = sorted(here.rglob("*"))
    outcome = t3d("data", "prepare", here, here / inside, *SMALL)
    assert outcome.code == 2
    assert "lies in the dataset itself" in outcome.err
    assert sorted(here.rglob("*")) == before


def test_a_folder_of_other_files_is_left_alone(t3d: Call, here: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    outcome = t3d("data", "prepare", here, tmp_path / "out", *SMALL)
    assert outcome.code == 2
    assert "holds other files" in outcome.err


@pytest.mark.parametrize(
    "flags", [("--short-side", 33), ("--short-side", 8), ("--keyframes", 0), ("--crf", 52), ("--workers", -1)]
)
def test_values_out_of_range_are_named(flags: tuple[object, ...], t3d: Call, here: Path, tmp_path: Path) -> None:
    outcome = t3d("data", "prepare", here, tmp_path / "out", *flags)
    assert outcome.code == 2
    assert str(flags[0]) in outcome.err
    assert not (tmp_path / "out").exists()


def test_the_flags_of_before_are_said_as_they_are_given(t3d: Call, here: Path, tmp_path: Path) -> None:
    assert t3d("data", "prepare", here, tmp_path / "out", *SMALL, "--trim").code == 0
    refused = t3d("data", "prepare", here, tmp_path / "out", *SMALL, "--keyframes", 4)
    assert "was prepared with --keyframes 8, with --trim; repeat that" in refused.err


def test_listed_videos_that_are_missing_are_named(t3d: Call, here: Path, tmp_path: Path) -> None:
    (here / "clips" / "train1.mp4").unlink()
    outcome = t3d("data", "prepare", here, tmp_path / "out", *SMALL)
    assert outcome.code == 0
    assert f"1 of 13 listed videos are not there, the first {here / 'clips' / 'train1.mp4'}; left out" in outcome.err


def test_a_damaged_description_is_named_and_overwrite_mends_it(t3d: Call, here: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("data", "prepare", here, out, *SMALL)
    assert t3d(*command).code == 0
    description = out / "prepared.json"
    cut = description.read_text()[:20]
    for harm in (lambda: description.write_text(cut), description.unlink):
        harm()
        refused = t3d(*command)
        assert refused.code == 2
        assert f"{description}: missing or damaged; --overwrite" in refused.err
    assert t3d(*command, "--overwrite").code == 0
    assert json.loads(description.read_text())["complete"]
    assert _lengths(out) == _lengths(here)


def test_a_manifest_of_another_program_is_no_reason_to_remove_what_it_names(
    t3d: Call, here: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(here, tmp_path / "out"))
    (out / "manifest.jsonl").write_text('{"path": "clips/train0.mp4", "label": "a"}\n')
    refused = t3d("data", "prepare", here, out, *SMALL, "--overwrite")
    assert (refused.code, refused.err) == (2, f"t3d: error: {out}: holds other files; name a new folder\n")
    assert (out / "clips" / "train0.mp4").exists()


def test_what_is_prepared_by_half_is_not_trained_on(t3d: Call, here: Path, tmp_path: Path) -> None:
    out = here
    (out / "prepared.json").write_text(json.dumps({"settings": {"source": "elsewhere"}, "complete": False}))
    for verb, data in (("train", out), ("train", out / "videos.csv"), ("transfer", out)):
        refused = t3d(verb, data, "--output", tmp_path / "run", *MICRO)
        assert refused.code == 2
        assert f"{out}: was not prepared to its end; repeat the t3d data prepare" in refused.err


def test_folders_that_nothing_is_left_in_are_removed(t3d: Call, here: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(here / "clips", tmp_path / "videos" / "a")
    shutil.copytree(here / "clips", tmp_path / "videos" / "b")
    assert t3d("data", "prepare", tmp_path / "videos", out, *SMALL).code == 0
    shutil.rmtree(tmp_path / "videos" / "b")
    assert t3d("data", "prepare", tmp_path / "videos", out, *SMALL).code == 0
    assert [path.name for path in out.iterdir() if path.is_dir()] == ["a"]


def test_data_alone_still_shows_a_folder_of_that_name(
    t3d: Call, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here.rename(tmp_path / "prepare")
    assert "csv: train" in t3d("data", "./prepare").out


@pytest.fixture
def long_videos(make_video: Callable[..., Path]) -> Path:
    """A folder of videos that take a second or so each."""
    folder = make_video("long/a/0.mp4", length=100, size=(120, 160)).parent
    for index in (1, 2):
        shutil.copyfile(folder / "0.mp4", folder / f"{index}.mp4")
    return folder.parent


@pytest.mark.slow
def test_ctrl_c_leaves_no_halves_and_the_same_command_goes_on(t3d: Call, long_videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("data", "prepare", long_videos, out, "--workers", "2", "--short-side", "1024")
    process = start(*arguments)
    while not list(out.rglob(".*.partial.mp4")) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all its processes
    outcome = finish(process)
    assert (outcome.code, outcome.err) == (130, "t3d: interrupted; the same command goes on\n")
    assert list(out.rglob(".*")) == []
    assert t3d("data", "prepare", long_videos, out, *SMALL, "--overwrite").code == 0
    assert _lengths(out) == {f"a/{index}.mp4": 100 for index in range(3)}
