"""Mixtures of distributions on manifolds that need not have the same dimension.

    p(x) = w_k p_k(x)   on M_k,    against the sum of the d_k-dimensional volume (Hausdorff) measures of the pieces

A point is judged on the piece it is nearest to. Pieces may cross, in a set of measure zero, where one of them is taken; they must not coincide on a set
of positive volume, where their densities would have to be added.
Ross, Loaiza-Ganem, Caterini, Cresswell (2023), Neural implicit manifold learning for topology-aware density estimation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from topogen.errors import InvalidInputError

__all__ = ["Mixture"]


@final
class Mixture(Distribution):
    """Mixture of distributions on manifolds of one R^D, each with an attribute `manifold`, with positive weights (normalised to sum 1).

    Raises InvalidInputError for fewer than one distribution, weights that do not match or are not positive, or different R^D.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False
    measure = "hausdorff"

    def __init__(self, distributions: Sequence[Any], weights: Sequence[float] | Tensor | None = None, validate_args: bool | None = None) -> None:
        _check(distributions)
        self.distributions = tuple(distributions)
        self.weights = _normalised(weights, len(distributions))
        ambient = self.distributions[0].manifold.ambient_dim
        super().__init__(torch.Size(), torch.Size((ambient,)), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Real vectors; points off M are judged at their projection."""
        return constraints.real_vector

    def component(self, value: Tensor) -> Tensor:
        """Index (...) int64 of the piece nearest to points (..., D), -1 where no projection converges."""
        distances = []
        for part in self.distributions:
            found = part.manifold.project(value.detach())
            distances.append(torch.where(found.converged, (found.points - value.detach()).norm(dim=-1), torch.inf))
        stacked = torch.stack(distances)
        return torch.where(torch.isfinite(stacked.amin(0)), stacked.argmin(0), -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log w_k + log p_k (...) at points (..., D), k the nearest piece; -inf where there is none."""
        if self._validate_args:
            self._validate_sample(value)
        index = self.component(value)
        result = torch.full(index.shape, -torch.inf, dtype=value.dtype, device=value.device)
        for k, part in enumerate(self.distributions):
            mine = index == k
            if bool(mine.any()):
                result[mine] = part.log_prob(value[mine]) + self.weights[k].log().to(value.dtype)
        return result

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """Points (*sample_shape, D) float64 in random order; `generator` None means torch's global generator."""
        shape = torch.Size(sample_shape)
        index = torch.multinomial(self.weights, max(shape.numel(), 1), replacement=True, generator=generator)[: shape.numel()]
        points = torch.empty(shape.numel(), self.event_shape[0], dtype=torch.float64)
        for k, part in enumerate(self.distributions):
            count = int((index == k).sum())
            if count:
                points[index == k] = part.sample((count,), generator=generator).double()
        return points.reshape(*shape, -1) if shape.numel() else points.reshape(*shape, self.event_shape[0])


def _check(distributions: Sequence[Any]) -> None:
    if not distributions or any(not hasattr(part, "manifold") and not hasattr(part, "measure") for part in distributions):
        raise InvalidInputError("distributions: expected at least one distribution on a manifold, such as Uniform(manifold)")
    thick = [type(part).__name__ for part in distributions if getattr(part, "measure", "hausdorff") != "hausdorff"]
    if thick:
        raise InvalidInputError(f"distributions: {thick[0]} is a density of R^D, not on a manifold; mix the distributions first and thicken the mixture")
    ambient = {part.manifold.ambient_dim for part in distributions}
    if len(ambient) > 1:
        raise InvalidInputError(f"distributions: their manifolds lie in spaces of different dimension {sorted(ambient)}")


def _normalised(weights: Sequence[float] | Tensor | None, count: int) -> Tensor:
    found = torch.ones(count, dtype=torch.float64) if weights is None else torch.as_tensor(weights, dtype=torch.float64)
    if found.shape != (count,) or not bool((torch.isfinite(found) & (found > 0)).all()):
        raise InvalidInputError(f"weights: expected {count} positive numbers, found {found.tolist()}")
    return found / found.sum()
