"""T3D and DenseNet3D: their parts against plain loops, then the whole."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from t3d.errors import ConfigError
from t3d.models import DenseNetSpec, Network, TemporalTransition, create_model
from t3d.models.insertion import same_width_transition
from t3d.models.t3d import DenseTransition, NormReluConv, TransitionPool

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


def _passing_through(depth: int) -> NormReluConv:
    """A composite whose norm and ReLU leave an impulse alone, and whose weights number the planes 1, 2, ..."""
    layer = NormReluConv(1, 1, kernel=(depth, 1, 1)).double().eval()
    with torch.no_grad():
        layer.norm.running_var.fill_(1 - layer.norm.eps)
        layer.conv.weight.copy_(torch.arange(1.0, depth + 1).reshape(1, 1, depth, 1, 1))
    return layer


@pytest.mark.parametrize(
    ("depth", "answer"),  # an impulse in plane 4 of 9; the weights come out in reverse
    [
        (1, [0, 0, 0, 0, 1, 0, 0, 0, 0]),
        (2, [0, 0, 0, 2, 1, 0, 0, 0, 0]),
        (3, [0, 0, 0, 3, 2, 1, 0, 0, 0]),
        (4, [0, 0, 4, 3, 2, 1, 0, 0, 0]),
        (5, [0, 0, 5, 4, 3, 2, 1, 0, 0]),
        (6, [0, 6, 5, 4, 3, 2, 1, 0, 0]),
    ],
)
def test_even_depths_look_one_plane_further_ahead_than_back(depth: int, answer: list[int]) -> None:
    impulse = torch.zeros(1, 1, 9, 1, 1, dtype=torch.float64)
    impulse[0, 0, 4] = 1
    out = _passing_through(depth)(impulse).flatten()
    torch.testing.assert_close(out, torch.tensor(answer, dtype=torch.float64))


@pytest.mark.parametrize("replicate_time", [False, True])
@pytest.mark.parametrize("depth", range(1, 7))
@pytest.mark.parametrize("size", [(1, 1, 1), (5, 3, 7), (6, 4, 2)])
def test_size_is_kept(depth: int, size: tuple[int, int, int], replicate_time: bool) -> None:
    layer = NormReluConv(3, 5, kernel=(depth, 3, 3), replicate_time=replicate_time).eval()
    assert layer(torch.zeros(2, 3, *size)).shape == (2, 5, *size)


def test_padding_is_zero_after_the_norm() -> None:
    layer = NormReluConv(1, 1, kernel=(2, 1, 1)).eval()
    with torch.no_grad():
        layer.norm.bias.fill_(1)  # a plane of zeros comes out of norm and ReLU as ones; the padding must not
        layer.conv.weight.fill_(1)
    assert layer(torch.zeros(1, 1, 3, 1, 1)).flatten().tolist() == [2, 2, 1]


@pytest.mark.parametrize(
    ("depth", "answer"),  # weights 1, 2, ... over the planes 1, 2, 3 with the ends repeated
    [
        (1, [1, 2, 3]),
        (2, [1 + 4, 2 + 6, 3 + 6]),
        (3, [1 + 2 + 6, 1 + 4 + 9, 2 + 6 + 9]),
        (4, [1 + 2 + 6 + 12, 1 + 4 + 9 + 12, 2 + 6 + 9 + 12]),
    ],
)
def test_ends_are_repeated_on_request(depth: int, answer: list[int]) -> None:
    layer = NormReluConv(1, 1, kernel=(depth, 1, 1), replicate_time=True).double().eval()
    layer.load_state_dict(_passing_through(depth).state_dict())
    ramp = torch.tensor([1.0, 2, 3], dtype=torch.float64).reshape(1, 1, 3, 1, 1)
    torch.testing.assert_close(layer(ramp).flatten(), torch.tensor(answer, dtype=torch.float64))


def test_input_is_left_alone() -> None:
    features = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    before = features.clone()
    NormReluConv(3, 2)(features)
    assert torch.equal(features, before)


def _padded(features: np.ndarray, plane: int, row: int, column: int) -> np.ndarray:
    """The channels at one position; zeros outside."""
    _, num_planes, num_rows, num_columns = features.shape
    inside = 0 <= plane < num_planes and 0 <= row < num_rows and 0 <= column < num_columns
    return features[:, plane, row, column] if inside else np.zeros(features.shape[0])


def _same_convolution(features: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Loops only: features (C, T, H, W), kernel (O, C, d, e, e), zeros (d - 1) // 2 before in time."""
    _, _, depth, edge, _ = kernel.shape
    out = np.zeros((kernel.shape[0], *features.shape[1:]))
    for plane, row, column in np.ndindex(*features.shape[1:]):
        for step, down, right in np.ndindex(depth, edge, edge):
            seen = _padded(
                features,
                plane + step - (depth - 1) // 2,
                row + down - (edge - 1) // 2,
                column + right - (edge - 1) // 2,
            )
            out[:, plane, row, column] += kernel[:, :, step, down, right] @ seen
    return out


