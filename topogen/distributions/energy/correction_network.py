"""The network behind a learned energy: smooth features on several scales, bounded so that every density it makes can be drawn by importance.

    y = (x - c) / a,     phi(y) = (y, sin(B y), cos(B y)),     f(x) = b tanh((A y + net(phi(y))) / b)

with a fixed random matrix B of normal entries of standard deviation `frequency` and a multilayer perceptron with SiLU units. The linear part A matches the mean
of the data; the bound b keeps the factor exp(-f) within exp(+-b) of the distribution it corrects.
Tancik et al. (2020), Fourier features let networks learn high frequency functions in low dimensional domains.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["CorrectionNetwork"]


class CorrectionNetwork(nn.Module):
    """f: R^D -> R on rows (n, D) in data units, in the dtype of its parameters inside and that of the rows outside.

    Args:
        centre: c (D,); scale: a > 0 (data units).
        features: number of rows of B; frequency: their standard deviation, in 1 / scale; width, depth: of the hidden layers; bound: b > 0.
        generator: draws B and the initial weights (None: torch's global generator).
    """

    def __init__(
        self,
        centre: Tensor,
        scale: float,
        *,
        features: int = 32,
        frequency: float = 2.0,
        width: int = 64,
        depth: int = 2,
        bound: float = 3.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.features, self.frequency, self.width, self.depth, self.bound = features, frequency, width, depth, bound
        dim = len(centre)
        self.register_buffer("centre", centre.detach().float())
        self.register_buffer("scale", torch.as_tensor(float(scale)))
        self.register_buffer("waves", frequency * torch.randn(dim, features, generator=generator))
        sizes = [dim + 2 * features, *[width] * depth, 1]
        self.linear = nn.Parameter(torch.zeros(dim))
        self.layers = nn.ModuleList(_linear(a, b, generator) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """f (n,)."""
        y = (x.to(self.linear.dtype) - self.get_buffer("centre")) / self.get_buffer("scale")
        waves = y @ self.get_buffer("waves")
        z = torch.cat([y, waves.sin(), waves.cos()], -1)
        for layer in self.layers[:-1]:
            z = nn.functional.silu(layer(z))
        raw = y @ self.linear + self.layers[-1](z).squeeze(-1)
        return (self.bound * torch.tanh(raw / self.bound)).to(x.dtype)


def _linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    limit = inputs**-0.5
    with torch.no_grad():
        layer.weight.copy_(limit * (2 * torch.rand(outputs, inputs, generator=generator) - 1))
        layer.bias.zero_()
        if outputs == 1:
            layer.weight.zero_()
    return layer
