"""What a chain samples: the potential U on M, its tangent gradient, and the walls.

    measure = "hausdorff":  U(x) = E(x) / T                                  density exp(-U) against the d-dimensional volume of M
    measure = "coarea":     U(x) = E(x) / T + 1/2 log det(J(x) J(x)^t)       the law of an ambient density exp(-E / T) conditioned on F = 0

both as densities against the volume; the second depends on the constraint F and not only on its zero set M, so it needs an implicit manifold, and of
an overcomplete constraint the r kept singular values count. Walls are inequalities g(x) >= 0; outside them, and outside a gate, U is infinite.
Federer (1959), Curvature measures (co-area formula); Graham, Storkey (2017), Asymptotically exact inference in differentiable generative models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.constant_rank import jacobian
from topogen.manifolds.base import Manifold

__all__ = ["MEASURES", "Energy", "Target", "Walls"]

Energy = Callable[[Tensor], Tensor]
Walls = Callable[[Tensor], Tensor]
MEASURES = ("hausdorff", "coarea")


@final
class Target:
    """The law proportional to exp(-U) on a manifold.

    Args:
        manifold: M.
        energy: E, rows (n, D) float64 -> (n,); None is 0.
        measure: "hausdorff" or "coarea", see the module.
        walls: g, rows (n, D) -> (n,) or (n, q); allowed is where all are >= 0.
        temperature: T > 0.

    Raises InvalidInputError for an unknown measure, the co-area measure on a manifold without a constraint, or a temperature that is not positive.
    """

    def __init__(
        self, manifold: Manifold, energy: Energy | None = None, *, measure: str = "hausdorff", walls: Walls | None = None, temperature: float = 1.0
    ) -> None:
        if measure not in MEASURES:
            raise InvalidInputError(f"measure: expected one of {', '.join(MEASURES)}, found {measure!r}")
        if measure == "coarea" and manifold.constraint is None:
            raise InvalidInputError(f"measure: the co-area measure belongs to a constraint, and {type(manifold).__name__} has none; use 'hausdorff'")
        if not 0 < temperature < torch.inf:
            raise InvalidInputError(f"temperature: expected a positive number, found {temperature}")
        self.manifold, self.energy, self.measure, self.walls, self.temperature = manifold, energy, measure, walls, temperature

    @property
    def flat(self) -> bool:
        """Whether U is 0 wherever it is finite."""
        return self.energy is None and self.measure == "hausdorff"

    def potential(self, points: Tensor) -> Tensor:
        """U (n,) float64 at points (n, D) of M, infinite outside walls and gate."""
        return torch.where(self.inside(points), self._smooth(points).detach(), torch.inf)

    def with_gradient(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """U (n,), infinite outside, and the ambient gradient (n, D) of its smooth part."""
        if self.flat:
            return self.potential(points), torch.zeros_like(points)
        with torch.enable_grad():
            at = points.detach().requires_grad_(True)
            value = self._differentiable(at)
            (gradient,) = torch.autograd.grad(value.sum(), at)
        return torch.where(self.inside(points), value.detach(), torch.inf), gradient

    def inside(self, points: Tensor) -> Tensor:
        """Mask (n,) of the points (n, D) within walls and gate."""
        within = self.manifold.inside_boundary(points)
        return within if self.walls is None else within & (self.heights(points) >= 0).all(1)

    def heights(self, points: Tensor) -> Tensor:
        """The walls g(x) as (n, q), q = 0 without any."""
        if self.walls is None:
            return points.new_zeros(len(points), 0)
        value = self.walls(points)
        return value.unsqueeze(1) if value.ndim == 1 else value

    def check(self, points: Tensor) -> None:
        """Raise InvalidInputError unless E and g have the right shapes and every chain starts where U is finite."""
        if self.energy is not None:
            _check_rows("energy", self.energy, points, (1,))
        if self.walls is not None:
            _check_rows("walls", self.walls, points, (1, 2))
        bad = (~torch.isfinite(self.potential(points))).nonzero().squeeze(1).tolist()
        if bad:
            why = "outside the walls or the gate, or where the energy is not finite"
            raise InvalidInputError(f"start: chain {bad[0]} (of {len(bad)} such) begins {why}; begin where exp(-energy) > 0")

    def _differentiable(self, points: Tensor) -> Tensor:
        """The smooth part of U with its graph; raises InvalidInputError for an energy that leaves it."""
        try:
            energy = self._tempered(points)
        except (RuntimeError, TypeError) as error:
            raise InvalidInputError(f"energy: not differentiable by torch ({error}), which this kernel needs; use kernel='random_walk'") from error
        if self.energy is not None and not energy.requires_grad:
            raise InvalidInputError("energy: not differentiable by torch, which this kernel needs; use kernel='random_walk'")
        return energy + self._log_volume(points) if self.measure == "coarea" else energy

    def _smooth(self, points: Tensor) -> Tensor:
        energy = self._tempered(points)
        return energy + self._log_volume(points) if self.measure == "coarea" else energy

    def _tempered(self, points: Tensor) -> Tensor:
        return points.new_zeros(len(points)) if self.energy is None else self.energy(points).double() / self.temperature

    def _log_volume(self, points: Tensor) -> Tensor:
        """1/2 log det(J J^t) (n,) of the r kept singular values."""
        rows = jacobian(self.manifold.value, points)
        if self.manifold.regular:
            return torch.linalg.slogdet(rows @ rows.mT)[1] / 2
        return torch.linalg.svdvals(rows)[:, : self.manifold.codim].log().sum(1)


def _check_rows(name: str, function: Callable[[Tensor], Tensor], points: Tensor, dimensions: tuple[int, ...]) -> None:
    try:
        value = function(points)
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        raise InvalidInputError(f"{name}: fails on {len(points)} float64 rows of R^{points.shape[1]} ({error}); it maps rows (n, D) to (n,)") from error
    if not torch.is_tensor(value) or value.ndim not in dimensions or len(value) != len(points) or not value.is_floating_point():
        found = tuple(value.shape) if torch.is_tensor(value) else type(value).__name__
        raise InvalidInputError(f"{name}: expected a floating tensor of shape ({len(points)},), found {found}; it maps rows (n, D) to (n,)")
