"""Manifolds that lie in an affine subspace of R^D, handled in its m coordinates: M = c + E M', with E (D, m) orthonormal and M' a manifold in R^m.

    project(x) = c + E project'(y),    y = E^t (x - c),    |x - project(x)|^2 = |y - project'(y)|^2 + |x - c - E y|^2

The closest point, tangents, curvature, lengths and volume of M are those of M' carried over; nothing is approximated, and no work grows faster than D m.
What is off the subspace counts in distances: of two points one of which lies in it, |s - x|^2 = |s' - y|^2 + h^2 with h the height of x over it.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.manifolds.base import Manifold, Projection

__all__ = ["InSubspace"]

_ORTHONORMAL = 1e-8


@final
class InSubspace(Manifold):
    """The manifold c + E M' in R^D.

    Args:
        core: M' in R^m.
        centre: c (D,).
        basis: E (D, m), orthonormal columns.

    Raises InvalidInputError where the shapes do not fit or the columns are not orthonormal.

    Example:
        >>> from topogen.manifolds.shapes import Circle
        >>> circle = InSubspace(Circle(), torch.zeros(5, dtype=torch.float64), torch.eye(5, 2, dtype=torch.float64))
        >>> circle.project(torch.tensor([2.0, 0, 0, 0, 3], dtype=torch.float64)).points
        tensor([1., 0., 0., 0., 0.], dtype=torch.float64)
    """

    name = "in subspace"
    core: Manifold

    def __init__(self, core: Manifold, centre: Tensor, basis: Tensor) -> None:
        if centre.ndim != 1 or basis.shape != (len(centre), core.ambient_dim):
            shapes = f"{tuple(centre.shape)}, {tuple(basis.shape)}"
            raise InvalidInputError(f"centre, basis: expected (D,) and (D, {core.ambient_dim}) for {core!r}, found {shapes}")
        centre, basis = centre.detach().double(), basis.detach().double()
        off = float((basis.mT @ basis - torch.eye(basis.shape[1], dtype=basis.dtype)).abs().max())
        if not off <= _ORTHONORMAL:
            raise InvalidInputError(f"basis: columns are off orthonormal by {off:.2g}; take the Q of torch.linalg.qr")
        super().__init__(core.dim, len(centre))
        self.core = core
        self.register_buffer("centre", centre)
        self.register_buffer("basis", basis)

    def coordinates(self, x: Tensor) -> Tensor:
        """E^t (x - c) (..., m) of points x (..., D)."""
        return (x - self.get_buffer("centre").to(x.dtype)) @ self._basis(x)

    def embedded(self, y: Tensor) -> Tensor:
        """c + E y (..., D) of coordinates y (..., m)."""
        return self.get_buffer("centre").to(y.dtype) + y @ self._basis(y).mT

    def with_height(self, x: Tensor) -> Tensor:
        """Coordinates and the height over the subspace, (..., m + 1), of points x (..., D): distances to points of the subspace, of height 0, are kept."""
        y = self.coordinates(x)
        return torch.cat([y, (x - self.embedded(y)).norm(dim=-1, keepdim=True)], -1)

    def _basis(self, like: Tensor) -> Tensor:
        return self.get_buffer("basis").to(like.dtype)

    def _project(self, x: Tensor) -> Projection:
        found = self.core._project(self.coordinates(x))
        return Projection(self.embedded(found.points), found.residual, found.converged, found.iterations)

    def _tangent_basis(self, x: Tensor) -> Tensor:
        return self._basis(x) @ self.core._tangent_basis(self.coordinates(x))

    def _mean_curvature(self, x: Tensor) -> Tensor:
        return self.core._mean_curvature(self.coordinates(x)) @ self._basis(x).mT

    def _second_form(self, x: Tensor) -> Tensor:
        return torch.einsum("Dm,nmij->nDij", self._basis(x), self.core._second_form(self.coordinates(x)))

    @property
    def closed(self) -> bool:
        """As M' knows."""
        return self.core.closed

    @property
    def orientable(self) -> bool | None:
        """As M' knows."""
        return self.core.orientable

    def betti(self, field: int = 2) -> tuple[int, ...] | None:
        """Betti numbers of M'."""
        return self.core.betti(field)

    def known_points(self) -> Tensor | None:
        """Known points of M' in R^D."""
        known = self.core.known_points()
        return None if known is None else self.embedded(known)

    def with_fast_projection(self, *, gated: bool = True, predicted: bool = True) -> InSubspace:
        """As M' projects faster."""
        core = self.core.with_fast_projection(gated=gated, predicted=predicted)
        return self if core is self.core else InSubspace(core, self.get_buffer("centre"), self.get_buffer("basis"))

    def inside_boundary(self, x: Tensor) -> Tensor:
        """Mask (n,) of the points x (n, D) that the gate of M' admits."""
        return self.core.inside_boundary(self.coordinates(x))

    @property
    def unit(self) -> float:
        """As for M'."""
        return self.core.unit

    def tolerance(self, dtype: torch.dtype) -> float:
        """As for M'."""
        return self.core.tolerance(dtype)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Retraction of M', carried over."""
        return self.embedded(self.core.retr(self.coordinates(x), u @ self._basis(u)))

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential map of M', carried over."""
        return self.embedded(self.core.expmap(self.coordinates(x), u @ self._basis(u)))

    def extra_repr(self) -> str:
        """`dim=d, ambient_dim=D`, and M'."""
        return f"{super().extra_repr()}, core={self.core!r}"
