import pytest
import torch
from torch import Tensor

from t3d.errors import ConfigError
from t3d.video.spec import AugmentSpec, PixelSpec
from t3d.video.transforms import centre_view, normalise, three_views, train_view

PLAIN = AugmentSpec(crop="centre", flip_probability=0.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coordinates(height: int, width: int, *, length: int = 2) -> Tensor:
    """Pictures whose red is the row, green the column and blue the number of the frame."""
    frames = torch.zeros(length, height, width, 3, dtype=torch.uint8)
    frames[..., 0] = torch.arange(height)[:, None]
    frames[..., 1] = torch.arange(width)
    frames[..., 2] = torch.arange(length)[:, None, None]
    return frames


def corner(clip: Tensor) -> tuple[int, int]:
    """Where a crop of `coordinates` was taken."""
    return int(clip[0, 0, 0, 0]), int(clip[1, 0, 0, 0])


def test_the_centre_crop_of_pictures_of_the_right_size_is_a_copy() -> None:
    clip = centre_view(coordinates(20, 31), PixelSpec(resize=20, crop_size=12))
    assert clip.shape == (3, 2, 12, 12)
    assert clip.dtype == torch.uint8
    assert clip.is_contiguous()
    assert torch.equal(clip, coordinates(20, 31)[:, 4:16, 9:21].permute(3, 0, 1, 2))


@pytest.mark.parametrize("size", [(20, 31), (31, 20)])
def test_three_views_lie_along_the_longer_side(size: tuple[int, int]) -> None:
    views = three_views(coordinates(*size), PixelSpec(resize=20, crop_size=12))
    assert views.shape == (3, 3, 2, 12, 12)
    expected = [(4, 0), (4, 9), (4, 19)]
    if size == (31, 20):
        expected = [(column, row) for row, column in expected]
    assert [corner(view) for view in views] == expected


def test_the_short_side_is_resized_and_the_shape_kept() -> None:
    frames = torch.full((2, 30, 61, 3), 77, dtype=torch.uint8)
    views = three_views(frames, PixelSpec(resize=15, crop_size=15))
    assert views.shape == (3, 3, 2, 15, 15)
    assert (views == 77).all()
    # a ramp over 60 columns, halved: neighbouring pairs are averaged
    ramp = coordinates(30, 60)
    clip = centre_view(ramp, PixelSpec(resize=15, crop_size=15))
    columns = clip[1, 0, 7].int()
    assert torch.equal(columns.diff(), torch.full((14,), 2, dtype=torch.int32))
    assert abs(int(columns[7]) - 29.5) <= 1  # the middle stays in the middle


def test_exact_resizing_squashes() -> None:
    clip = centre_view(coordinates(20, 40), PixelSpec(resize=20, resize_mode="exact", crop_size=20))
    assert clip.shape == (3, 2, 20, 20)
    assert torch.equal(clip[0, 0, :, 0], torch.arange(20, dtype=torch.uint8))  # rows were right already
    assert torch.equal(clip[1, 0, 0, 1:-1].int().diff(), torch.full((17,), 2, dtype=torch.int32))


@pytest.mark.parametrize("mode", ["short", "exact"])
@pytest.mark.parametrize("size", [(3, 5), (7, 4), (1, 1)])
def test_pictures_smaller_than_the_crop_are_enlarged(size: tuple[int, int], mode: str) -> None:
    frames = torch.full((2, *size, 3), 200, dtype=torch.uint8)
    pixels = PixelSpec(resize=16, resize_mode=mode, crop_size=14)
    assert (centre_view(frames, pixels) == 200).all()
    assert three_views(frames, pixels).shape == (3, 3, 2, 14, 14)
    assert train_view(frames, pixels, AugmentSpec(scales=(1.0, 0.5)), seeded()).shape == (3, 2, 14, 14)


def test_five_crops_are_the_corners_and_the_centre() -> None:
    generator = seeded()
    augment = AugmentSpec(crop="five", flip_probability=0.0)
    pixels = PixelSpec(resize=20, crop_size=12)
    found = [corner(train_view(coordinates(20, 31), pixels, augment, generator)) for _ in range(200)]
    assert set(found) == {(0, 0), (0, 19), (8, 0), (8, 19), (4, 9)}
    assert min(found.count(place) for place in set(found)) > 20


def test_random_crops_reach_every_place() -> None:
    generator = seeded()
    augment = AugmentSpec(crop="random", flip_probability=0.0)
    pixels = PixelSpec(resize=14, crop_size=12)
    found = {corner(train_view(coordinates(14, 15), pixels, augment, generator)) for _ in range(400)}
    assert found == {(row, column) for row in range(3) for column in range(4)}


def test_the_training_view_without_choices_is_the_test_view() -> None:
    frames = torch.randint(256, (3, 40, 50, 3), dtype=torch.uint8, generator=seeded())
    pixels = PixelSpec(resize=32, crop_size=24)
    assert torch.equal(train_view(frames, pixels, PLAIN, seeded()), centre_view(frames, pixels))


def test_all_frames_of_a_clip_get_the_same_crop_flip_and_colour() -> None:
    still = torch.randint(256, (1, 30, 40, 3), dtype=torch.uint8, generator=seeded()).expand(6, -1, -1, -1)
    augment = AugmentSpec(crop="random", scales=(1.0, 0.8), brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2)
    for seed in range(10):
        clip = train_view(still, PixelSpec(resize=24, crop_size=16), augment, seeded(seed))
        assert (clip == clip[:, :1]).all()


def test_a_flip_mirrors_left_and_right() -> None:
    pixels = PixelSpec(resize=12, crop_size=12)
    frames = coordinates(12, 12)
    always, never = (AugmentSpec(crop="centre", flip_probability=chance) for chance in (1.0, 0.0))
    flipped = train_view(frames, pixels, always, seeded())
    assert torch.equal(flipped, train_view(frames, pixels, never, seeded()).flip(-1))
    assert flipped[1, 0, 0].tolist() == list(range(11, -1, -1))
    assert flipped[0, 0, :, 0].tolist() == list(range(12))


def test_half_of_the_clips_are_flipped() -> None:
    generator = seeded()
    augment = AugmentSpec(crop="centre", flip_probability=0.5)
    pixels = PixelSpec(resize=4, crop_size=4)
    flips = sum(corner(train_view(coordinates(4, 4), pixels, augment, generator))[1] == 3 for _ in range(1000))
    assert 440 < flips < 560


def test_a_smaller_crop_is_enlarged_to_the_crop_size() -> None:
    frames = torch.zeros(2, 40, 40, 3, dtype=torch.uint8)
    frames[:, 10:30, 10:30] = 250  # what the centre crop of 20 sees
    pixels = PixelSpec(resize=40, crop_size=40)
    augment = AugmentSpec(crop="centre", scales=(0.5,), flip_probability=0.0)
    clip = train_view(frames, pixels, augment, seeded())
    assert clip.shape == (3, 2, 40, 40)
    assert (clip == 250).all()


def test_every_scale_is_drawn() -> None:
    generator = seeded()
    augment = AugmentSpec(crop="centre", scales=(1.0, 0.75, 0.5), flip_probability=0.0)
    pixels = PixelSpec(resize=16, crop_size=16)
    found = {corner(train_view(coordinates(16, 16), pixels, augment, generator)) for _ in range(60)}
    assert found == {(0, 0), (2, 2), (4, 4)}  # (16 - 16 * scale) / 2


def test_a_seed_fixes_the_view() -> None:
    frames = torch.randint(256, (3, 40, 50, 3), dtype=torch.uint8, generator=seeded())
    pixels = PixelSpec(resize=32, crop_size=24)
    augment = AugmentSpec(crop="random", scales=(1.0, 0.7), brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)
    views = [train_view(frames, pixels, augment, seeded(seed)) for seed in (1, 1, 2)]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def jittered(colour: tuple[int, int, int], **amounts: float) -> Tensor:
    """One flat colour after each of 200 draws, (200, 3)."""
    frames = torch.tensor(colour, dtype=torch.uint8).expand(1, 2, 2, 3)
    augment = AugmentSpec(crop="centre", flip_probability=0.0, **amounts)
    generator = seeded()
    pixels = PixelSpec(resize=2, crop_size=2)
    return torch.stack([train_view(frames, pixels, augment, generator)[:, 0, 0, 0] for _ in range(200)]).int()


def test_brightness_multiplies_by_its_range() -> None:
    values = jittered((100, 50, 10), brightness=0.4)
    assert values[:, 0].min() in range(60, 64)  # 100 * 0.6
    assert values[:, 0].max() in range(137, 141)
    assert (values[:, 0] - 2 * values[:, 1]).abs().max() <= 2  # one factor for all channels


def test_brightness_saturates_at_white() -> None:
    assert jittered((240, 240, 240), brightness=0.5).max() == 255


def test_contrast_leaves_a_flat_grey_alone_and_stretches_the_rest() -> None:
    assert (jittered((90, 90, 90), contrast=0.5) - 90).abs().max() <= 1
    frames = torch.tensor([100, 140], dtype=torch.uint8)[None, :, None, None].expand(1, 2, 2, 3)  # mean 120
    augment = AugmentSpec(crop="centre", flip_probability=0.0, contrast=0.5)
    generator = seeded()
    clips = torch.stack(
        [train_view(frames, PixelSpec(resize=2, crop_size=2), augment, generator)[0, 0, :, 0] for _ in range(200)]
    ).int()
    assert ((clips.sum(dim=1) - 240).abs() <= 1).all()
    spread = clips[:, 1] - clips[:, 0]
    assert spread.min() in range(20, 23)  # 40 * 0.5
    assert spread.max() in range(58, 61)


def test_saturation_and_hue_leave_grey_alone() -> None:
    assert (jittered((90, 90, 90), saturation=0.9, hue=0.5) - 90).abs().max() <= 1


def test_full_loss_of_saturation_is_the_luma() -> None:
    values = jittered((200, 100, 50), saturation=1.0)
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    greyest = values[(values.max(dim=1).values - values.min(dim=1).values).argmin()]
    assert (greyest - luma).abs().max() < 3
    lumas = values[values.max(dim=1).values < 255].double() @ torch.tensor([0.299, 0.587, 0.114]).double()
    assert (lumas - luma).abs().max() < 1.5


def test_hue_turns_colours_round_and_keeps_their_luma() -> None:
    values = jittered((150, 100, 100), hue=0.5)
    assert {int(row.argmax()) for row in values} == {0, 1, 2}  # red becomes green and blue
    lumas = values.double() @ torch.tensor([0.299, 0.587, 0.114]).double()
    assert (lumas - (0.299 * 150 + 0.701 * 100)).abs().max() < 1.5


def test_no_jitter_changes_nothing() -> None:
    frames = torch.randint(256, (3, 24, 24, 3), dtype=torch.uint8, generator=seeded())
    pixels = PixelSpec(resize=24, crop_size=24)
    generator = seeded()
    assert torch.equal(train_view(frames, pixels, PLAIN, generator), frames.permute(3, 0, 1, 2))
    tiny = AugmentSpec(crop="centre", flip_probability=0.0, hue=1e-9)  # through the arithmetic, but by nothing
    assert torch.equal(train_view(frames, pixels, tiny, seeded()), frames.permute(3, 0, 1, 2))


def test_normalising_by_hand() -> None:
    pixels = PixelSpec(mean=(0.5, 0.2, 0.0), std=(0.25, 0.5, 1.0))
    clips = torch.tensor([0, 51, 255], dtype=torch.uint8)[None, :, None, None, None].expand(2, 3, 4, 5, 6)
    normal = normalise(clips, pixels)
    assert normal.shape == (2, 3, 4, 5, 6)
    assert normal.dtype == torch.float32
    expected = [(0 - 127.5) / 63.75, (51 - 51.0) / 127.5, 255 / 255]  # -2, 0, 1
    assert normal[1, :, 0, 0, 0].tolist() == pytest.approx(expected)


def test_differences_by_hand() -> None:
    pixels = PixelSpec(mean=(0.5, 0.2, 0.0), std=(0.25, 0.5, 1.0), modality="difference")
    levels = torch.tensor([10, 61, 61, 10, 255], dtype=torch.uint8)
    clips = levels[None, None, :, None, None].expand(2, 3, 5, 4, 6)
    changes = normalise(clips, pixels)
    assert changes.shape == (2, 3, 5, 4, 6)
    assert changes.dtype == torch.float32
    steps = torch.tensor([51, 0, -51, 245, 245]) / 255  # the last frame has no next one
    for channel, std in enumerate((0.25, 0.5, 1.0)):
        assert changes[1, channel, :, 2, 3].tolist() == pytest.approx((steps / std).tolist(), abs=1e-5)


def test_a_still_clip_has_no_differences_whatever_its_picture() -> None:
    still = torch.randint(256, (2, 3, 1, 5, 6), dtype=torch.uint8, generator=seeded()).expand(-1, -1, 4, -1, -1)
    assert not normalise(still, PixelSpec(modality="difference")).any()


def test_one_frame_has_no_difference() -> None:
    clips = torch.zeros(1, 3, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ConfigError, match="clips of one frame hold no change; use --num-frames 2"):
        normalise(clips, PixelSpec(modality="difference"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_normalising_happens_where_the_clips_are() -> None:
    clips = torch.randint(256, (2, 3, 4, 5, 6), dtype=torch.uint8, generator=seeded())
    assert torch.allclose(normalise(clips.cuda(), PixelSpec()).cpu(), normalise(clips, PixelSpec()))


FLOW = PixelSpec(resize=20, crop_size=20, modality="flow")


def motion(*, right: int, down: int) -> Tensor:
    """Flow (T, H, W, 2) whose left half moves, and whose right half does not."""
    frames = torch.full((2, 20, 20, 2), 128, dtype=torch.uint8)
    frames[:, :, :10] = torch.tensor([right, down], dtype=torch.uint8)
    return frames


def test_a_flip_of_flow_turns_the_horizontal_motion_round() -> None:
    always = AugmentSpec(crop="centre", flip_probability=1.0)
    clip = train_view(motion(right=255, down=40), FLOW, always, seeded())
    assert clip.shape == (2, 2, 20, 20)
    assert (clip[0, :, :, 10:] == 1).all()  # 128 - 127, on the other side
    assert (clip[1, :, :, 10:] == 40).all()
    assert (clip[..., :10] == 128).all()


def test_an_enlarged_crop_of_flow_keeps_its_values() -> None:
    frames = torch.tensor([100, 200], dtype=torch.uint8).expand(2, 20, 20, 2)
    augment = AugmentSpec(scales=(0.5,), flip_probability=0.0)
    assert train_view(frames, FLOW, augment, seeded()).equal(centre_view(frames, FLOW))


def test_two_flips_of_flow_are_none() -> None:
    always = AugmentSpec(crop="centre", flip_probability=1.0)
    frames = torch.randint(1, 256, (2, 20, 20, 2), generator=seeded(), dtype=torch.uint8)
    once = train_view(frames, FLOW, always, seeded())
    assert train_view(once.permute(1, 2, 3, 0), FLOW, always, seeded()).equal(frames.permute(3, 0, 1, 2))
    assert (normalise(once[None], FLOW)[:, 0] == -normalise(frames.flip(2).permute(3, 0, 1, 2)[None], FLOW)[:, 0]).all()


def test_no_motion_is_zero_and_the_deviation_is_fixed() -> None:
    clip = centre_view(motion(right=128 + 24, down=128 - 6), FLOW)
    values = normalise(clip[None], FLOW)
    assert values[0, :, 0, 0, 0].tolist() == [2.0, -0.5]
    assert not values[..., 10:].any()


def test_views_of_flow_have_two_channels() -> None:
    frames = torch.full((3, 20, 40, 2), 128, dtype=torch.uint8)
    assert three_views(frames, FLOW).shape == (3, 2, 3, 20, 20)
