"""Make the pictures of the docs: `make docs`."""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from t3d.data.shape_frames import SHAPE_PAIRS, draw_shape_video, shape_frames

DOCS = Path(__file__).resolve().parent
NUM_FRAMES = 31
SHOWN = range(0, NUM_FRAMES, 5)


def main() -> None:
    """Write every picture."""
    (DOCS / "images").mkdir(exist_ok=True)
    film_strips().savefig(DOCS / "images" / "temporal-shapes.png", dpi=100)


def film_strips() -> Figure:
    """One video of each of the six pairs; its twin is the same strip read from right to left."""
    figure = Figure(figsize=(10, 8.2), layout="constrained")
    axes = figure.subplots(len(SHAPE_PAIRS), 1)
    for row, (first, second) in enumerate(SHAPE_PAIRS):
        video = draw_shape_video("long", torch.Generator().manual_seed(row))
        frames = shape_frames(first, video, num_frames=NUM_FRAMES)
        strip = torch.nn.functional.pad(frames[list(SHOWN)], (0, 0, 0, 4), value=255)  # a gap between pictures
        axes[row].imshow(torch.cat(list(strip), dim=1).numpy())
        axes[row].set_title(f"{first}  (read from right to left: {second})", fontsize=10, loc="left")
        axes[row].axis("off")
    return figure


if __name__ == "__main__":
    main()
