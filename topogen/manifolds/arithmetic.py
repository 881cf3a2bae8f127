"""Arithmetic of manifolds: unions, intersections and the isolated points where manifolds meet.

    union          M_1 u ... u M_k        a point belongs to the piece whose projection is nearest
    intersection   M_1 n M_2 = {F_1 = 0, F_2 = 0},   rank r_1 + r_2 where the pieces cross transversally

The union is not cut out by the product F_1 F_2: its Jacobian F_1 J_2 + F_2 J_1 vanishes where the pieces meet, so nothing can be projected there. Here
every piece keeps its own constraint, and `crossing` says where pieces meet and the union is no manifold.
Ross, Loaiza-Ganem, Caterini, Cresswell (2023), Neural implicit manifold learning for topology-aware density estimation, section 4.3 (manifold arithmetic).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast, final

import torch
from torch import Tensor, nn

from topogen.errors import InvalidInputError
from topogen.geometry import constant_rank
from topogen.manifolds.base import Manifold, Projection
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.implicit.implicit import ImplicitManifold

__all__ = ["Meeting", "Union", "intersection", "meeting_points"]


@final
class Union(Manifold):
    """The union of manifolds of the same dimension in the same R^D; of different dimensions, use a `Mixture` of distributions on the pieces.

    Raises InvalidInputError for fewer than two pieces or pieces that do not fit together.
    """

    name = "union"

    def __init__(self, pieces: Sequence[Manifold]) -> None:
        _check_pieces(pieces)
        super().__init__(pieces[0].dim, pieces[0].ambient_dim)
        self._modules_of_pieces = nn.ModuleList(pieces)

    @property
    def pieces(self) -> tuple[Manifold, ...]:
        """The manifolds that are united."""
        return tuple(cast(Manifold, piece) for piece in self._modules_of_pieces)

    @property
    def unit(self) -> float:
        """The largest of the pieces."""
        return max(piece.unit for piece in self.pieces)

    def piece(self, x: Tensor) -> Tensor:
        """Index (...) int64 of the piece nearest to points x (..., D), -1 where no projection converges."""
        flat = self.as_rows(x)
        return self._nearest(flat.detach())[0].reshape(x.shape[:-1])

    def crossing(self, x: Tensor, tolerance: float) -> Tensor:
        """Mask (...) of the points x (..., D) within `tolerance` (data units) of two pieces or more: there the union is no manifold."""
        distances = _distances([piece.project(self.as_rows(x).detach()) for piece in self.pieces], self.as_rows(x).detach())
        return ((distances <= tolerance).sum(0) >= 2).reshape(x.shape[:-1])

    def _nearest(self, x: Tensor) -> tuple[Tensor, list[Projection]]:
        found = [piece.project(x) for piece in self.pieces]
        distances = _distances(found, x.detach())
        index = distances.argmin(0)
        return torch.where(torch.isfinite(distances.amin(0)), index, -1), found

    def _project(self, x: Tensor) -> Projection:
        index, found = self._nearest(x)
        index = index.clamp_min(0)
        rows = torch.arange(len(x), device=x.device)
        columns = ([getattr(part, name) for part in found] for name in ("points", "residual", "converged", "iterations"))
        return Projection(*(torch.stack(column)[index, rows] for column in columns))

    def _tangent_basis(self, x: Tensor) -> Tensor:
        return self._by_piece(x, lambda piece, part: piece.tangent_basis(part), x.new_zeros(len(x), self.ambient_dim, self.dim))

    def _mean_curvature(self, x: Tensor) -> Tensor:
        return self._by_piece(x, lambda piece, part: piece.mean_curvature(part), torch.zeros_like(x))

    def _by_piece(self, x: Tensor, read: Callable[[Manifold, Tensor], Tensor], into: Tensor) -> Tensor:
        index = self._nearest(x.detach())[0].clamp_min(0)
        for k, piece in enumerate(self.pieces):
            mine = index == k
            if bool(mine.any()):
                into[mine] = read(piece, x[mine])
        return into


def intersection(first: ImplicitManifold, second: ImplicitManifold) -> ImplicitManifold:
    """The (d_1 + d_2 - D)-dimensional manifold in which two implicit manifolds of R^D cross, gated where both are.

    Its constraint is (F_1, F_2), read with rank r_1 + r_2; where the pieces touch instead of crossing, the last kept singular value drops, which
    `ImplicitManifold.spectrum` shows. Raises InvalidInputError where d_1 + d_2 <= D: then `meeting_points` is what there is.
    """
    _check_pieces([first, second], same_dim=False)
    dim = first.dim + second.dim - first.ambient_dim
    if dim < 1:
        raise InvalidInputError(f"first, second: dimensions {first.dim} and {second.dim} in R^{first.ambient_dim} meet in points; use meeting_points")
    return ImplicitManifold(
        _both(first, second), dim, first.ambient_dim, scale=max(first.scale, second.scale), max_step=min(first.max_step, second.max_step),
        full_tolerance=math.hypot(first.full_tolerance, second.full_tolerance), gate=_gates(first, second),
    )  # fmt: skip


class Meeting(NamedTuple):
    """Isolated points (k, D) in which manifolds meet, and how transversally: the smallest over the largest kept singular value (k,), 0 where they touch."""

    points: Tensor
    transversality: Tensor


def meeting_points(first: ImplicitManifold, second: ImplicitManifold, starts: Tensor) -> Meeting:
    """The points where two implicit manifolds with d_1 + d_2 = D meet, found from starts (n, D) by Gauss-Newton on (F_1, F_2), duplicates merged.

    Only what the starts lead to is found. Raises InvalidInputError unless d_1 + d_2 = D.
    """
    _check_pieces([first, second], same_dim=False)
    rank = first.codim + second.codim
    if rank != first.ambient_dim:
        raise InvalidInputError(f"first, second: isolated meeting points need d_1 + d_2 = D, found {first.dim} + {second.dim} in R^{first.ambient_dim}")
    scale = max(first.scale, second.scale)
    field = _both(first, second)
    found = constant_rank.newton(field, starts.detach().double(), rank, 1e-9 * scale, max_step=0.5 * scale)
    points = found.points[found.converged]
    points = points[(first.project(points).converged & second.project(points).converged)] if len(points) else points
    points = _merged(points, 1e-6 * scale)
    values = constant_rank.frame(field, points, rank).values if len(points) else points.new_zeros(0, rank)
    return Meeting(points, values[:, rank - 1] / values[:, 0] if len(points) else points.new_zeros(0))


def _both(first: ImplicitManifold, second: ImplicitManifold) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.cat([first.value(x), second.value(x)], -1)


def _gates(first: ImplicitManifold, second: ImplicitManifold) -> Gate | None:
    gated = [manifold for manifold in (first, second) if manifold.gate is not None]
    return cast(Gate, _Gates(gated)) if gated else None


@final
class _Gates(nn.Module):
    """Inside where every gated piece says so, each judged with its own tangents."""

    def __init__(self, pieces: Sequence[ImplicitManifold]) -> None:
        super().__init__()
        self.pieces = nn.ModuleList(pieces)

    def forward(self, x: Tensor, tangent_basis: object) -> Tensor:
        pieces = (cast(ImplicitManifold, piece) for piece in self.pieces)
        inside = [piece.gate(x, piece.tangent_basis) for piece in pieces if piece.gate is not None]
        return torch.stack(inside).all(0)


def _distances(found: Sequence[Projection], x: Tensor) -> Tensor:
    """Distances (k, n) to the pieces, infinite where a projection did not converge."""
    return torch.stack([torch.where(part.converged, (part.points.detach() - x).norm(dim=-1), torch.inf) for part in found])


def _merged(points: Tensor, distance: float) -> Tensor:
    kept: list[Tensor] = []
    for point in points:
        if all(float((point - other).norm()) > distance for other in kept):
            kept.append(point)
    return torch.stack(kept) if kept else points[:0]


def _check_pieces(pieces: Sequence[Manifold], *, same_dim: bool = True) -> None:
    if len(pieces) < 2:
        raise InvalidInputError(f"pieces: expected at least two manifolds, found {len(pieces)}")
    ambient, dims = {piece.ambient_dim for piece in pieces}, {piece.dim for piece in pieces}
    if len(ambient) > 1:
        raise InvalidInputError(f"pieces: they lie in spaces of different dimension {sorted(ambient)}; embed them in one R^D")
    if same_dim and len(dims) > 1:
        raise InvalidInputError(f"pieces: their dimensions differ {sorted(dims)}; use a Mixture of distributions on the pieces")
