"""Curvature of a manifold that is given by callables: its projection and its tangent bases.

P = T T^t is extended off M by x -> P(pi(x)). Because D pi(x) = P(x) on M,

    (D_{T_i} P) T_i = second derivative of pi along T_i, normal part,     H = sum_i D^2 pi(x)[T_i, T_i]

and H is the trace of the second fundamental form. Second differences of pi with step h ~ eps^(1/4) keep half the digits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["divergence", "mean_curvature", "second_fundamental_form"]


def mean_curvature(project: Callable[[Tensor], Tensor], tangent_basis: Callable[[Tensor], Tensor], x: Tensor, step: float | None = None) -> Tensor:
    """Mean curvature vectors (n, D) at points x (n, D) of M by central second differences of the projection.

    `step` is the length of the difference (default: eps^(1/4) times the largest coordinate); the error is of its square.
    """
    basis = tangent_basis(x)
    scale = float(x.detach().abs().max()) if x.numel() else 0.0
    h = step or (scale or 1.0) * torch.finfo(x.dtype).eps ** 0.25
    total = torch.zeros_like(x)
    for i in range(basis.shape[-1]):
        direction = h * basis[..., i]
        total = total + (project(x + direction) - 2 * x + project(x - direction)) / h**2
    return total - (basis @ (basis.mT @ total.unsqueeze(-1))).squeeze(-1)


def divergence(field: Callable[[Tensor], Tensor], x: Tensor, basis: Tensor, curvature: Tensor) -> Tensor:
    """tr(P Df) + <f, H> (n,) for a field f: (n, D) -> (n, D), with bases (n, D, d) and mean curvature vectors (n, D) at x (n, D)."""
    total = (field(x) * curvature).sum(-1)
    for i in range(basis.shape[-1]):
        change: Tensor = torch.func.jvp(field, (x,), (basis[..., i],))[1]
        total = total + (change * basis[..., i]).sum(-1)
    return total


def second_fundamental_form(project: Callable[[Tensor], Tensor], tangent_basis: Callable[[Tensor], Tensor], x: Tensor, step: float | None = None) -> Tensor:
    """II (n, d, d, D), II_ij the normal part of D^2 pi(x)[T_i, T_j], at points x (n, D) of M by central second differences of a projection.

    Any smooth projection onto M will do: its curves pi(x + h v) lie in M and leave x in the direction v. `step` as in `mean_curvature`.
    """
    basis = tangent_basis(x)
    scale = float(x.detach().abs().max()) if x.numel() else 0.0
    h = step or (scale or 1.0) * torch.finfo(x.dtype).eps ** 0.25
    dim = basis.shape[-1]

    def second(direction: Tensor) -> Tensor:
        bend = (project(x + h * direction) - 2 * x + project(x - h * direction)) / h**2
        return bend - (basis @ (basis.mT @ bend.unsqueeze(-1))).squeeze(-1)

    own = [second(basis[..., i]) for i in range(dim)]
    form = x.new_zeros(len(x), dim, dim, x.shape[-1])
    for i in range(dim):
        form[:, i, i] = own[i]
        for j in range(i):
            # |T_i + T_j|^2 = 2, hence the step is as long as the others after the halves are taken.
            both = (second((basis[..., i] + basis[..., j]) / 2**0.5) * 2 - own[i] - own[j]) / 2
            form[:, i, j] = form[:, j, i] = both
    return form
