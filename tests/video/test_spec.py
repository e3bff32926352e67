import pytest

from t3d.errors import ConfigError
from t3d.video.spec import AugmentSpec, ClipSpec, PixelSpec, SegmentSpec, ViewSpec


@pytest.mark.parametrize(("frames", "stride", "span"), [(32, 1, 32), (32, 2, 63), (32, 16, 497), (1, 9, 1)])
def test_a_clip_spans_from_its_first_to_its_last_frame(frames: int, stride: int, span: int) -> None:
    assert ClipSpec(num_frames=frames, frame_stride=stride).span == span


@pytest.mark.parametrize(("modality", "channels"), [("rgb", 3), ("difference", 3), ("flow", 2)])
def test_flow_has_two_channels(modality: str, channels: int) -> None:
    assert PixelSpec(modality=modality).channels == channels


@pytest.mark.parametrize(
    ("spec", "values", "words"),
    [
        (ClipSpec, {"num_frames": 0}, "--num-frames 0"),
        (ClipSpec, {"frame_stride": 0}, "--frame-stride 0"),
        (PixelSpec, {"resize": 100, "crop_size": 112}, "--crop-size 112 .* --resize 100"),
        (PixelSpec, {"std": (0.2, 0.0, 0.2)}, "--std 0.2 0.0 0.2"),
        (AugmentSpec, {"scales": ()}, "scales"),
        (AugmentSpec, {"scales": (1.2,)}, "scales"),
        (AugmentSpec, {"flip_probability": 1.5}, "--flip-probability 1.5"),
        (AugmentSpec, {"hue": 0.6}, "hue"),
        (AugmentSpec, {"contrast": -0.1}, "contrast"),
        (ViewSpec, {"segments": 0}, "--segments 0"),
        (ViewSpec, {"segments": 2, "step": 8}, "step 8 and segments 2 exclude each other"),
        (ViewSpec, {"clips": 1, "step": 8}, "clips 1 and step 8 exclude each other"),
        (SegmentSpec, {"segments": 0}, "--segments 0"),
        (SegmentSpec, {"segments": 2, "consensus_top": 0}, "--consensus-top 0"),
        (SegmentSpec, {"consensus": "max"}, "--consensus max .* --segments 2"),
        (SegmentSpec, {"segments": 2, "consensus": "top-k", "consensus_top": 3}, "--consensus-top 3 .* --segments 2"),
    ],
)
def test_values_that_make_no_sense_are_refused(spec: type, values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        spec(**values)


@pytest.mark.parametrize(
    ("segments", "views", "scored"),
    [
        (1, ViewSpec(), ViewSpec()),
        (3, ViewSpec(), ViewSpec(segments=3)),
        (3, ViewSpec(crops=3, batch_size=2), ViewSpec(segments=3, crops=3, batch_size=2)),
        (3, ViewSpec(segments=5), ViewSpec(segments=5)),
        (3, ViewSpec(clips=2), ViewSpec(clips=2)),
        (3, ViewSpec(step=4), ViewSpec(step=4)),
        (1, ViewSpec(segments=5), ViewSpec(segments=5)),
    ],
)
def test_segments_are_what_is_scored_unless_other_views_are_asked_for(
    segments: int, views: ViewSpec, scored: ViewSpec
) -> None:
    assert SegmentSpec(segments=segments).resolve(views) == scored


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (SegmentSpec(), "mean"),
        (SegmentSpec(segments=2, consensus="max"), "max"),
        (SegmentSpec(segments=5, consensus="top-k", consensus_top=3), "weighted top 3"),
    ],
)
def test_a_consensus_says_what_it_is(spec: SegmentSpec, text: str) -> None:
    assert spec.rule == text
