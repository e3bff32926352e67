"""Find the videos of DATA, and open them as frames or optical flow.

Heavy libraries are imported where they are used, so that wrong paths are refused at once.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from t3d.commands._checks import check_data
from t3d.commands._console import bar, log
from t3d.config.fields import BUILT_IN
from t3d.data.formats import load_videos
from t3d.data.samples import Subset, VideoList
from t3d.files import locked, make_folder
from t3d.video.spec import PixelSpec

if TYPE_CHECKING:
    from t3d.data.clips import OpenVideo
else:
    OpenVideo = Callable


def find_videos(data: Path, *, subset: Subset, split: int, format: str | None) -> VideoList:
    """Load one list of a dataset; the caller prints its warnings when no error can follow."""
    return load_videos(resolve(data), subset=subset, split=split, format=format)


def resolve(data: Path) -> Path:
    """The folder or file of DATA; `temporal-shapes` is rendered into the cache on first use.

    Raises:
        DataError: It does not exist, or is an incomplete prepared dataset.
    """
    if str(data) == BUILT_IN:
        return _render(cache_folder() / BUILT_IN)
    check_data(data)
    return data


def cache_folder() -> Path:
    """`$T3D_CACHE`, or `t3d` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("T3D_CACHE") or Path(base) / "t3d")


def video_source(pixels: PixelSpec, *, backend: str, keep_flow: bool = True) -> OpenVideo:
    """A function that opens a video as input of a network.

    Args:
        pixels: Modality and size.
        backend: Library that decodes.
        keep_flow: Store optical flow in the cache folder, so that it is computed once per video.

    Raises:
        ConfigError: OpenCV is needed for flow and not installed, or the cache folder cannot be created.
    """
    if pixels.modality != "flow":
        from t3d.video.decode import open_video

        return partial(open_video, backend=backend)
    from t3d.video.optical_flow import flow_kind, open_flow

    folder = cache_folder() / "flow" / flow_kind(pixels, backend=backend)
    if not keep_flow:
        return partial(open_flow, pixels=pixels, backend=backend)
    if not folder.exists():
        log(f"optical flow is computed when a video is first read, which takes its time, and kept in {folder}")
    return partial(open_flow, pixels=pixels, folder=make_folder(folder), backend=backend)


def _render(folder: Path) -> Path:
    from t3d.data.shapes import render_shapes

    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        locked(folder.with_name(f"{folder.name}.lock")),
        bar("rendering temporal shapes", total=None) as progress,
    ):
        task = progress.task_ids[0]
        return render_shapes(
            folder,
            num_workers=0 if os.cpu_count() == 1 else 2,  # a second one is worth its start, more are not
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
