"""Faults put into the code one by one: which of them do the tests beside it notice?

`python studies/mutations.py` works in a copy of the repository and writes docs/results/mutations.json.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "docs" / "results" / "mutations.json"

MUTATIONS: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "clip starts one frame early",
        "video/sampling.py",
        "return max(video_length - spec.span, 0)",
        "return max(video_length - spec.span - 1, 0)",
        "video/test_sampling",
    ),
    (
        "frame stride ignored",
        "video/sampling.py",
        "torch.arange(spec.num_frames) * spec.frame_stride",
        "torch.arange(spec.num_frames)",
        "video/test_sampling",
    ),
    ("top-5 counts four", "evaluation/metrics.py", "result.within(5)", "result.within(4)", "evaluation/test_metrics"),
    (
        "shared groups allowed",
        "data/splits.py",
        "if shared and not allow_shared_groups:",
        "if shared and allow_shared_groups:",
        "data/test_splits",
    ),
    (
        "McNemar one-sided",
        "evaluation/significance.py",
        "stats.binomtest(only_first, total, 0.5).pvalue",
        "stats.binomtest(only_first, total, 0.5, alternative='less').pvalue",
        "evaluation/test_significance",
    ),
    (
        "consensus max is mean",
        "inference/scoring.py",
        "logits.amax(dim=-2)",
        "logits.mean(dim=-2)",
        "inference/test_consensus inference/test_scoring",
    ),
    (
        "layer decay one stage off",
        "training/optim.py",
        "(NUM_STAGES - 1 - stage)",
        "(NUM_STAGES - stage)",
        "training/test_optim",
    ),
    ("cosine upside down", "training/optim.py", "0.5 * (1 + math.cos(", "0.5 * (1 - math.cos(", "training/test_optim"),
    (
        "dropout seed without the step",
        "training/loop.py",
        "torch.manual_seed((seed * 1_000_003 + progress.step)",
        "torch.manual_seed((seed * 1_000_003)",
        "training/test_loop training/test_resume",
    ),
    (
        "export parity not checked",
        "inference/export.py",
        "found.difference > self.tolerance.difference",
        "found.difference > 1e9",
        "inference/test_parity commands/test_export",
    ),
    (
        "inflation to another plane",
        "models/pretrained/inflation.py",
        "(depth - 1) // 2] = ",
        "depth // 2] = ",
        "models/pretrained/test_inflation",
    ),
    (
        "even padding on the other side",
        "models/t3d.py",
        "(depth - 1) // 2, depth // 2",
        "depth // 2, (depth - 1) // 2",
        "models/test_t3d",
    ),
    (
        "pooled convolution unscaled in time",
        "models/fast/pool_then_conv.py",
        "1.0 / (self.pool[0] * self.pool[1] * self.pool[2])",
        "1.0 / (self.pool[1] * self.pool[2])",
        "models/fast/test_transition models/fast/test_pool_then_conv",
    ),
    (
        "gradient of the mean with wrong sign",
        "models/fast/batch_norm.py",
        "along_channels(-self.mean[channels]",
        "along_channels(self.mean[channels]",
        "models/fast/test_dense_block models/fast/test_batch_norm",
    ),
    (
        "weights of another shape accepted",
        "models/checkpoints.py",
        "own[name].shape != tensor.shape",
        "own[name].dim() != tensor.dim()",
        "models/test_checkpoints",
    ),
    (
        "frozen norms train",
        "training/optim.py",
        "not module.weight.requires_grad",
        "module.weight.requires_grad",
        "training/test_optim",
    ),
    (
        "damaged teacher features used",
        "transfer/teacher_cache.py",
        "if _checksum(identity, starts, features) != checksum:",
        "if features is None:",
        "transfer/test_teacher_cache",
    ),
    ("report not escaped", "evaluation/report.py", "autoescape=True", "autoescape=False", "evaluation/test_report"),
    (
        "first picture dropped",
        "video/packets.py",
        "pts >= packets[0].pts",
        "pts > packets[0].pts",
        "video/test_packets video/test_pyav_reader",
    ),
    ("held frame dropped early", "video/reader.py", "if index >= first}", "if index > first}", "video/test_reader"),
    (
        "interrupt ends as bad input",
        "cli.py",
        "return ExitCode.INTERRUPTED",
        "return ExitCode.BAD_INPUT",
        "test_cli commands/test_train test_interrupts",
    ),
    (
        "few labels may leave a class out",
        "data/splits.py",
        "max(1, round(fraction * len(found)))",
        "round(fraction * len(found))",
        "data/test_splits",
    ),
    (
        "averaged weights without buffers",
        "training/learner.py",
        "use_buffers=True",
        "use_buffers=False",
        "training/test_loop training/test_resume",
    ),
    (
        "deviation not divided by",
        "video/transforms.py",
        "(clips.float() - mean) / std",
        "(clips.float() - mean)",
        "video/test_transforms",
    ),
)
"""What is wrong, the file, the text, the text instead, and the tests that should notice."""


def main() -> None:
    """Try every fault, print what came of it and write the record."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "runs", "__pycache__"))
        found = {name: _is_caught(copy, *rest) for name, *rest in MUTATIONS}
    before = json.loads(RECORD.read_text())["before the house was rebuilt"] if RECORD.exists() else {}
    record = {"command": "python studies/mutations.py", "before the house was rebuilt": before, "now": found}
    RECORD.write_text(json.dumps(record, indent=2) + "\n")


def _is_caught(copy: Path, file: str, old: str, new: str, tests: str) -> bool:
    path = copy / "src" / "t3d" / file
    text = path.read_text()
    assert old in text, f"{file}: no {old!r}"
    path.write_text(text.replace(old, new))
    names = [f"tests/{name}.py" for name in tests.split()]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *names]
    done = subprocess.run(
        command, cwd=copy, env={**os.environ, "PYTHONPATH": str(copy / "src")}, capture_output=True, check=False
    )
    path.write_text(text)
    print(f"{'caught' if done.returncode == 1 else 'NOT CAUGHT'}: {file}: {old} -> {new}", flush=True)
    return done.returncode == 1


if __name__ == "__main__":
    main()
