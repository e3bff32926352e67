import re
from pathlib import Path

import pytest
import torch

from recorded import published_weights, recorded, standard_input
from t3d.errors import CheckpointError, ConfigError
from t3d.models import LAYOUTS, create_model, from_published
from t3d.models.inflation import inflate


def _logits(fixtures: Path, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    return recorded(fixtures, name, "logits__" + "x".join(map(str, shape)))


def _assert_close(logits: torch.Tensor, expected: torch.Tensor) -> None:
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_the_authors_densenet3d_gives_the_recorded_scores(shared_fixtures: Path) -> None:
    model = create_model("densenet3d_121", 1000, **LAYOUTS["t3d_authors"]).eval()
    weights = published_weights(shared_fixtures, "t3d_densenet121_3d")
    model.load_state_dict(from_published(weights, layout="t3d_authors"), strict=True)
    shape = (1, 3, 32, 224, 224)
    with torch.no_grad():
        _assert_close(model(standard_input(shape)), _logits(shared_fixtures, "t3d_densenet121_3d", shape))


@pytest.mark.parametrize("depth", ["121", "169"])
def test_the_2d_twin_gives_the_recorded_scores_of_torchvision(depth: str, shared_fixtures: Path) -> None:
    model = create_model(f"densenet3d_{depth}", 1000, **LAYOUTS["torchvision_densenet"]).eval()
    weights = published_weights(shared_fixtures, f"tv_densenet{depth}")
    model.load_state_dict(from_published(weights, layout="torchvision_densenet"), strict=True)
    for shape in [(1, 3, 64, 64), (2, 3, 224, 224)]:
        with torch.no_grad():
            logits = model(standard_input(shape).unsqueeze(2))  # one frame
        _assert_close(logits, _logits(shared_fixtures, f"tv_densenet{depth}", shape))


def test_a_frame_repeated_scores_like_the_picture(shared_fixtures: Path) -> None:
    model = create_model("densenet3d_121", 1000, **LAYOUTS["torchvision_densenet"]).eval()
    weights = published_weights(shared_fixtures, "tv_densenet121")
    model.load_state_dict(from_published(weights, layout="torchvision_densenet"), strict=True)
    shape = (1, 3, 64, 64)
    with torch.no_grad():
        logits = model(standard_input(shape).unsqueeze(2).repeat(1, 1, 3, 1, 1))
    _assert_close(logits, _logits(shared_fixtures, "tv_densenet121", shape))


@pytest.mark.parametrize("how", ["centre", "repeat"])
def test_a_still_video_through_the_inflated_network_scores_like_the_picture(how: str, shared_fixtures: Path) -> None:
    model = create_model("densenet3d_121", 1000, replicate_time=how == "repeat").eval()
    weights = from_published(published_weights(shared_fixtures, "tv_densenet121"), layout="torchvision_densenet")
    assert inflate(model, weights, how=how).fresh == ()
    shape = (1, 3, 64, 64)
    with torch.no_grad():
        logits = model(standard_input(shape).unsqueeze(2).repeat(1, 1, 16, 1, 1))
    _assert_close(logits, _logits(shared_fixtures, "tv_densenet121", shape))


def test_dotted_names_of_older_files_mean_the_same() -> None:
    names = ["norm1.weight", "conv1.weight", "norm2.running_mean", "conv2.weight"]
    new = {f"features.denseblock4.denselayer16.{name}": torch.zeros(1) for name in names}
    old = {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", name): tensor for name, tensor in new.items()}
    assert "features.denseblock4.denselayer16.norm.1.weight" in old
    renamed = from_published(old, layout="torchvision_densenet")
    assert list(renamed) == list(from_published(new, layout="torchvision_densenet"))
    assert list(renamed) == [
        "stages.block4.layer16.squeeze.norm.weight",
        "stages.block4.layer16.squeeze.conv.weight",
        "stages.block4.layer16.grow.norm.running_mean",
        "stages.block4.layer16.grow.conv.weight",
    ]


def test_kernels_of_pictures_become_one_plane_deep() -> None:
    kernel, matrix = torch.randn(4, 3, 7, 5), torch.randn(10, 4)
    loaded = from_published(
        {"features.conv0.weight": kernel, "classifier.weight": matrix}, layout="torchvision_densenet"
    )
    assert torch.equal(loaded["stem.conv.weight"], kernel[:, :, None])
    assert torch.equal(loaded["classifier.weight"], matrix)


@pytest.mark.parametrize("name", ["layer1.0.conv1.weight", "features.denseblock1.denselayer1.norm3.weight", "module"])
def test_foreign_names_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(repr(name))):
        from_published({name: torch.zeros(1)}, layout="t3d_authors")


def test_unknown_layouts_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown layout 'keras'; choose from t3d_authors, torchvision_densenet"):
        from_published({}, layout="keras")
