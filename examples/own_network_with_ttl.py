"""Put the paper's temporal transition layer into a network of your own, and keep the weights it has.

    python examples/own_network_with_ttl.py

`with_transition` puts the layer in front of a stage and takes the stage's own halving out. The weights of your network
stay where they are, only the layer's are new, so train it for a while before you judge it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t3d.models import with_transition


class Block(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1)
        self.second = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv3d(in_channels, out_channels, 1, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, out_channels, T / stride, H / stride, W / stride)."""
        return F.relu(self.second(F.relu(self.first(features))) + self.shortcut(features))


class OwnNetwork(nn.Module):
    """Two stages, the second of which halves time, height and width."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.early = Block(3, 12, stride=2)
        self.late = Block(12, 24, stride=2)
        self.classifier = nn.Linear(24, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        """Map clips (B, 3, T, H, W) to scores (B, num_classes)."""
        return self.classifier(self.late(self.early(clips)).mean(dim=(2, 3, 4)))


def main() -> None:
    """Insert the layer, show that nothing else has changed its size, and make one update."""
    network = OwnNetwork(num_classes=5)  # load your weights here
    clips, labels = torch.randn(2, 3, 16, 32, 32), torch.tensor([0, 3])
    before = network.late(network.early(clips)).shape

    network.late = with_transition(network.late, 12, depths=(1, 3, 4))
    after = network.late(network.early(clips)).shape
    print(f"the stage gives {tuple(before)} before, {tuple(after)} after")

    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)  # after the insertion, so that it knows the new weights
    loss = F.cross_entropy(network(clips), labels)
    loss.backward()
    optimizer.step()
    print(f"one update, loss {loss.item():.3f}; new weights:")
    for name, weight in network.late.transition.named_parameters():
        if weight.ndim > 1:
            print(f"  {name} {tuple(weight.shape)}")


if __name__ == "__main__":
    main()
