"""Curvature of a manifold that is given by callables: its projection and its tangent bases.

P = T T^t is extended off M by x -> P(pi(x)). Because D pi(x) = P(x) on M,

    (D_{T_i} P) T_i = second derivative of pi along T_i, normal part,     H = sum_i D^2 pi(x)[T_i, T_i]

and H is the trace of the second fundamental form. Second differences of pi with step h ~ eps^(1/4) keep half the digits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["divergence", "gauss_curvature", "mean_curvature", "ricci_curvature", "second_fundamental_form"]


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


def second_fundamental_form(project: Callable[[Tensor], Tensor], tangent_basis: Callable[[Tensor], Tensor], x: Tensor, step: float | None = None) -> Tensor:
    """II(T_i, T_j) = normal part of (D_{T_i} P) T_j, (n, D, d, d) at points x (n, D) of M, by central differences of the tangent projectors.

    `step` is the length of the difference (default: 1e-4 times the largest coordinate, for float64); the error is of its square.
    """
    basis = tangent_basis(x)
    scale = float(x.detach().abs().max()) if x.numel() else 0.0
    h = step or (scale or 1.0) * 1e-4
    rows = []
    for i in range(basis.shape[-1]):
        ahead, behind = (tangent_basis(project(x + s * h * basis[..., i])) for s in (1, -1))
        rows.append((ahead @ (ahead.mT @ basis) - behind @ (behind.mT @ basis)) / (2 * h))
    form = torch.stack(rows, -1)
    form = (form + form.mT) / 2
    flat = form.flatten(-2)
    return (flat - basis @ (basis.mT @ flat)).reshape(form.shape)


def gauss_curvature(form: Tensor) -> Tensor:
    """K = <II(1, 1), II(2, 2)> - |II(1, 2)|^2 (n,) from second fundamental forms (n, D, 2, 2) of a surface (Gauss 1827)."""
    return (form[..., 0, 0] * form[..., 1, 1]).sum(-1) - form[..., 0, 1].square().sum(-1)


def ricci_curvature(form: Tensor) -> Tensor:
    """Ric = <H, II> - sum_c II(., c) II(., c) (n, d, d) from second fundamental forms (n, D, d, d), by Gauss's equation (do Carmo 1992, chapter 6)."""
    trace = form.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.einsum("nD,nDab->nab", trace, form) - torch.einsum("nDac,nDbc->nab", form, form)


def divergence(field: Callable[[Tensor], Tensor], x: Tensor, basis: Tensor, curvature: Tensor) -> Tensor:
    """tr(P Df) + <f, H> (n,) for a field f: (n, D) -> (n, D), with bases (n, D, d) and mean curvature vectors (n, D) at x (n, D)."""
    total = (field(x) * curvature).sum(-1)
    for i in range(basis.shape[-1]):
        change: Tensor = torch.func.jvp(field, (x,), (basis[..., i],))[1]
        total = total + (change * basis[..., i]).sum(-1)
    return total
