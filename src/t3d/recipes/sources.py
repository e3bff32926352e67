"""How a recipe opens videos: as pictures, or as optical flow."""

from functools import partial

from t3d.data.clips import OpenVideo
from t3d.recipes.console import say
from t3d.recipes.datasets import cache_folder
from t3d.recipes.folders import make_folder
from t3d.video.decode import open_video
from t3d.video.optical_flow import flow_kind, open_flow
from t3d.video.spec import PixelSpec


def video_source(pixels: PixelSpec, *, backend: str, keep_flow: bool = True) -> OpenVideo:
    """What opens a path for a network with this input.

    Args:
        pixels: What the network sees.
        backend: Library that decodes.
        keep_flow: Keep optical flow in the cache folder, so that it is computed once a video.

    Raises:
        ConfigError: OpenCV is not installed and flow needs it, or the cache folder cannot be made.
    """
    if pixels.modality != "flow":
        return partial(open_video, backend=backend)
    folder = cache_folder() / "flow" / flow_kind(pixels, backend=backend)
    if not keep_flow:
        return partial(open_flow, pixels=pixels, backend=backend)
    if not folder.exists():
        say(f"optical flow is computed when a video is first read, which takes its time, and kept in {folder}")
    return partial(open_flow, pixels=pixels, folder=make_folder(folder), backend=backend)
