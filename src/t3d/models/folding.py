"""A copy of a network for scoring, in which the norms behind convolutions are part of these. Exact up to rounding."""

from copy import deepcopy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from t3d.models.conv_norm import ConvNorm
from t3d.models.dense_block import DenseLayer
from t3d.models.densenet3d import Stem
from t3d.models.network import Network


def folded(network: Network) -> Network:
    """Copy a network in evaluation mode, with fewer passes over its maps; the given one is left as it is.

    Its tensors have other names and values than those of the network: it is for computing, not for saving.
    """
    copy = deepcopy(network).eval().requires_grad_(False)
    for module in copy.modules():
        if isinstance(module, Stem | ConvNorm) and isinstance(module.norm, nn.BatchNorm3d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.register_module("norm", nn.Identity())
        elif isinstance(module, DenseLayer):
            module.squeeze.conv = fuse_conv_bn_eval(module.squeeze.conv, module.grow.norm)
            module.grow.register_module("norm", nn.Identity())
    return copy
