"""Which videos belong together: what the names of well-known datasets say about the person or source behind a video.

A group must never be divided between training and test. Dividing is `t3d.data.splits` and `t3d.data.folds`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from t3d.data.samples import Sample

_UCF101 = re.compile(r"(.+_g\d+)_c\d+")
_HMDB51 = re.compile(r"(.+)_[hulf]_[a-z]+_np\d+_[a-z]+_[a-z]+_\d+")
_KINETICS = re.compile(r"([\w-]{11})_\d{6}_\d{6}")


def group_of_name(stem: str) -> str | None:
    """The group that a file name without its suffix tells, or None where it tells none.

    UCF101 (`v_Class_gNN_cNN`): the class with gNN. HMDB51: what stands before the six trailing tags. Kinetics
    (`<youtube id>_<start>_<end>`): the YouTube id.
    """
    for pattern in (_UCF101, _HMDB51, _KINETICS):
        match = pattern.fullmatch(stem)
        if match:
            return match.group(1)
    return None


def with_groups(samples: Sequence[Sample]) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Fill in empty groups: from the name if it tells one, else each file its own, with a warning."""
    grouped = tuple(sample if sample.group else replace(sample, group=_group(sample)) for sample in samples)
    unknown = sum(not sample.group and group_of_name(sample.path.stem) is None for sample in samples)
    if not unknown:
        return grouped, ()
    warning = (
        f"{unknown} of {len(samples)} videos name no group, so each file is its own: videos of one person or source "
        "on both sides of a split cannot be detected (a CSV with a column `group` can tell)"
    )
    return grouped, (warning,)


def _group(sample: Sample) -> str:
    whole_file = sample.start_seconds is None and sample.end_seconds is None
    file = sample.name if whole_file else sample.name.rpartition("#")[0]  # pieces of one file belong together
    return group_of_name(sample.path.stem) or file
