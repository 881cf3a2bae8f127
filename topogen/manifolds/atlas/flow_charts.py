"""`FlowCharts`: charts that are injective flows, for patches that are no graph over their tangent plane.

With a frame R_k (its first d columns tangent), centre c_k and scale a_k, and w_k: R^D -> R^D a composition of smooth affine couplings,

    y = R_k^t (x - c_k) / a_k,     (z, v) = a_k w_k(y),     e_k(x) = z,     g_k(z) = c_k + a_k R_k w_k^-1(z / a_k, 0) .

One coupling keeps half of its coordinates, y_A, and takes the others to y_B exp(s(y_A)) + t(y_A), s = tanh of one head of a SiLU network and t another; it
is inverted exactly, and from layer to layer the halves roll on by one coordinate. v measures how far x is from the own sheet. Smooth, because geodesics read
second derivatives: no splines here. The networks of all charts are stacked, so that K charts are one product of matrices and not a loop.
Dinh, Sohl-Dickstein, Bengio (2017), Density estimation using Real NVP; Brehmer, Cranmer (2020), Flows for simultaneous manifold learning and density
estimation.
"""

from __future__ import annotations

import copy
from typing import final

import torch
from torch import Tensor, nn

from topogen.errors import InvalidInputError
from topogen.geometry.frames import apply
from topogen.manifolds.atlas.graph_charts import Charts

__all__ = ["FlowCharts"]

LAYERS, WIDTH = 8, 48


