import pytest

from t3d.models.real_zeros import needs_real_zeros


@pytest.mark.parametrize(
    ("planes", "depth", "zeros", "stride", "needed"),
    [
        (2, 3, 1, 1, True),  # the third block of a T3D at 16 frames: both places stand half outside
        (3, 3, 1, 1, False),  # the middle place stands inside
        (1, 3, 1, 1, False),  # a single plane comes out
        (2, 3, 0, 1, False),
        (4, 4, 1, 2, True),  # places begin at -1 and 1
        (5, 4, 1, 2, False),  # 1 to 4 is inside
    ],
)
def test_zeros_must_be_real_where_the_kernel_never_stands_inside(
    planes: int, depth: int, zeros: int, stride: int, needed: bool
) -> None:
    assert needs_real_zeros(planes, depth, zeros=zeros, stride=stride) is needed
