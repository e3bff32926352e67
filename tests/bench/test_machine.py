import os
import platform

import torch

from t3d.bench.machine import describe_machine


def test_machine_and_releases_are_named() -> None:
    facts = describe_machine(threads=3)
    assert facts["threads"] == 3
    assert facts["cores"] == os.cpu_count()
    assert facts["torch"] == torch.__version__
    assert facts["python"] == platform.python_version()
    assert facts["processor"]
    assert "gpu" not in facts
