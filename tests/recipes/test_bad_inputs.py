"""What users get wrong, typed into the installed program: an exit code, one line that names it, nothing lost."""

import hashlib
import shutil
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from program import MICRO, Call, Outcome, finish, start
from t3d.engine.checkpoints import LAST_NAME


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command line in which `{name}` stands for a path below the folder, and what must come back."""

    line: str
    says: str
    code: int = 2
    installed: bool = False
    """Typed into the installed program; else, for speed, into this process."""


TRAIN = "--output {new} " + " ".join(MICRO)
CASES = [
    # train: data
    Case(line=f"train {{absent}} {TRAIN}", says="{absent}", installed=True),
    Case(line=f"train {{empty}} {TRAIN}", says="{empty}"),
    Case(line=f"train {{no_label.csv}} {TRAIN}", says="label", installed=True),
    Case(line=f"train {{no_rows.csv}} {TRAIN}", says="{no_rows.csv}"),
    Case(line=f"train {{zero.csv}} {TRAIN}", says="{zero.csv}", installed=True),
    Case(line=f"train {{binary.csv}} {TRAIN}", says="{binary.csv}"),
    Case(line=f"train {{bad_split.csv}} {TRAIN}", says="'sometimes'", installed=True),
    Case(line=f"train {{one_class_tested.csv}} {TRAIN}", says="'zebra'"),
    Case(line=f"train {{shared_group.csv}} {TRAIN}", says="--allow-shared-groups"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --split 9", says="9"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --format ucf101", says="{data/videos.csv}"),
    Case(line=f"train {{broken.csv}} {TRAIN}", says="{cut.mp4}"),
    # train: flags
    Case(line=f"train {{data/videos.csv}} {TRAIN} --arch t3d_122", says="'t3d_122'", installed=True),
    Case(line="train {data/videos.csv} --preset quickest", says="'quickest'", installed=True),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --batch-size 0", says="--batch-size 0", installed=True),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --overrides ttl_width=wide", says="'ttl_width=wide'"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --overrides width=3", says="'width'"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --workers 500000", says="--workers 500000"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --momentum 2", says="--momentum 2", installed=True),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --max-steps 0", says="--max-steps 0", installed=True),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --crop-size 64", says="crop_size 64"),
    Case(line="train {data/videos.csv} --output {new} --num-frames 2 --resize 64 --crop-size 64", says="2 x 64 x 64"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --dropout 1.5", says="1.5"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --devices 9", says="9 processes"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --batch-size 1", says="--batch-size 2"),
    Case(line="train {data/videos.csv} --output {run} --overwrite --arch t3d_122", says="'t3d_122'"),
    # train: folders and weights
    Case(
        line=f"train {{data/videos.csv}} {TRAIN} --init {{run}} --arch densenet3d_tiny", says="t3d_tiny", installed=True
    ),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --init {{absent}}", says="{absent}"),
    Case(line="train {data/videos.csv} --output {run} " + " ".join(MICRO), says="--overwrite", installed=True),
    Case(line="train {data/videos.csv} --output {text.mp4} " + " ".join(MICRO), says="{text.mp4}"),
    Case(line="train {data/videos.csv} --output /dev/null/run " + " ".join(MICRO), says="/dev/null"),
    Case(line=f"train {{data/videos.csv}} {TRAIN} --resume", says="--resume", installed=True),
    # evaluate
    Case(line="evaluate {absent}", says="{absent}"),
    Case(line="evaluate {empty}", says="{empty}"),
    Case(line="evaluate {cut.safetensors}", says="{cut.safetensors}", installed=True),
    Case(line="evaluate {foreign.safetensors}", says="{foreign.safetensors}"),
    Case(line="evaluate {run} {absent}", says="{absent}", installed=True),
    Case(line="evaluate {run} --output {text.mp4}", says="{text.mp4}"),
    Case(line="evaluate {run} --subset validation", says="validation"),
    Case(line="evaluate {run} --batch-size 0", says="0 must be at least 1", installed=True),
    # predict
    Case(line="predict {run}", says="t3d predict RUN clip.mp4"),
    Case(line="predict {run} {empty}", says="{empty}", installed=True),
    Case(line="predict {run} {absent.mp4}", says="{absent.mp4}", code=1),
    Case(line="predict {run} {zero.mp4}", says="{zero.mp4}", code=1),
    Case(line="predict {run} {cut.mp4}", says="{cut.mp4}", code=1, installed=True),
    Case(line="predict {run} {text.mp4}", says="{text.mp4}", code=1, installed=True),
    Case(line="predict {run} {sound.mp4}", says="{sound.mp4}", code=1),
    Case(line="predict {run} {absurd.gif}", says="{absurd.gif}", code=1),
    Case(line="predict {run} {data/clips/test0.mp4} --top 0", says="--top 0", installed=True),
    Case(line="predict {run} {data/clips/test0.mp4} --timeline {text.mp4}", says="{text.mp4}"),
    Case(line="predict {run} {data/clips/test0.mp4} --json --csv", says="--csv", installed=True),
    # the others
    Case(line="compare", says="run folders"),
    Case(line="compare {run}", says="{run}"),
    Case(line="compare {corrupt}", says="{corrupt/metrics.json}", installed=True),
    Case(line="data {absent}", says="{absent}", installed=True),
    Case(line="data {data/videos.csv} --split 0", says="0"),
    Case(line="demo --output {text.mp4}", says="{text.mp4}", installed=True),
    Case(line="demp", says="'demo'", installed=True),
]
if not torch.cuda.is_available():
    CASES.append(Case(line=f"train {{data/videos.csv}} {TRAIN} --accelerator cuda", says="--accelerator cpu"))
    CASES.append(Case(line="evaluate {run} --accelerator cuda", says="--accelerator cpu"))


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


@pytest.fixture
def root(dataset: Path, trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(dataset.parent, tmp_path / "data")
    shutil.copytree(trained, tmp_path / "run")
    _write_lists(tmp_path)
    _write_videos(tmp_path)
    _write_weights(tmp_path)
    return tmp_path


def _fill(text: str, root: Path) -> list[str]:
    return [str(root / word[1:-1]) if word[0] == "{" and word[-1] == "}" else word for word in text.split(" ")]


def _hashes(root: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()
    }


def _assert_right(case: Case, outcome: Outcome, root: Path) -> None:
    needle = " ".join(_fill(case.says, root))
    lines = [line for line in outcome.err.splitlines() if not line.startswith("training ")]
    assert needle in outcome.err, f"{case.line}: {outcome.err}"
    assert outcome.code == case.code, f"{case.line}: {outcome.err}"
    assert len(lines) == 1, f"{case.line}: {outcome.err}"
    assert lines[0].startswith("t3d: error: ")


@pytest.mark.slow
def test_installed_program_answers_every_mistake_by_one_line_and_loses_nothing(root: Path) -> None:
    before, cases = _hashes(root), [case for case in CASES if case.installed]
    assert len(cases) >= 20
    with ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = list(pool.map(lambda case: finish(start(*_fill(case.line, root))), cases))
    for case, outcome in zip(cases, outcomes, strict=True):
        _assert_right(case, outcome, root)
    after = _hashes(root)
    assert {path: after.get(path) for path in before} == before


def test_every_other_mistake_is_answered_by_one_line_and_loses_nothing(root: Path, t3d: Call) -> None:
    before = _hashes(root)
    for case in CASES:
        if not case.installed:
            _assert_right(case, t3d(*_fill(case.line, root)), root)
    after = _hashes(root)
    assert {path: after.get(path) for path in before} == before
