"""What a shape is: a manifold whose truth is known, so that everything learned or sampled can be compared with it.

Besides the contract of `Manifold` a shape knows its d-dimensional volume, its Betti numbers over every prime field, whether it is
orientable and closed, its diameter, the distance of any point to it, and how to draw points uniformly for the volume (Hausdorff) measure.
Volumes are closed forms or quadratures to 1e-10; samples are exact (inversion or rejection), never reweighted.
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.manifolds.base import Manifold, Projection

__all__ = ["Shape", "sample_by_rejection", "check_positive", "directions", "exact", "uniform"]


class Shape(Manifold):
    """A manifold with known volume, topology, distance and exact uniform samples.

    `orientable` and `closed` (compact, without boundary) are class attributes of the final shapes. All lengths are in data units.
    """

    orientable: bool
    closed: bool = True
    closed_form = True

    @abc.abstractmethod
    def _volume(self) -> float:
        """The d-dimensional volume, to 1e-10 or better."""

    @abc.abstractmethod
    def _diameter(self) -> float:
        """Largest Euclidean distance between two points of the shape."""

    @abc.abstractmethod
    def _betti(self, field: int) -> tuple[int, ...]:
        """Betti numbers b_0 .. b_d over Z/field, field prime."""

    @abc.abstractmethod
    def _sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        """n independent points (n, D), float64, uniform for the d-dimensional volume."""

    @functools.cached_property
    def volume(self) -> float:
        """d-dimensional volume (Hausdorff measure) of the shape, in data units to the power d."""
        return self._volume()

    @functools.cached_property
    def diameter(self) -> float:
        """Largest Euclidean distance between two points of the shape."""
        return self._diameter()

    @property
    def components(self) -> int:
        """Number of connected components."""
        return self.betti(2)[0]

    def tolerance(self, dtype: torch.dtype) -> float:
        """Residual up to which a projection counts as converged: 2e-10 of the diameter in float64, 2e-6 of it in float32."""
        return super().tolerance(dtype) * self.diameter / 5

    def betti(self, field: int = 2) -> tuple[int, ...]:
        """Betti numbers (b_0, ..., b_d) over the field Z/`field`; raises InvalidInputError unless `field` is prime."""
        if isinstance(field, bool) or not isinstance(field, int) or field < 2 or any(field % p == 0 for p in range(2, math.isqrt(field) + 1)):
            raise InvalidInputError(f"field: expected a prime number, found {field!r}; use 2 or 3")
        return self._betti(field)

    def sample(self, n: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
        """n independent points (n, D) of `dtype`, uniform for the d-dimensional volume; on the CPU.

        `generator` None means torch's global generator; draws are made in float64 whatever `dtype` is. Raises InvalidInputError for a negative n.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise InvalidInputError(f"n: expected a number of points >= 0, found {n!r}")
        return self._sample(n, generator).to(dtype)

    def known_points(self) -> Tensor:
        """2,000 uniform points (n, D), always the same."""
        return self._sample(2000, torch.Generator().manual_seed(0))

    def distance(self, x: Tensor) -> Tensor:
        """Euclidean distance (...) of points (..., D) to the shape, exact to rounding; NaN for rows that are not finite."""
        offset = x - self.project(x).points
        return torch.where(torch.isfinite(x).all(-1), offset.norm(dim=-1), offset.new_full((), torch.nan))


def check_positive(**values: float) -> None:
    """Raise InvalidInputError naming the first argument that is not a positive finite number."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
            raise InvalidInputError(f"{name}: expected a positive finite length, found {value!r}")


def directions(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors along (..., m) and a mask (...) of the rows that have a direction; a zero vector is given the first axis.

    Differentiable without NaN: the gradient of rows without direction is zero.
    """
    tiny = torch.finfo(vectors.dtype).tiny ** 0.5
    defined = vectors.detach().norm(dim=-1) > tiny
    axis = torch.zeros_like(vectors)
    axis[..., 0] = 1
    safe = torch.where(defined.unsqueeze(-1), vectors, axis)
    return safe / safe.norm(dim=-1, keepdim=True), defined


def exact(points: Tensor, residual: Tensor, unique: Tensor, tolerance: float) -> Projection:
    """Result of a closed-form projection: converged where the nearest point is `unique` and the residual small."""
    residual = residual.detach()
    return Projection(points, residual, unique & (residual <= tolerance), torch.zeros_like(residual, dtype=torch.int64))


def uniform(n: int, columns: int, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers (n, columns) in [0, 1), float64."""
    return torch.rand(n, columns, generator=generator, dtype=torch.float64)


def sample_by_rejection(n: int, generator: torch.Generator | None, propose: Callable[[int], Tensor], probability: Callable[[Tensor], Tensor]) -> Tensor:
    """First n proposals (n, m) kept by rejection: `propose(k)` gives (k, m), kept with `probability` (k,) in [0, 1] (von Neumann 1951)."""
    kept = [propose(0)]
    have = 0
    while have < n:
        proposal = propose(2 * (n - have) + 16)
        keep = uniform(len(proposal), 1, generator).squeeze(-1) < probability(proposal)
        kept.append(proposal[keep])
        have += int(keep.sum())
    return torch.cat(kept)[:n]
