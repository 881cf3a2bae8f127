"""Orthonormal frames: complements and angles between subspaces."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["apply", "complement", "determinant", "orthonormal", "tilt"]


def apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """A v (..., p) for matrices (..., p, q) and vectors (..., q)."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def orthonormal(vectors: Tensor) -> Tensor:
    """Orthonormal basis (..., D, d) of the span of the d independent columns of (..., D, d), by QR."""
    return torch.linalg.qr(vectors).Q


def complement(basis: Tensor) -> Tensor:
    """Orthonormal basis (..., D, D - d) of the orthogonal complement of the span of an orthonormal (..., D, d)."""
    return torch.linalg.qr(basis, mode="complete").Q[..., basis.shape[-1] :]


def tilt(first: Tensor, second: Tensor) -> Tensor:
    """Largest principal angle (...) in radians between the spans of two orthonormal bases (..., D, d).

    sin of it is the largest singular value of (I - A A^t) B, which stays accurate for small angles where acos does not.
    """
    rest = second - first @ (first.mT @ second)
    return torch.linalg.matrix_norm(rest, ord=2).clamp(max=1).asin()


def determinant(matrix: Tensor) -> Tensor:
    """det (...) of (..., d, d); written out for d <= 2, where a factorisation per matrix is all overhead."""
    if matrix.shape[-1] == 1:
        return matrix[..., 0, 0]
    if matrix.shape[-1] == 2:
        return matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]
    return torch.linalg.det(matrix)
