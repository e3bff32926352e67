"""A mistake in a command is answered before PyTorch is imported: what finds datasets must do without it."""

import subprocess
import sys

MODULES = (
    *("t3d.data.formats", "t3d.data.splits", "t3d.data.unlabelled", "t3d.data.mirror", "t3d.data.trained_on"),
    "t3d.video.spec",
)


def test_finding_datasets_imports_nothing_heavy() -> None:
    code = f"import sys, {', '.join(MODULES)}; print(sys.modules.keys() & {{'torch', 'av', 'pyarrow', 'numpy'}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
