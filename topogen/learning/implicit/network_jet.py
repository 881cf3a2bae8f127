"""First and second derivatives of a constraint network, written out.

A network with layers p_l = W_l a_{l-1} + b_l, a_l = silu(p_l) and tangents T_l = D p_l has for every output weight c

    D^2 <c, f>  =  sum_l T_l^t diag(b_l silu''(p_l)) T_l ,        b_l = the gradient of <c, f> with respect to a_l

so that one pass forwards with all tangents and one backwards per output weight give every second derivative, at the price of as many first ones.
Everything is computed in the dtype of the points: single precision takes half the time and is enough for steps that are corrected later.
Pearlmutter (1994), Fast exact multiplication by the Hessian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Layers", "NetworkJet", "layers_of", "network_jet", "value_and_rows"]

# Weights (k, j) and biases (k,) of the layers, the last one linear.
Layers = list[tuple[Tensor, Tensor]]


def layers_of(layers: Sequence[nn.Module], dtype: torch.dtype) -> Layers:
    """Weights and biases of linear layers in another dtype."""
    return [(layer.weight.to(dtype), layer.bias.to(dtype)) for layer in layers if isinstance(layer, nn.Linear)]


@dataclass(frozen=True)
class NetworkJet:
    """A network at points y (n, h): its `value` (n, m), its `rows` Df (n, m, h), and what second derivatives need.

    `tangents`: D p_l (n, h, k) of the hidden layers, (h, k) of the first; `slopes`, `bends`: first and second derivatives (n, k) of the units.
    """

    value: Tensor
    rows: Tensor
    layers: Layers
    tangents: list[Tensor]
    slopes: list[Tensor]
    bends: list[Tensor]

    def second_derivative(self, direction: Tensor, output: Tensor) -> Tensor:
        """output^t D^2 f[direction, .] (n, p, h) for directions (n, p, h) and outputs (n, p, m), or (n, 1, m) for all of them."""
        total = torch.zeros_like(direction)
        back = _through(output, self.layers[-1][0])
        for i in reversed(range(len(self.slopes))):
            tangent = self.tangents[i]
            total += (direction @ tangent).mul_(back).mul_(self.bends[i].unsqueeze(1)) @ tangent.mT
            if i:
                back = _through(back.mul_(self.slopes[i].unsqueeze(1)), self.layers[i][0])
        return total


def network_jet(layers: Layers, y: Tensor) -> NetworkJet:
    """The derivatives of a network at points y (n, h)."""
    slopes, bends, tangents, hidden = [], [], [], y
    tangent = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
    for weight, bias in layers[:-1]:
        tangent = _through(tangent, weight.mT)
        hidden, slope, bend = _unit(torch.addmm(bias, hidden, weight.mT))
        tangents.append(tangent)
        slopes.append(slope)
        bends.append(bend)
        tangent = tangent * slope.unsqueeze(1)
    weight, bias = layers[-1]
    rows = _through(tangent, weight.mT).mT.expand(len(y), -1, -1)
    return NetworkJet(torch.addmm(bias, hidden, weight.mT), rows, layers, tangents, slopes, bends)


def value_and_rows(layers: Layers, y: Tensor) -> tuple[Tensor, Tensor]:
    """f (n, m) and Df (n, m, h) at points y (n, h), by one pass backwards per output."""
    slopes, hidden = [], y
    for weight, bias in layers[:-1]:
        before = torch.addmm(bias, hidden, weight.mT)
        gate = torch.sigmoid(before)
        hidden = before * gate
        slopes.append(torch.addcmul(gate, hidden, 1 - gate))
    weight, bias = layers[-1]
    back = weight
    for (inner, _), slope in zip(reversed(layers[:-1]), reversed(slopes), strict=True):
        back = _through(back * slope.unsqueeze(1), inner)
    return torch.addmm(bias, hidden, weight.mT), back.expand(len(y), -1, -1)


def _through(vectors: Tensor, matrix: Tensor) -> Tensor:
    """Rows (..., k) times a matrix (k, j), as one product."""
    return (vectors.reshape(-1, vectors.shape[-1]) @ matrix).reshape(*vectors.shape[:-1], matrix.shape[1])


def _unit(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """silu(x) and its first two derivatives."""
    gate = torch.sigmoid(x)
    value, rest = x * gate, 1 - gate
    slope = torch.addcmul(gate, value, rest)
    # silu'' = g (1 - g) (2 + x (1 - 2 g)), in terms of what is there already.
    return value, slope, (gate + slope).addcmul_(value, gate, value=-1).mul_(rest)
