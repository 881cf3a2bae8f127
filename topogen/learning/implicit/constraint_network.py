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

from topogen.geometry.constant_rank import Jet
from topogen.geometry.frames import complement
from topogen.geometry.layers import linear
from topogen.learning.implicit.jacobian_bounds import jacobian_enclosure
from topogen.learning.implicit.network_jet import layers_of, network_jet, value_and_rows

__all__ = ["ConstraintNetwork"]

# Tangents and directions whose second derivatives are taken at a time; each has as many numbers as the network has units.
_WIDE = 16384


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
        layers, skip = layers_of(list(self.layers), y.dtype), self.linear.to(y.dtype)
        for weight, bias in layers[:-1]:
            before = nn.functional.linear(hidden, weight, bias)
            gate = torch.sigmoid(before)
            hidden = before * gate
            slopes.append(gate + hidden * (1 - gate))
        value = nn.functional.linear(hidden, *layers[-1]) + y @ skip.T
        back = value @ layers[-1][0]
        for (weight, _), slope in zip(reversed(layers[:-1]), reversed(slopes), strict=True):
            back = (back * slope) @ weight
        return back + value @ skip

    def gradient(self, x: Tensor) -> Tensor:
        """J^t F (n, D) at points (n, D), the gradient of half the squared norm of F, without autograd; x - J^t F is the step of the predictor."""
        hull, outside = self.get_buffer("hull").to(x.dtype), self.get_buffer("outside").to(x.dtype)
        scale, offset = self.get_buffer("scale").to(x.dtype), x - self.get_buffer("centre").to(x.dtype)
        inside = scale * self.pull(offset @ hull / scale) @ hull.T
        return inside if outside.shape[1] == 0 else inside + offset @ outside @ outside.T

    @torch.no_grad()
    def value_and_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """F (n, m) and J (n, m, D) at points (n, D) in the dtype of x, without autograd.

        The derivatives of the inner network run forwards or backwards, whichever takes fewer passes.
        """
        y, layers = self._inside(x), layers_of(list(self.layers), x.dtype)
        if y.shape[1] < self.outputs:
            at = network_jet(layers, y)
            return self._outside(x, at.value, at.rows)
        return self._outside(x, *value_and_rows(layers, y))

    @torch.no_grad()
    def jet(self, x: Tensor) -> Jet:
        """F, J and the second derivatives of F at points (n, D) in the dtype of x, without autograd."""
        at = network_jet(layers_of(list(self.layers), x.dtype), self._inside(x))
        hull, scale = self.get_buffer("hull").to(x.dtype), self.get_buffer("scale").to(x.dtype)

        def second_derivative(direction: Tensor, output: Tensor) -> Tensor:
            return at.second_derivative(direction @ hull, output[..., : self.outputs]) @ hull.T / scale

        return Jet(*self._outside(x, at.value, at.rows), second_derivative)

    def second_derivative(self, x: Tensor, direction: Tensor, output: Tensor) -> Tensor:
        """output^t D^2F[direction, .] (n, p, D) at points (n, D) for directions (n, p, D) and outputs (n, p, m), or (n, 1, m) for all of them."""
        rows = max(64, _WIDE // (direction.shape[1] + x.shape[1]))
        parts = zip(x.split(rows), direction.split(rows), output.split(rows), strict=True)
        return torch.cat([self.jet(part).second_derivative(along, weights) for part, along, weights in parts])

    def _inside(self, x: Tensor) -> Tensor:
        """Standardised hull coordinates (n, h) in the dtype of x."""
        y = (x - self.get_buffer("centre").to(x.dtype)) / self.get_buffer("scale").to(x.dtype)
        return y @ self.get_buffer("hull").to(x.dtype)

    def _outside(self, x: Tensor, value: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """F and J from the values (n, outputs) and the Jacobians (n, outputs, h) of the hidden layers: with A, the hull and the unit of the data."""
        hull, outside = self.get_buffer("hull").to(x.dtype), self.get_buffer("outside").to(x.dtype)
        scale, linear = self.get_buffer("scale").to(x.dtype), self.linear.to(x.dtype)
        value, rows = scale * (value + self._inside(x) @ linear.T), (rows + linear) @ hull.T
        if outside.shape[1] == 0:
            return value, rows
        beyond = (x - self.get_buffer("centre").to(x.dtype)) @ outside
        return torch.cat([value, beyond], 1), torch.cat([rows, outside.T.expand(len(x), -1, -1)], 1)

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
