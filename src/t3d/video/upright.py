"""Turn a decoded picture the way its file says it is to be shown, rounded to quarter turns."""

import av
import numpy as np
from av.sidedata.sidedata import Type
from numpy.typing import NDArray


def upright(picture: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Apply the display matrix of the frame a picture (H, W, 3) was made from: quarter turns and mirror images.

    The matrix sends the stored point (x, y) to (a x + c y, b x + d y); telephones write one for portrait recordings.
    """
    if Type.DISPLAYMATRIX not in frame.side_data:
        return picture
    a, b, _, c, d = np.frombuffer(bytes(frame.side_data[Type.DISPLAYMATRIX]), dtype=np.int32)[:5].tolist()
    if abs(b) > abs(a):  # rows become columns
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
