import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from t3d.transfer.teachers import load_teacher

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "own_teacher.py"


def test_the_examples_teacher_is_always_the_same_and_tells_pictures_apart() -> None:
    teacher, again = (load_teacher(f"{SCRIPT}:residual") for _ in range(2))
    assert teacher.fingerprint == again.fingerprint
    images = torch.randn(3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    features = teacher(images)
    assert features.shape == (3, 256)
    assert torch.equal(features, again(images))
    assert torch.pdist(features).min() > 0.01 * features.norm(dim=1).max()


def test_the_examples_teacher_takes_weights_from_a_file_beside_it(tmp_path: Path) -> None:
    teacher = load_teacher(f"{SCRIPT}:residual")
    save_file(
        {name: tensor * 2 for name, tensor in teacher.network.state_dict().items()}, tmp_path / "residual.safetensors"
    )
    shutil.copy(SCRIPT, tmp_path)
    other = load_teacher(f"{tmp_path / SCRIPT.name}:residual")
    assert torch.equal(other.network[0].first.weight, 2 * teacher.network[0].first.weight)
    assert other.fingerprint != teacher.fingerprint
