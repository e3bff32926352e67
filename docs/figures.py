"""Make the pictures and generated tables of the docs: `make docs`."""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from t3d.data.shape_frames import SHAPE_PAIRS, draw_shape_video, shape_frames
from t3d.models import describe_models

DOCS = Path(__file__).resolve().parent
NUM_FRAMES = 31
SHOWN = range(0, NUM_FRAMES, 5)
TABLE_HEAD = "| name | parameters | GFLOPs | native clip (C x T x H x W) |"


def main() -> None:
    """Write every generated file of this folder."""
    (DOCS / "images").mkdir(exist_ok=True)
    film_strips().savefig(DOCS / "images" / "temporal-shapes.png", dpi=100)
    networks = DOCS / "models.md"
    text = networks.read_text(encoding="utf-8").partition(TABLE_HEAD)[0]
    networks.write_text(text + models_table(), encoding="utf-8")


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


def models_table() -> str:
    """The list of networks as Markdown: what stands last in its file."""
    lines = [TABLE_HEAD, "|---|---:|---:|---|"]
    for row in describe_models():
        size = " x ".join(map(str, row.input))
        lines.append(f"| `{row.name}` | {row.parameters / 1e6:.3f} M | {row.gflops:.1f} | {size} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
