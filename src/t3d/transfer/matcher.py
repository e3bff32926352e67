"""The matcher: classifies whether teacher and student features belong together; saving and reusing it."""

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
"""Width of both features before they are concatenated."""


class Matcher(nn.Module):
    """Classify whether teacher features of frames and student features of a clip match.

    Args:
        student_features: Width of the student's features; a linear layer maps them to 1024.
        teacher_features: Width of the teacher's features; mapped likewise unless it is 1024.
        normalise: Batch normalisation of both before concatenation. The paper has none; training starts faster.

    Source: Diba et al. 2017, arXiv:1711.08200, section 3.2, Fig. 2: 2048 -> 512 -> 128 -> 2. The paper does not
    state activations; here it is ReLU.
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
        """Map the student's features (B, student_features) to (B, 1024)."""
        return self.student_norm(self.student(features))

    def describe_pictures(self, features: Features) -> Float[Tensor, "B E"]:
        """Map the teacher's averaged features (B, teacher_features) to (B, 1024)."""
        return self.teacher_norm(self.teacher(features))

    def forward(self, pictures: Float[Tensor, "B E"], clips: Float[Tensor, "B E"]) -> Logits:
        """Compute logits (B, 2) of no match and match, from the mapped features of both."""
        return self.head(torch.cat([pictures, clips], dim=1))  # (B, 2048)

    def _initialise(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)


class MatchingNetwork(nn.Module):
    """Student and matcher: everything that is trained in a transfer.

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
        """Score pairs of a clip and a teacher view.

        Args:
            clips: Input of the student.
            teacher_views: Features of the teacher.
            pairs: Row of the clip, row of the teacher view.

        Returns:
            Logits (P, 2), and the 1024-wide features of clips and teacher views.
        """
        motion = self.matcher.describe_clips(self.student.embed(clips))  # type: ignore[operator]
        appearance = self.matcher.describe_pictures(teacher_views)
        return self.matcher(appearance[pairs[:, 1]], motion[pairs[:, 0]]), motion, appearance


class ColourStatistics(nn.Module):
    """Mean and standard deviation of each channel of a clip: a control in place of the student."""

    num_features = 6

    def embed(self, clips: Clips) -> Features:
        """Map (B, 3, T, H, W) to (B, 6)."""
        return torch.cat([clips.mean(dim=(2, 3, 4)), clips.std(dim=(2, 3, 4), correction=0)], dim=1)


def save_matcher(path: Path, matcher: Matcher) -> None:
    """Write the weights of a matcher."""
    with complete(path) as unfinished:
        save_file({name: tensor.contiguous() for name, tensor in matcher.state_dict().items()}, str(unfinished))


def keep_fc(model: Network, path: Path) -> None:
    """Load the student's linear layer of a transfer into the neck of a network.

    Raises:
        CheckpointError: `path` is not the run folder of a transfer.
    """
    file = path / MATCHER_NAME
    if not file.exists():
        raise CheckpointError(f"{path}: no {MATCHER_NAME} in this folder; --keep-fc needs the run folder of a transfer")
    tensors = read_tensors(file)
    layer = {name: tensor for name, tensor in tensors.items() if name.startswith("student.")}
    load_tensors(model.neck, {name.removeprefix("student."): tensor for name, tensor in layer.items()}, str(file))
