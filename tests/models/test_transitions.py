from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from t3d.errors import ConfigError
from t3d.models import TemporalTransition
from t3d.models.transitions import DenseTransition, HalvingPool, same_width_transition


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
    features, out, tensors = _both(DenseTransition(3, pool=HalvingPool()), size)
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
    transition = TemporalTransition(3, depths=(1, 3, 4), width=2, flat=True, pool=HalvingPool(time_stride=1))
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
        (lambda: HalvingPool(), 4, 2),
        (lambda: HalvingPool(), 5, 2),
        (lambda: HalvingPool(time_stride=1), 5, 5),
        (lambda: HalvingPool(keep_last_plane=True), 3, 1),
        (lambda: HalvingPool(keep_last_plane=True), 1, 1),
        (lambda: HalvingPool(time_stride=3, keep_last_plane=True), 2, 2),
    ],
)
def test_time_is_halved_unless_told_otherwise(pool: Callable[[], HalvingPool], num_planes: int, left: int) -> None:
    assert pool()(torch.zeros(1, 2, num_planes, 6, 5)).shape == (1, 2, left, 3, 2)


@pytest.mark.parametrize("depths", [(), (0, 3), (1, -1)])
@pytest.mark.parametrize("build", [TemporalTransition, same_width_transition])
def test_depths_that_look_at_nothing_are_refused(build: Callable[..., object], depths: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="must name frames, each at least 1"):
        build(6, depths=depths)
