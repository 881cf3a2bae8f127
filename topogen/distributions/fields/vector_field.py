"""A time-dependent vector field on R^D as a network: what diffusion and flow matching learn on a manifold of R^D, one network whatever the manifold is.

    y = (x - c) / a,    h = W_0 [y, sin(B y), cos(B y)],    h <- h + V_l silu(W_l (h (1 + g_l) + b_l)),    f(x, s, k) = W h

with (g_l, b_l) linear in an embedding of s in [0, 1] (and of a context k, where there is one), B random with rows of lengths |b| from 1 to `finest`.
For the scores of a diffusion the waves fade as heat makes them, by exp(-|b|^2 u / 8 a^2) at time u: the fine ones would have no signal and all the noise.
Tancik et al. (2020), Fourier features let networks learn high frequency functions in low dimensional domains; Perez et al. (2018), FiLM;
He, Zhang, Ren, Sun (2016), Deep residual learning for image recognition.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from topogen.errors import InvalidInputError
from topogen.geometry.layers import linear

__all__ = ["FieldNetwork"]

FREQUENCIES = 8
EMBEDDING = 64
FADING = 0.5


class FieldNetwork(nn.Module):
    """f(x, s, k) (n, D) in float32 for x (n, D), s (n,) in [0, 1] and k (n, context) or None, data units in, no units out.

    Args:
        centre: c (D,); scale: a > 0; finest: the largest frequency, in units of 1 / a; features: number of frequencies.
        width, depth: of the residual blocks; context: dimension of k, 0 for none. A context of NaN stands for "not given".
        times: (u_min, u_max), squared data units, where s = log(u / u_min) / log(u_max / u_min) and waves are to fade; None where s is any time.

    Raises InvalidInputError for sizes below 1, or a scale or frequency that is not positive.
    """

    def __init__(
        self,
        centre: Tensor,
        scale: float,
        *,
        finest: float = 8.0,
        features: int = 64,
        width: int = 160,
        depth: int = 3,
        context: int = 0,
        times: tuple[float, float] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(features, width, depth) < 1 or context < 0:
            raise InvalidInputError(f"features, width, depth: expected at least 1, found {features}, {width}, {depth}")
        if not (0 < scale < math.inf and 0 < finest < math.inf):
            raise InvalidInputError(f"scale, finest: expected positive numbers, found {scale}, {finest}")
        self.ambient_dim, self.context, self.width, self.depth = len(centre), context, width, depth
        self.register_buffer("centre", centre.detach().double())
        self.register_buffer("scale", torch.tensor(float(scale), dtype=torch.float64))
        self.register_buffer("frequencies", _frequencies(len(centre), features, finest, generator))
        self.times = None if times is None else (float(times[0]), float(times[1]))
        self.embed = linear(2 * FREQUENCIES + 1 + (context + 1 if context else 0), EMBEDDING, generator)
        self.enter = linear(len(centre) + 2 * features, width, generator)
        self.film = nn.ModuleList(linear(EMBEDDING, 2 * width, generator) for _ in range(depth))
        self.inside = nn.ModuleList(linear(width, width, generator) for _ in range(depth))
        self.back = nn.ModuleList(linear(width, width, generator) for _ in range(depth))
        self.leave = linear(width, len(centre), generator)
        with torch.no_grad():
            for layer in (*self.back, self.leave):
                layer.weight.zero_()
                layer.bias.zero_()

    def forward(self, x: Tensor, s: Tensor, k: Tensor | None = None) -> Tensor:
        """f (n, D)."""
        phase = self._standardised(x)
        turned, strength = phase @ self.get_buffer("frequencies"), self._strength(s)
        hidden = self.enter(torch.cat([phase, strength * turned.sin(), strength * turned.cos()], -1))
        code = self._code(s, k)
        for film, inside, back in zip(self.film, self.inside, self.back, strict=True):
            gain, shift = film(code).chunk(2, -1)
            hidden = hidden + back(silu(inside(hidden * (1 + gain) + shift)))
        value: Tensor = self.leave(hidden)
        return value

    def with_slopes(self, x: Tensor, s: Tensor, directions: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """f (n, D) and its derivatives Df v (n, D, d) along directions (n, D, d), by one pass that carries both."""
        phase = self._standardised(x)
        frequencies = self.get_buffer("frequencies")
        turned, slope = phase @ frequencies, directions.float().mT / self.get_buffer("scale").float()
        strength = self._strength(s)
        sin, cos, rate = strength * turned.sin(), strength * turned.cos(), slope @ frequencies
        hidden = self.enter(torch.cat([phase, sin, cos], -1))
        slope = torch.cat([slope, rate * cos.unsqueeze(1), -rate * sin.unsqueeze(1)], -1) @ self.enter.weight.T
        code = self._code(s, k)
        for film, inside, back in zip(self.film, self.inside, self.back, strict=True):
            gain, shift = film(code).chunk(2, -1)
            before = inside(hidden * (1 + gain) + shift)
            gate = torch.sigmoid(before)
            after = before * gate
            hidden = hidden + back(after)
            change = ((slope * (1 + gain).unsqueeze(1)) @ inside.weight.T) * (gate + after * (1 - gate)).unsqueeze(1)
            slope = slope + change @ back.weight.T
        return self.leave(hidden), (slope @ self.leave.weight.T).mT

    def _standardised(self, x: Tensor) -> Tensor:
        return ((x - self.get_buffer("centre").to(x.dtype)) / self.get_buffer("scale").to(x.dtype)).float()

    def _strength(self, s: Tensor) -> Tensor:
        """What is left of the waves (n, features), or 1."""
        if self.times is None:
            return s.new_ones(1, 1)
        low, high = (math.log(time) - 2 * math.log(float(self.get_buffer("scale"))) for time in self.times)
        spread = (low + (high - low) * s.float()).exp().unsqueeze(-1)
        return torch.exp(-FADING * spread * self.get_buffer("frequencies").square().sum(0))

    def _code(self, s: Tensor, k: Tensor | None) -> Tensor:
        s = s.float().unsqueeze(-1)
        waves = s * math.pi * torch.arange(1, FREQUENCIES + 1, device=s.device)
        parts = [s, waves.sin(), waves.cos()]
        if self.context:
            k = s.new_full((len(s), self.context), torch.nan) if k is None else k.float()
            given = torch.isfinite(k).all(-1, keepdim=True)
            parts += [torch.where(given, k, 0.0), given.float()]
        return silu(self.embed(torch.cat(parts, -1)))


def _frequencies(dim: int, count: int, finest: float, generator: torch.Generator | None) -> Tensor:
    """Columns (D, count) of random directions with lengths spread evenly in their logarithm from 1 to `finest`."""
    directions = torch.randn(dim, count, generator=generator)
    lengths = torch.logspace(0, math.log10(max(finest, 1.0)), count)
    return directions / directions.norm(dim=0) * lengths