@final
class FlowCharts(Charts):
    """K stacked injective flows; as built they are the identity, that is the tangent planes.

    Args:
        centre: c (K, D); frame: R (K, D, D) orthonormal, the first `dim` columns tangent; radius: rho (K,); extent (K,); scale: a (K,), data units.
        layers, width: couplings, and units of their networks. generator: draws the initial weights.

    Raises InvalidInputError for shapes that do not agree.
    """

    frame: Tensor
    scale: Tensor

    def __init__(
        self,
        centre: Tensor,
        frame: Tensor,
        radius: Tensor,
        scale: Tensor,
        dim: int,
        *,
        extent: Tensor | None = None,
        layers: int = LAYERS,
        width: int = WIDTH,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(centre, radius, 2 * radius if extent is None else extent, dim)
        count, ambient = centre.shape
        if frame.shape != (count, ambient, ambient) or scale.shape != (count,):
            raise InvalidInputError(f"frame, scale: expected {(count, ambient, ambient)} and {(count,)}, found {tuple(frame.shape)} and {tuple(scale.shape)}")
        self.layers, self.width = layers, width
        self.register_buffer("frame", frame.detach().double())
        self.register_buffer("scale", scale.detach().double())
        self.couplings = nn.ModuleList(_Coupling(count, ambient, roll, width, generator) for roll in range(layers))

    def encode(self, chart: Tensor, x: Tensor) -> Tensor:
        """The first d of the coordinates a w(R^t (x - c) / a)."""
        return self.coordinates(chart, x)[..., : self.dim]

    def coordinates(self, chart: Tensor, x: Tensor) -> Tensor:
        """All coordinates (z, v) (n, D) of points (n, D)."""
        y = apply(self.frame[chart].mT.to(x.dtype), x - self.centre[chart].to(x.dtype)) / self.scale[chart, None].to(x.dtype)
        bucket = _Bucket(chart, self.count)
        stacked = bucket.stack(y)
        for coupling in self.couplings:
            stacked = coupling(stacked)
        return bucket.unstack(stacked) * self.scale[chart, None].to(x.dtype)

    def decode(self, chart: Tensor, z: Tensor) -> Tensor:
        """c + a R w^-1(z / a, 0)."""
        scale = self.scale[chart, None].to(z.dtype)
        flat = torch.cat([z / scale, z.new_zeros(len(z), self.ambient_dim - self.dim)], -1)
        bucket = _Bucket(chart, self.count)
        stacked = bucket.stack(flat)
        for coupling in reversed(self.couplings):
            stacked = coupling.inverse(stacked)  # type: ignore[operator]
        return self.centre[chart].to(z.dtype) + scale * apply(self.frame[chart].to(z.dtype), bucket.unstack(stacked))

    def subset(self, kept: Tensor) -> FlowCharts:
        """The charts with the numbers `kept` (m,) alone."""
        part = FlowCharts(
            self.centre[kept], self.frame[kept], self.radius[kept], self.scale[kept], self.dim, extent=self.extent[kept], layers=self.layers, width=self.width
        ).to(next(self.parameters()).dtype)
        for mine, theirs in zip(part.couplings.parameters(), self.couplings.parameters(), strict=True):
            mine.data.copy_(theirs.detach()[:, kept] if theirs.ndim == 4 else theirs.detach()[kept])
        return part

    def frozen(self) -> FlowCharts:
        """A float64 copy without gradients."""
        return copy.deepcopy(self).double().requires_grad_(False)


@final
class _Coupling(nn.Module):
    """One affine coupling of K stacked flows on (K, n, D); `roll` says which coordinates are kept."""

    def __init__(self, count: int, ambient: int, roll: int, width: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.kept = (ambient + roll % 2) // 2 or 1
        self.roll = roll
        self.moved = ambient - self.kept
        self.inward, self.across = (nn.Parameter(_weights(count, a, width, generator)) for a in (self.kept, width))
        self.shift = nn.Parameter(torch.zeros(2, count, 1, width))
        self.outward = nn.Parameter(torch.zeros(count, width, 2 * self.moved))
        self.offset = nn.Parameter(torch.zeros(count, 1, 2 * self.moved))

    def forward(self, y: Tensor) -> Tensor:
        kept, moved = self._split(y)
        log_scale, move = self._heads(kept)
        return self._join(kept, moved * log_scale.exp() + move)

    def inverse(self, y: Tensor) -> Tensor:
        """The exact inverse."""
        kept, moved = self._split(y)
        log_scale, move = self._heads(kept)
        return self._join(kept, (moved - move) * (-log_scale).exp())

    def _heads(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        dtype = kept.dtype
        hidden = nn.functional.silu(kept @ self.inward.to(dtype) + self.shift[0].to(dtype))
        hidden = nn.functional.silu(hidden @ self.across.to(dtype) + self.shift[1].to(dtype))
        out = hidden @ self.outward.to(dtype) + self.offset.to(dtype)
        return out[..., : self.moved].tanh(), out[..., self.moved :]

    def _split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        rolled = y.roll(self.roll, -1)
        return rolled[..., : self.kept], rolled[..., self.kept :]

    def _join(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([kept, moved], -1).roll(-self.roll, -1)


class _Bucket:
    """Rows (n, p) of K charts as one padded tensor (K, longest, p), and back."""

    def __init__(self, chart: Tensor, count: int) -> None:
        counts = torch.bincount(chart, minlength=count)
        order = torch.argsort(chart, stable=True)
        place = torch.empty_like(chart)
        place[order] = torch.arange(len(chart)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        self.longest = int(counts.max()) if len(chart) else 0
        self.count = count
        self.slot = chart * self.longest + place

    def stack(self, rows: Tensor) -> Tensor:
        """(K, longest, p), zeros where a chart has fewer rows."""
        flat = rows.new_zeros(self.count * self.longest, rows.shape[-1])
        return flat.index_add(0, self.slot, rows).reshape(self.count, self.longest, rows.shape[-1])

    def unstack(self, stacked: Tensor) -> Tensor:
        """The rows (n, p) in their order."""
        return stacked.reshape(-1, stacked.shape[-1]).index_select(0, self.slot)


def _weights(count: int, a: int, b: int, generator: torch.Generator | None) -> Tensor:
    return (2 * torch.rand(count, a, b, generator=generator) - 1) * a**-0.5
