import pytest

from t3d.errors import ConfigError
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec


@pytest.mark.parametrize(("frames", "stride", "span"), [(32, 1, 32), (32, 2, 63), (32, 16, 497), (1, 9, 1)])
def test_a_clip_spans_from_its_first_to_its_last_frame(frames: int, stride: int, span: int) -> None:
    assert ClipSpec(num_frames=frames, frame_stride=stride).span == span


@pytest.mark.parametrize(
    ("spec", "values", "words"),
    [
        (ClipSpec, {"num_frames": 0}, "num_frames 0"),
        (ClipSpec, {"frame_stride": 0}, "frame_stride 0"),
        (PixelSpec, {"resize": 100, "crop_size": 112}, "crop_size 112 .* resize 100"),
        (PixelSpec, {"std": (0.2, 0.0, 0.2)}, "std above 0"),
        (AugmentSpec, {"scales": ()}, "scales"),
        (AugmentSpec, {"scales": (1.2,)}, "scales"),
        (AugmentSpec, {"flip_probability": 1.5}, "flip_probability 1.5"),
        (AugmentSpec, {"hue": 0.6}, "hue"),
        (AugmentSpec, {"contrast": -0.1}, "contrast"),
    ],
)
def test_values_that_make_no_sense_are_refused(spec: type, values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        spec(**values)
