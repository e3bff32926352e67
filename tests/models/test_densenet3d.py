from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from t3d.errors import ConfigError
from t3d.models import ARCHITECTURES, DenseNetSpec, Network, create_model

DENSENETS = [name for name, row in ARCHITECTURES.items() if isinstance(row.spec, DenseNetSpec)]
TINY = ("densenet3d_tiny", "t3d_tiny")
TWIN: dict[str, object] = {**DenseNetSpec().twin(), "ttl_depths": ((1, 1, 1), (1, 1), None)}


def _clips(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _meta(name: str, **overrides: object) -> Network:
    with torch.device("meta"):
        return create_model(name, **overrides).eval()


def _randomised(model: Network) -> Network:
    """Statistics of their own for every norm, so that eval mode tests them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


@pytest.mark.parametrize("name", [name for name in DENSENETS if name not in TINY])
def test_one_set_of_weights_serves_both_sizes_of_the_paper(name: str) -> None:
    model = _meta(name)
    sizes = [(16, 112, 112), (32, 224, 224)]
    maps = [model.forward_features(torch.empty(1, 3, *size, device="meta")).shape[2:] for size in sizes]
    assert maps == [(1, 3, 3), (2, 7, 7)]
    assert all(model(torch.empty(1, 3, *size, device="meta")).shape == (1, 400) for size in sizes)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("size", [(15, 29, 29), (17, 30, 45), (32, 64, 33)])
def test_odd_sizes_give_finite_scores(name: str, size: Sequence[int]) -> None:
    assert create_model(name, 5).eval()(_clips(1, 3, *size)).isfinite().all()


@pytest.mark.parametrize("size", [(14, 29, 29), (15, 28, 29), (15, 29, 28)])
def test_smaller_clips_are_refused_with_size_and_minimum(size: Sequence[int]) -> None:
    given = " x ".join(map(str, size))
    with pytest.raises(ConfigError, match=f"{given} .* at least 15 x 29 x 29"):
        _meta("t3d_121")(torch.empty(1, 3, *size, device="meta"))


@pytest.mark.parametrize("num_frames", [1, 2, 7, 14])
def test_short_clips_work_on_request(num_frames: int) -> None:
    model = create_model("t3d_tiny", 5, keep_last_plane=True).eval()
    assert model.forward_features(_clips(1, 3, num_frames, 32, 32)).shape[2:] == (1, 1, 1)


def test_keeping_the_last_plane_changes_nothing_for_long_clips() -> None:
    plain, lenient = (create_model("t3d_tiny", 5, keep_last_plane=keep).eval() for keep in (False, True))
    lenient.load_state_dict(plain.state_dict())
    clips = _clips(1, 3, 16, 32, 32)
    assert torch.equal(plain(clips), lenient(clips))


def test_foreign_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 channels, but the network was built with 3"):
        _meta("t3d_tiny")(torch.empty(1, 2, 16, 32, 32, device="meta"))
    assert _meta("t3d_tiny", in_channels=2)(torch.empty(1, 2, 16, 32, 32, device="meta")).shape == (1, 400)


def test_head_is_the_mean_of_the_map_through_the_classifier() -> None:
    model, clips = _randomised(create_model("t3d_tiny", 5)), _clips(2, 3, 32, 64, 64)
    pooled = model.forward_features(clips).flatten(2).mean(dim=2)
    torch.testing.assert_close(model.embed(clips), pooled)
    torch.testing.assert_close(model(clips), pooled @ model.classifier.weight.T + model.classifier.bias)


def test_a_neck_is_a_rectified_linear_layer_behind_the_features() -> None:
    plain = create_model("t3d_tiny", 5, generator=torch.Generator().manual_seed(0)).eval()
    model = create_model("t3d_tiny", 5, neck=7, generator=torch.Generator().manual_seed(0)).eval()
    neck, classifier, clips = model.neck, model.classifier, _clips(2, 3, 16, 32, 32)
    assert set(model.state_dict()) - set(plain.state_dict()) == {"neck.weight", "neck.bias"}
    assert (neck.weight.shape, classifier.weight.shape) == ((7, model.num_features), (5, 7))
    assert not neck.bias.any()
    assert torch.equal(model.embed(clips), plain.embed(clips))  # drawn before the neck
    narrow = (model.embed(clips) @ neck.weight.T + neck.bias).clamp(min=0)
    torch.testing.assert_close(model(clips), narrow @ classifier.weight.T + classifier.bias)


@pytest.mark.parametrize("neck", [0, 7])
def test_without_classifier_the_features_come_out(neck: int) -> None:
    model, clips = create_model("t3d_tiny", 0, neck=neck).eval(), _clips(2, 3, 16, 32, 32)
    assert not [name for name in model.state_dict() if name.startswith("classifier")]
    features = model.embed(clips)
    expected = F.relu(features @ model.neck.weight.T) if neck else features
    torch.testing.assert_close(model(clips), expected)


@pytest.mark.parametrize("name", TINY)
def test_repeated_ends_make_a_still_map_of_a_still_clip(name: str) -> None:
    """Every convolution but the first sees the same plane everywhere, so the map cannot vary in time."""
    pictures = _clips(1, 3, 1, 32, 32).double()
    for replicate_time, still in ((False, False), (True, True)):
        generator = torch.Generator().manual_seed(0)
        model = create_model(name, 5, replicate_time=replicate_time, generator=generator).double().eval()
        with torch.no_grad():
            stem = model.stem(pictures.expand(-1, -1, 32, -1, -1))
            features = model.forward_features(pictures.expand(-1, -1, 32, -1, -1))
        assert [bool((seen - seen[:, :, :1]).abs().max() < 1e-12) for seen in (stem, features)] == [still, still]


def test_a_block_keeps_what_came_before_in_front() -> None:
    model = create_model("t3d_tiny", stem_channels=24, blocks=(2, 1, 1, 1), growth_rate=16)
    features = _clips(2, 24, 3, 5, 5)
    out = model.stages.block1(features)
    assert out.shape == (2, 24 + 2 * 16, 3, 5, 5)
    assert torch.equal(out[:, :24], features)


def test_dropout_acts_on_new_channels_only_and_in_training_only() -> None:
    layer = create_model("t3d_tiny", stem_channels=24, growth_rate=16, dropout=0.5).stages.block1.layer1
    features = _clips(2, 24, 4, 8, 8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = layer.train()(features)
    assert torch.equal(out[:, :24], features)
    assert (out[:, 24:] == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)  # 8192 draws
    assert not (layer.eval()(features)[:, 24:] == 0).any()


@pytest.mark.parametrize("name", [*TINY, "t3d_121"])
def test_weights_survive_a_file(name: str, tmp_path: Path) -> None:
    saved, loaded = _randomised(create_model(name, 5)), create_model(name, 5).eval()
    save_file(saved.state_dict(), tmp_path / "weights.safetensors")
    loaded.load_state_dict(load_file(tmp_path / "weights.safetensors"), strict=True)
    clips = _clips(2, 3, 16, 32, 32)
    assert torch.equal(saved(clips), loaded(clips))


@pytest.mark.parametrize(
    ("name", "options"), [("t3d_tiny", {}), ("t3d_121", {}), ("t3d_tiny", {"replicate_time": True, "neck": 7})]
)
def test_export_with_any_batch_equals_eager(name: str, options: dict[str, object]) -> None:
    model = _randomised(create_model(name, 5, **options))
    program = torch.export.export(
        model, (_clips(2, 3, 16, 32, 32),), dynamic_shapes={"clips": {0: torch.export.Dim("batch", min=1, max=64)}}
    )
    for batch_size in (2, 3):
        clips = _clips(batch_size, 3, 16, 32, 32, seed=batch_size)
        torch.testing.assert_close(program.module()(clips), model(clips))


def test_compiles_as_one_graph(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("jaxtyping_packages", default=None):
        pytest.skip("torch.compile cannot trace the run-time checks of annotations")
    model, clips = _randomised(create_model("t3d_tiny", 5)), _clips(2, 3, 16, 32, 32)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(clips), model(clips))


@pytest.mark.parametrize("name", ["t3d_121", "densenet3d_169", *TINY])
def test_the_2d_twin_has_no_extent_in_time(name: str) -> None:
    for module in _meta(name, **TWIN).modules():
        if isinstance(module, nn.Conv3d | nn.MaxPool3d):
            kernel, stride, padding = module.kernel_size, module.stride, module.padding
            assert (kernel[0], stride[0], padding[0]) == (1, 1, 0)


def test_the_2d_twin_treats_every_frame_alone() -> None:
    model, clips = _randomised(create_model("t3d_tiny", 5, **TWIN)), _clips(2, 3, 4, 48, 40)
    together = model.forward_features(clips)
    alone = [model.forward_features(clips[:, :, index : index + 1]) for index in range(4)]
    torch.testing.assert_close(together, torch.cat(alone, dim=2))
    torch.testing.assert_close(model.embed(clips), torch.stack([frame.mean(dim=(2, 3, 4)) for frame in alone]).mean(0))
