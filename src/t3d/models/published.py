"""Read weights that others published: their names to ours, and the literals that build the same network.

Downloads and file formats are not handled here; the dictionary of tensors is given.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from t3d.errors import CheckpointError, ConfigError

LAYOUTS: dict[str, dict[str, Any]] = {
    "t3d_authors": {"stem_pool_stride": (2, 2, 2)},
    "torchvision_densenet": {
        "stem_kernel": (1, 7, 7),
        "stem_stride": (1, 2, 2),
        "stem_pool_kernel": (1, 3, 3),
        "stem_pool_stride": (1, 2, 2),
        "dense_time_kernel": 1,
        "transition_time_stride": 1,
    },
}
"""For each published layout, the overrides of a densenet3d network that computes the same function.

Those of torchvision make the 2D twin: every kernel and stride is 1 in time, so frames never meet before the average.
"""

_LAYER = r"features\.denseblock(\d+)\.denselayer(\d+)\."
_RENAMES = (
    (r"features\.conv0\.", r"stem.conv."),
    (r"features\.norm0\.", r"stem.norm."),
    (_LAYER + r"(norm|conv)\.?1\.", r"stages.block\1.layer\2.squeeze.\3."),  # older files write norm.1 for norm1
    (_LAYER + r"(norm|conv)\.?2\.", r"stages.block\1.layer\2.grow.\3."),
    (r"features\.transition(\d+)\.(norm|conv)\.", r"stages.transition\1.compress.\2."),
    (r"features\.norm5\.", r"norm."),
    (r"classifier\.", r"classifier."),
)


def from_published(state_dict: Mapping[str, Tensor], *, layout: str) -> dict[str, Tensor]:
    """Rename published weights so that `load_state_dict(..., strict=True)` takes them.

    Convolutions of pictures become convolutions of clips with one plane in time.

    Args:
        state_dict: Tensors by their published names.
        layout: `t3d_authors` (MohsenFayyaz89/T3D, DenseNet3D) or `torchvision_densenet` (also timm); build the network
            with the overrides `LAYOUTS[layout]`.

    Raises:
        ConfigError: When the layout is unknown.
        CheckpointError: When a name does not belong to the layout.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"unknown layout {layout!r}; choose from {', '.join(LAYOUTS)}")
    return {
        _rename(name, layout): tensor.unsqueeze(2) if tensor.ndim == 4 else tensor
        for name, tensor in state_dict.items()
    }


def _rename(name: str, layout: str) -> str:
    for pattern, replacement in _RENAMES:
        renamed, num_matches = re.subn("^" + pattern, replacement, name)
        if num_matches:
            return renamed
    raise CheckpointError(f"tensor {name!r} is not part of layout {layout}; is this a DenseNet file?")
