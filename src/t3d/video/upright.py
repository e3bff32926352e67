"""Turn a decoded picture the way its file says it is to be shown, rounded to quarter turns."""

from typing import cast

import av
import numpy as np
from av.sidedata.sidedata import SideData
from numpy.typing import NDArray


def upright(picture: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Apply the display matrix of the frame a picture (H, W, 3) was made from: quarter turns and mirror images.

    The matrix sends the stored point (x, y) to (a x + c y, b x + d y); telephones write one for portrait recordings.
    """
    matrix = cast(SideData | None, frame.side_data.get("DISPLAYMATRIX"))  # PyAV's stub knows of no keys
    if matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()
    if abs(b) > abs(a):  # rows become columns
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