def _halved(features: np.ndarray) -> np.ndarray:
    num_channels, *size = features.shape
    out = np.zeros((num_channels, *(length // 2 for length in size)))
    for plane, row, column in np.ndindex(*out.shape[1:]):
        cube = features[:, 2 * plane : 2 * plane + 2, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        out[:, plane, row, column] = cube.sum(axis=(1, 2, 3)) / 8
    return out


def _norm_relu_conv(features: np.ndarray, tensors: dict[str, np.ndarray], name: str) -> np.ndarray:
    per_channel = {
        leaf: tensors[f"{name}.norm.{leaf}"][:, None, None, None]
        for leaf in ("weight", "bias", "running_mean", "running_var")
    }
    scaled = (features - per_channel["running_mean"]) / np.sqrt(per_channel["running_var"] + 1e-5)
    rectified = np.maximum(scaled * per_channel["weight"] + per_channel["bias"], 0)
    return _same_convolution(rectified, tensors[f"{name}.conv.weight"])


def _fill(module: nn.Module) -> nn.Module:
    """Give every tensor, statistics included, a value of its own."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.double().eval().state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.copy_(noise.abs() + 0.5 if name.endswith("running_var") else noise)
    return module


def _both(transition: nn.Module, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """A random map, what the filled transition makes of it, and its tensors."""
    features = np.random.default_rng(0).standard_normal((3, *size))
    with torch.no_grad():
        out = _fill(transition)(torch.from_numpy(features)[None])[0].numpy()
    return features, out, {name: tensor.numpy() for name, tensor in transition.state_dict().items()}


@pytest.mark.parametrize("size", [(4, 4, 4), (5, 3, 7), (2, 5, 2), (7, 4, 5)])
@pytest.mark.parametrize("depths", [(1, 3, 6), (1, 3, 4), (2, 5), (1,)])
@pytest.mark.parametrize("compress", [False, True])
def test_temporal_transition_equals_plain_loops(depths: tuple[int, ...], size: Sequence[int], compress: bool) -> None:
    transition = TemporalTransition(3, depths=depths, width=2, compress=compress)
    features, out, tensors = _both(transition, size)
    expected = np.concatenate([_norm_relu_conv(features, tensors, f"branches.{index}") for index in range(len(depths))])
    if compress:
        expected = _norm_relu_conv(expected, tensors, "compress")
    np.testing.assert_allclose(out, _halved(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(4, 4, 4), (5, 3, 7)])
def test_dense_transition_equals_plain_loops(size: Sequence[int]) -> None:
    features, out, tensors = _both(DenseTransition(3, pool=TransitionPool()), size)
    np.testing.assert_allclose(out, _halved(_norm_relu_conv(features, tensors, "compress")), rtol=0, atol=1e-12)


def test_parameter_count_matches_closed_form() -> None:
    transition = TemporalTransition(in_channels=16, depths=(1, 3, 4), width=8)
    convolutions = 16 * 8 * (1 + 3 * 9 + 4 * 9)  # kernel volumes
    norms = 3 * 2 * 16  # scale and shift in each branch
    assert sum(parameter.numel() for parameter in transition.parameters()) == convolutions + norms
    assert transition.out_channels == 3 * 8


def test_compression_adds_one_square_matrix_and_a_norm() -> None:
    sizes = [
        sum(parameter.numel() for parameter in TemporalTransition(16, width=8, compress=compress).parameters())
        for compress in (False, True)
    ]
    assert sizes[1] - sizes[0] == 24 * 24 + 2 * 24


def test_flat_branches_look_at_one_frame_with_their_height_and_width() -> None:
    transition = TemporalTransition(3, depths=(1, 3, 4), width=2, flat=True, pool=TransitionPool(time_stride=1))
    assert [branch.conv.kernel_size for branch in transition.branches] == [(1, 1, 1), (1, 3, 3), (1, 3, 3)]
    features = torch.randn(2, 3, 5, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        together = _fill(transition)(features)
        one_by_one = torch.cat([transition(frame) for frame in features.split(1, dim=2)], dim=2)
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-12)


def test_a_still_map_leaves_no_trace_of_its_ends_when_they_are_repeated() -> None:
    features = torch.randn(1, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for replicate_time in (False, True):
        transition = _fill(TemporalTransition(3, depths=(1, 3, 6), width=2, replicate_time=replicate_time))
        with torch.no_grad():
            out = transition(features.expand(-1, -1, 8, -1, -1))
        spread = (out - out[:, :, 2:3]).abs().amax(dim=(0, 2, 3, 4)) < 1e-12
        assert spread.tolist() == [True] * 2 + [replicate_time] * 4  # depth 1 has no ends to see


@pytest.mark.parametrize(
    ("pool", "num_planes", "left"),
    [
        (lambda: TransitionPool(), 4, 2),
        (lambda: TransitionPool(), 5, 2),
        (lambda: TransitionPool(time_stride=1), 5, 5),
        (lambda: TransitionPool(keep_last_plane=True), 3, 1),
        (lambda: TransitionPool(keep_last_plane=True), 1, 1),
        (lambda: TransitionPool(time_stride=3, keep_last_plane=True), 2, 2),
    ],
)
def test_time_is_halved_unless_told_otherwise(pool: Callable[[], TransitionPool], num_planes: int, left: int) -> None:
    assert pool()(torch.zeros(1, 2, num_planes, 6, 5)).shape == (1, 2, left, 3, 2)


@pytest.mark.parametrize("depths", [(), (0, 3), (1, -1)])
@pytest.mark.parametrize("build", [TemporalTransition, same_width_transition])
def test_depths_that_look_at_nothing_are_refused(build: Callable[..., object], depths: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="must name frames, each at least 1"):
        build(6, depths=depths)


@pytest.mark.parametrize(
    ("options", "minimum"),
    [
        ({}, (15, 29, 29)),  # 8 planes before three halvings, from a stem of stride 2: 2 * 7 + 1; H, W once more
        ({"stem_pool_stride": (2, 2, 2)}, (29, 29, 29)),
        ({"stem_stride": (1, 2, 2)}, (8, 29, 29)),
        ({"keep_last_plane": True}, (1, 29, 29)),
        ({"stem_stride": (1, 2, 2), "transition_time_stride": 1}, (1, 29, 29)),
        ({"blocks": (2,), "ttl_depths": ()}, (1, 1, 1)),
    ],
)
def test_minimum_size(options: dict[str, object], minimum: tuple[int, int, int]) -> None:
    assert DenseNetSpec(**options).minimum_size == minimum


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("blocks", ()),
        ("blocks", (6, 0, 24, 16)),
        ("growth_rate", 0),
        ("in_channels", -3),
        ("stem_stride", (0, 2, 2)),
        ("stem_kernel", (2, 7, 7)),
        ("stem_pool_kernel", (3, 3, 4)),
        ("dense_time_kernel", 2),
        ("ttl_depths", ((1, 3), None)),
        ("ttl_depths", ((), None, None)),
        ("ttl_depths", ((1, 0), None, None)),
        ("neck", -1),
        ("dropout", 1.0),
        ("dropout", -0.1),
    ],
)
def test_values_out_of_range_are_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{option} .* must ") as caught:
        DenseNetSpec(**{option: value})
    assert "\n" not in str(caught.value)


def test_depths_must_fit_the_blocks() -> None:
    with pytest.raises(ConfigError, match=r"must have 2 entries, one after each of the 3 stages but the last"):
        DenseNetSpec(blocks=(2, 3, 4))


@pytest.mark.parametrize("name", ["densenet3d_121", "t3d_121", "t3d_169"])
def test_one_set_of_weights_serves_both_sizes_of_the_paper(name: str) -> None:
    model = _meta(name)
    sizes = [(16, 112, 112), (32, 224, 224)]
    maps = [model.forward_features(torch.empty(1, 3, *size, device="meta")).shape[2:] for size in sizes]
    assert maps == [(1, 3, 3), (2, 7, 7)]
    assert all(model(torch.empty(1, 3, *size, device="meta")).shape == (1, 400) for size in sizes)


@pytest.mark.parametrize("num_frames", [1, 2, 7, 14])
def test_short_clips_work_on_request(num_frames: int) -> None:
    model = create_model("t3d_tiny", 5, keep_last_plane=True).eval()
    assert model.forward_features(_clips(1, 3, num_frames, 32, 32)).shape[2:] == (1, 1, 1)


def test_keeping_the_last_plane_changes_nothing_for_long_clips() -> None:
    plain, lenient = (create_model("t3d_tiny", 5, keep_last_plane=keep).eval() for keep in (False, True))
    lenient.load_state_dict(plain.state_dict())
    clips = _clips(1, 3, 16, 32, 32)
    assert torch.equal(plain(clips), lenient(clips))


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


@pytest.mark.parametrize("name", TINY)
def test_weights_survive_a_file(name: str, tmp_path: Path) -> None:
    saved, loaded = _randomised(create_model(name, 5)), create_model(name, 5).eval()
    save_file(saved.state_dict(), tmp_path / "weights.safetensors")
    loaded.load_state_dict(load_file(tmp_path / "weights.safetensors"), strict=True)
    clips = _clips(2, 3, 16, 32, 32)
    assert torch.equal(saved(clips), loaded(clips))


@pytest.mark.parametrize(("name", "options"), [("t3d_tiny", {"replicate_time": True, "neck": 7})])
def test_export_with_any_batch_equals_eager(name: str, options: dict[str, object]) -> None:
    model = _randomised(create_model(name, 5, **options))
    program = torch.export.export(
        model, (_clips(2, 3, 16, 32, 32),), dynamic_shapes={"clips": {0: torch.export.Dim("batch", min=1, max=64)}}
    )
    for batch_size in (2, 3):
        clips = _clips(batch_size, 3, 16, 32, 32, seed=batch_size)
        torch.testing.assert_close(program.module()(clips), model(clips))


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
