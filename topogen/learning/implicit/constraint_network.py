"""The network behind a learned constraint: smooth, small, in standardised coordinates, with the linear constraints of the affine hull kept exact.

With centre c, isotropic scale a, an orthonormal basis B of the affine hull at the noise level and B' of its complement,

    y = (x - c) / a,      F(x) = a ( f(B^t y), B'^t y ),      f(z) = A z + net(z),

net a multilayer perceptron with SiLU units (smooth, because curvature is read off its second derivatives; no batch norm, no dropout: F must be one
function) and A a linear map that starts at 0 or at a multiple of the identity. F carries
the unit of the data, and J J^t is the identity on the directions outside of the hull.

A network whose first weights ignore the data is nearly linear over lengths that are small beside the diameter and learns such detail last or never
(spectral bias). `place` starts the first layer at the detail there is: each unit bends at a data point, over a length given there.
Rahaman et al. (2019), On the spectral bias of neural networks; Tancik et al. (2020), Fourier features let networks learn high frequency functions.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from topogen.geometry.frames import complement
from topogen.geometry.layers import linear
from topogen.learning.implicit.jacobian_bounds import jacobian_enclosure

__all__ = ["ConstraintNetwork"]


class ConstraintNetwork(nn.Module):
    """F: R^D -> R^m, m = outputs + (D - h), of points (..., D) in data units.

    Args:
        centre: c (D,); scale: a > 0 (data units); hull: B (D, h), orthonormal.
        outputs: number of outputs of f; width, depth: size of its hidden layers.
        skip: A starts at `skip` times the identity, padded with zeros.
        generator: draws the initial weights (None: torch's global generator).
    """

    def __init__(
        self,
        centre: Tensor,
        scale: float,
        hull: Tensor,
        outputs: int,
        width: int = 128,
        depth: int = 3,
        *,
        skip: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.ambient_dim = len(centre)
        self.outputs, self.width, self.depth = outputs, width, depth
        self.register_buffer("centre", centre.detach().double())
        self.register_buffer("scale", torch.as_tensor(float(scale), dtype=torch.float64))
        self.register_buffer("hull", hull.detach().double())
        self.register_buffer("outside", complement(hull.detach().double()))
        sizes = [hull.shape[1], *[width] * depth, outputs]
        self.linear = nn.Parameter(skip * torch.eye(outputs, hull.shape[1]))
        self.layers = nn.ModuleList(linear(a, b, generator) for a, b in pairwise(sizes))

    @torch.no_grad()
    def place(self, y: Tensor, lengths: Tensor, generator: torch.Generator | None = None) -> None:
        """Start each unit of the first layer at a random row of coordinates y (n, h), with weights of standard deviation 1 / (its length (n,))."""
        first = next(layer for layer in self.layers if isinstance(layer, nn.Linear))
        chosen = torch.randint(len(y), (self.width,), generator=generator)
        draws = torch.randn(first.weight.shape, generator=generator, dtype=first.weight.dtype)
        first.weight.copy_(draws / lengths[chosen].to(draws).unsqueeze(1))
        first.bias.copy_(-(first.weight * y[chosen].to(draws)).sum(1))

    def forward(self, x: Tensor) -> Tensor:
        """F(x) (..., m), data units."""
        y = (x - self.get_buffer("centre").to(x.dtype)) / self.get_buffer("scale").to(x.dtype)
        inside = self.inner(y @ self.get_buffer("hull").to(x.dtype))
        outside = self.get_buffer("outside")
        parts = [inside] if outside.shape[1] == 0 else [inside, y @ outside.to(x.dtype)]
        return torch.cat(parts, -1) * self.get_buffer("scale").to(x.dtype)

    def inner(self, y: Tensor) -> Tensor:
        """f(y) (..., outputs) at standardised hull coordinates (..., h)."""
        hidden = y
        for layer in self.layers[:-1]:
            hidden = nn.functional.silu(layer(hidden))
        return self.layers[-1](hidden) + y @ self.linear.T

    def pull(self, y: Tensor) -> Tensor:
        """J^t f (n, h) of the inner network at coordinates (n, h), differentiable in the weights.

        The backward pass is written out, at half the cost of differentiating through autograd's.
        """
        slopes, hidden = [], y
        layers = list(self.layers)
        for layer in layers[:-1]:
            before = layer(hidden)
            gate = torch.sigmoid(before)
            hidden = before * gate
            slopes.append(gate + hidden * (1 - gate))
        value = layers[-1](hidden) + y @ self.linear.T
        back = value @ layers[-1].weight
        for layer, slope in zip(reversed(layers[:-1]), reversed(slopes), strict=True):
            back = (back * slope) @ layer.weight
        return back + value @ self.linear

    def gradient(self, x: Tensor) -> Tensor:
        """J^t F (n, D) at points (n, D), the gradient of half the squared norm of F, without autograd; x - J^t F is the step of the predictor."""
        hull, outside = self.get_buffer("hull").to(x.dtype), self.get_buffer("outside").to(x.dtype)
        scale, offset = self.get_buffer("scale").to(x.dtype), x - self.get_buffer("centre").to(x.dtype)
        inside = scale * self.pull(offset @ hull / scale) @ hull.T
        return inside if outside.shape[1] == 0 else inside + offset @ outside @ outside.T

    def enclosure(self, x: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """F (n, m) and J (n, m, D) at points (n, D), and a proved bound (n,) on |J(y) - J(x)| (operator norm) for |y - x| <= radius (n,), data units."""
        hull, outside, scale = self.get_buffer("hull").to(x.dtype), self.get_buffer("outside").to(x.dtype), self.get_buffer("scale").to(x.dtype)
        y = (x - self.get_buffer("centre").to(x.dtype)) / scale
        layers = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        value, rows, moved = jacobian_enclosure(layers, self.linear, y @ hull, radius / scale)
        whole = torch.cat([rows @ hull.T, outside.T.expand(len(x), -1, -1)], 1)
        return scale * torch.cat([value, y @ outside], 1), whole, moved

    def coordinates(self, x: Tensor) -> Tensor:
        """Standardised hull coordinates B^t (x - c) / a (n, h) in float32, what f is trained on."""
        y = (x.double() - self.get_buffer("centre")) / self.get_buffer("scale")
        return (y @ self.get_buffer("hull")).float()
