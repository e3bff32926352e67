"""The network that says whether pictures and a clip match, and what a later training keeps of it."""

from pathlib import Path

import torch
from jaxtyping import Float, Int64
from safetensors.torch import save_file
from torch import Tensor, nn

from t3d.errors import CheckpointError
from t3d.files import complete
from t3d.models import Network
from t3d.models.pretrained.files import load_tensors, read_tensors
from t3d.run_files import MATCHER_NAME
from t3d.tensors import Clips, Features, Logits

WIDTH = 1024
"""Of the features that are compared."""


class Matcher(nn.Module):
    """Tell whether what a teacher saw in pictures, and what a student saw in a clip, belong together.

    Args:
        student_features: Width of the student's features; a linear layer makes them 1024 wide.
        teacher_features: Width of the teacher's; a linear layer does the same unless they are 1024 wide already.
        normalise: Batch normalisation of both before they are joined. The paper has none; it starts faster with it.

    Source: Diba et al. 2017, arXiv:1711.08200, section 3.2, Fig. 2: 2048 -> 512 -> 128 -> 2. What stands between these
    layers is not stated there; it is ReLU here.
    """

    def __init__(self, *, student_features: int, teacher_features: int, normalise: bool = False) -> None:
        super().__init__()
        self.student = nn.Linear(student_features, WIDTH)
        self.teacher = nn.Identity() if teacher_features == WIDTH else nn.Linear(teacher_features, WIDTH)
        self.student_norm = nn.BatchNorm1d(WIDTH) if normalise else nn.Identity()
        self.teacher_norm = nn.BatchNorm1d(WIDTH) if normalise else nn.Identity()
        self.head = nn.Sequential(
            nn.Linear(2 * WIDTH, 512), nn.ReLU(), nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 2)
        )
        self._initialise()

    def describe_clips(self, features: Features) -> Float[Tensor, "B E"]:
        """Widen the student's features (B, student_features) to (B, 1024)."""
        return self.student_norm(self.student(features))

    def describe_pictures(self, features: Features) -> Float[Tensor, "B E"]:
        """Widen the teacher's averaged features (B, teacher_features) to (B, 1024)."""
        return self.teacher_norm(self.teacher(features))

    def forward(self, pictures: Float[Tensor, "B E"], clips: Float[Tensor, "B E"]) -> Logits:
        """Score (B, 2): no match, match; both sides as described."""
        return self.head(torch.cat([pictures, clips], dim=1))  # (B, 2048)

    def _initialise(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)


class MatchingNetwork(nn.Module):
    """A student and its matcher: all that learns in a transfer.

    Args:
        student: A network with `embed` and `num_features`.
        matcher: Compares its features with a teacher's.
    """

    def __init__(self, student: nn.Module, matcher: Matcher) -> None:
        super().__init__()
        self.student = student
        self.matcher = matcher

    def forward(
        self, clips: Clips, teacher_views: Float[Tensor, "L D"], pairs: Int64[Tensor, "P 2"]
    ) -> tuple[Float[Tensor, "P K"], Float[Tensor, "B E"], Float[Tensor, "L E"]]:
        """Score pairs of a clip and a teacher view, both by their row.

        Args:
            clips: What the student sees.
            teacher_views: What the teacher said about pictures.
            pairs: Row of the clip, row of the teacher view.

        Returns:
            Scores (P, 2), and the 1024-wide features of clips and teacher views.
        """
        motion = self.matcher.describe_clips(self.student.embed(clips))  # type: ignore[operator]
        appearance = self.matcher.describe_pictures(teacher_views)
        return self.matcher(appearance[pairs[:, 1]], motion[pairs[:, 0]]), motion, appearance


class ColourStatistics(nn.Module):
    """Mean and standard deviation of each channel of a clip: the control that a student must beat."""

    num_features = 6

    def embed(self, clips: Clips) -> Features:
        """Map (B, 3, T, H, W) to (B, 6)."""
        return torch.cat([clips.mean(dim=(2, 3, 4)), clips.std(dim=(2, 3, 4), correction=0)], dim=1)


def save_matcher(path: Path, matcher: Matcher) -> None:
    """Write what compared a student with its teacher."""
    with complete(path) as unfinished:
        save_file({name: tensor.contiguous() for name, tensor in matcher.state_dict().items()}, str(unfinished))


def keep_fc(model: Network, path: Path) -> None:
    """Fill the neck of a network with the layer that a transfer put on its student.

    Raises:
        CheckpointError: `path` is no run of a transfer.
    """
    file = path / MATCHER_NAME
    if not file.exists():
        raise CheckpointError(f"{path}: no {MATCHER_NAME} in this folder; --keep-fc needs the run folder of a transfer")
    tensors = read_tensors(file)
    layer = {name: tensor for name, tensor in tensors.items() if name.startswith("student.")}
    load_tensors(model.neck, {name.removeprefix("student."): tensor for name, tensor in layer.items()}, str(file))
